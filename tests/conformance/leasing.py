"""A sidecar of the tests: what it is told, the token that it takes, and its end with the block."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from controlplane.launchers.interface import Launcher, LaunchSpec
from empla.leases import Lease, mint, new_key
from empla.store.ids import new_id
from workstation.interface import ComputeLimits, FileSystemLimits
from workstation.remote.dialing import RemoteWorkstation, dialing

LEASE_SECONDS = 3600.0
END_SECONDS = 60.0


@dataclass(frozen=True)
class Running:
    """A sidecar that runs: where it listens, and what opens it. Any event loop may dial it."""

    address: str
    token: str

    def dialing(self) -> AbstractAsyncContextManager[RemoteWorkstation]:
        """Open the workstation in it."""
        return dialing(self.address, self.token)


@dataclass(frozen=True)
class Leased:
    """One lease, of an employee that nobody else is."""

    lease: Lease = field(default_factory=lambda: Lease(new_id(), new_id(), time.time() + LEASE_SECONDS))
    key: bytes = field(default_factory=new_key)

    @property
    def token(self) -> str:
        return mint(self.key, self.lease)

    def settings(self, address: str, workspace: Path, quota: int | None) -> dict[str, Any]:
        """What the sidecar is told."""
        return {
            "id": str(self.lease.sidecar_id),
            "employee_id": str(self.lease.employee_id),
            "key": self.key.hex(),
            "expires_at": self.lease.expires_at,
            "address": address,
            "workspace": str(workspace),
            "quota_bytes": quota,
            "owner_pid": os.getpid(),
        }

    @asynccontextmanager
    async def launched(self, launcher: Launcher, kind: str, settings: dict[str, Any], log: Path) -> AsyncIterator[None]:
        """The sidecar runs during the block."""
        lease = self.lease
        process = await launcher.launch(
            LaunchSpec(lease.employee_id, 1, settings, log, kind=kind, sidecar_id=lease.sidecar_id)
        )
        try:
            yield
        finally:
            process.kill(signal.SIGTERM)
            async with asyncio.timeout(END_SECONDS):
                await process.wait()


def written(files: FileSystemLimits | None, compute: ComputeLimits | None) -> dict[str, Any]:
    """Limits as a sidecar can be told them."""
    return {"files": files and asdict(files), "compute": compute and asdict(compute)}
