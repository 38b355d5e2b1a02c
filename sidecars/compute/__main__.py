"""The compute sidecar: files, programs and Python sessions of one employee's workspace, served to that employee."""

import os
import sys
from dataclasses import replace
from typing import Any

from empla.egress import EgressRule
from empla.v1 import control_pb2
from empla.v1 import sidecar_pb2 as pb
from sidecars import serving
from sidecars.settings import EnvironmentSettings, SidecarSettings
from workstation.egress import EgressPolicy, EgressProxy
from workstation.interface import ComputeLimits
from workstation.local.compute import LocalCompute, default_limits
from workstation.local.files import LocalFileSystem

WARM = 1
"""Jails that are kept ready: many sidecars may begin at once."""
WALL_SECONDS = 3600.0
"""A program may run for longer here than beside the employee."""


def limits_of(settings: SidecarSettings) -> ComputeLimits:
    """The usual bounds, but for what this sidecar has more or less of."""
    usual = default_limits()
    each = replace(
        usual.exec,
        memory_bytes=settings.memory_bytes or usual.exec.memory_bytes,
        cpus=min(settings.cpus or float("inf"), float(os.cpu_count() or 1)),
        wall_seconds=WALL_SECONDS,
    )
    return replace(usual, exec=each)


async def live(settings: SidecarSettings) -> None:
    """Serve until the tenure is over."""
    async with (
        EgressProxy() as egress,
        LocalCompute(
            settings.workspace, packages=settings.compute_packages, limits=limits_of(settings), warm=WARM, egress=egress
        ) as compute,
    ):
        await compute.warm_up()  # all else is made ready, and the employee is on its way here, while it is built

        def configure(rules: tuple[EgressRule, ...], _: pb.SidecarConfiguration) -> None:
            egress.policy = EgressPolicy(rules)

        async with LocalFileSystem(
            settings.workspace, quota_bytes=settings.quota_bytes, quota_entries=settings.quota_entries
        ) as files:
            await serving.serve(settings, control_pb2.SIDECAR_KIND_COMPUTE, configure, files=files, compute=compute)


def launch(settings: dict[str, Any]) -> int:
    """Be a sidecar, in a process that was forked for it; returns the exit code."""
    return serving.run(SidecarSettings(**settings), live)


if __name__ == "__main__":
    sys.exit(serving.run(EnvironmentSettings(), live))
