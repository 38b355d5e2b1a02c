"""The sidecar for files: one employee's workspace, served to the control plane for one call of an operator's."""

from typing import Any

from empla.egress import EgressRule
from empla.v1 import control_pb2
from empla.v1 import sidecar_pb2 as pb
from sidecars import serving
from sidecars.settings import SidecarSettings
from workstation.local.files import LocalFileSystem


async def live(settings: SidecarSettings) -> None:
    """Serve until the tenure is over."""

    def configure(rules: tuple[EgressRule, ...], _: pb.SidecarConfiguration) -> None:
        """Nothing: files reach no network."""

    async with LocalFileSystem(
        settings.workspace, quota_bytes=settings.quota_bytes, quota_entries=settings.quota_entries
    ) as files:
        await serving.serve(settings, control_pb2.SIDECAR_KIND_UNSPECIFIED, configure, files=files)


def launch(settings: dict[str, Any]) -> int:
    """Be a sidecar, in a process that was forked for it; returns the exit code."""
    return serving.run(SidecarSettings(**settings), live)
