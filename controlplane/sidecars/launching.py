"""What a sidecar is told when it is launched."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from controlplane.launchers.interface import LaunchSpec
from controlplane.sidecars.table import Launch, Sidecar


@dataclass(frozen=True, slots=True)
class SidecarPlan:
    """What every sidecar on this machine has in common: settings, and where the employee's own things are."""

    common: dict[str, Any]
    workspace: Callable[[UUID], Path]
    browser_profile: Callable[[UUID], Path | None]
    logs: Path

    async def spec(self, sidecar: Sidecar, expires_at: float, owner: dict[str, Any], *, warm: bool) -> LaunchSpec:
        """The launch of a sidecar that ends at `expires_at`, if no token says otherwise, or with its `owner`."""
        wanted, employee_id = sidecar.resources, sidecar.employee_id
        profile = self.browser_profile(employee_id)
        workspace = await asyncio.to_thread(self.workspace(employee_id).resolve)
        settings = {
            **self.common,
            "id": str(sidecar.sidecar_id),
            "employee_id": str(employee_id),
            "epoch": sidecar.epoch,
            "key": sidecar.key.hex(),
            "expires_at": expires_at,
            "address": sidecar.address,
            "workspace": str(workspace),
            "browser_profile": str(profile) if profile is not None else None,
            "memory_bytes": wanted.memory_bytes,
            "cpus": wanted.cpus or None,
            "warm": warm,
            **owner,
        }
        return LaunchSpec(
            employee_id,
            sidecar.epoch,
            settings,
            self.logs / f"{employee_id}.log",
            kind=wanted.kind,
            sidecar_id=sidecar.sidecar_id,
            memory_bytes=wanted.memory_bytes,
            cpus=wanted.cpus,
        )


def owner_of(launch: Launch, launcher: str) -> dict[str, Any]:
    """The employee's process, where a sidecar can see it."""
    if launcher != "process" or launch.launcher not in ("process", "inprocess") or not launch.process:
        return {}
    return {"owner_pid": launch.process["pid"], "owner_start_time": launch.process["start_time"]}
