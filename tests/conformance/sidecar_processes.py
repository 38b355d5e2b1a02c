"""Compute sidecars as processes, launched as the control plane does it: forked from a warm parent."""

import asyncio
import atexit
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from controlplane.launchers.interface import COMPUTE
from controlplane.launchers.process import Parent, ProcessLauncher
from sidecars.compute import __main__ as sidecar
from sidecars.serving import run
from sidecars.settings import SidecarSettings
from tests.conformance.leasing import Leased, Running, written
from workstation.interface import ComputeLimits, ExecLimits, FileSystemLimits
from workstation.local.files import LocalFileSystem

PARENT = Parent("conformance", {COMPUTE: f"{__name__}:launch"}, ("importlib.metadata", "grpc.aio"))


@asynccontextmanager
async def sidecar_process(
    workspace: Path,
    *,
    quota: int | None = None,
    files: FileSystemLimits | None = None,
    compute: ComputeLimits | None = None,
) -> AsyncIterator[Running]:
    """A sidecar over this workspace, with these limits in place of its usual ones."""
    place = await asyncio.to_thread(_parent)
    leased = Leased()
    settings = leased.settings(f"unix:{place}/{leased.lease.sidecar_id.hex}", workspace, quota)
    settings["limits"] = written(files, compute)
    launcher = ProcessLauncher(place, place / "log", PARENT)
    async with leased.launched(launcher, COMPUTE, settings, place / "log"):
        yield Running(settings["address"], leased.token)


@cache
def _parent() -> Path:
    """Where the one warm parent of these tests listens; it ends with them."""
    place = Path(tempfile.mkdtemp(prefix="empla-"))
    command = [sys.executable, "-m", "empla.forkserver", str(place / f"{PARENT.name}.sock"), *PARENT.arguments]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    atexit.register(_end, parent, place)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    return place


def _end(parent: "subprocess.Popen[bytes]", place: Path) -> None:
    with parent:
        parent.kill()
    shutil.rmtree(place)


def launch(settings: dict[str, Any]) -> int:
    """Be a sidecar in the forked child; only its limits may be others than usual."""
    limits = settings.pop("limits")
    if limits["compute"] is not None:
        within = ComputeLimits(**limits["compute"] | {"exec": ExecLimits(**limits["compute"]["exec"])})
        setattr(sidecar, "limits_of", lambda _: within)  # noqa: B010 - in this process alone
    if limits["files"] is not None:
        setattr(sidecar, "LocalFileSystem", partial(LocalFileSystem, limits=FileSystemLimits(**limits["files"])))  # noqa: B010
    return run(SidecarSettings(**settings), sidecar.live)
