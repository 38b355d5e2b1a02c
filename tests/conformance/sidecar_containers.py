"""Compute sidecars in containers, launched as the control plane does it."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from controlplane.launchers.container import ContainerLauncher, images
from controlplane.launchers.interface import COMPUTE, LaunchSpec
from tests import container_engine
from tests.conformance.leasing import Leased, Running, written
from workstation.interface import ComputeLimits, FileSystemLimits

_PROGRAM = """
import json, os, sys
from functools import partial
from sidecars.compute import __main__ as sidecar
from sidecars.serving import run
from sidecars.settings import EnvironmentSettings
from workstation.interface import ComputeLimits, ExecLimits, FileSystemLimits
from workstation.local.files import LocalFileSystem
limits = json.loads(os.environ["EMPLA_TEST_LIMITS"])
if limits["compute"]:
    within = ComputeLimits(**limits["compute"] | {"exec": ExecLimits(**limits["compute"]["exec"])})
    sidecar.limits_of = lambda _: within
if limits["files"]:
    sidecar.LocalFileSystem = partial(LocalFileSystem, limits=FileSystemLimits(**limits["files"]))
sys.exit(run(EnvironmentSettings(), sidecar.live))
"""
"""Starts a sidecar whose limits, and nothing else, may be others than usual."""


class _Launcher(ContainerLauncher):
    def __init__(self, limits: dict[str, Any]) -> None:
        super().__init__(container_engine.address(), "conformance", images("bridge"))
        self._limits = limits

    async def _configuration(self, spec: LaunchSpec, socket: Path, labels: dict[str, str]) -> dict[str, Any]:
        usual = await super()._configuration(spec, socket, labels)
        environment = [*usual["Env"], f"EMPLA_TEST_LIMITS={json.dumps(self._limits)}"]
        return usual | {"Cmd": ["python3", "-c", _PROGRAM], "Env": environment}


@asynccontextmanager
async def sidecar_container(
    workspace: Path,
    *,
    quota: int | None = None,
    files: FileSystemLimits | None = None,
    compute: ComputeLimits | None = None,
) -> AsyncIterator[Running]:
    """A sidecar over this workspace, with these limits in place of its usual ones."""
    await asyncio.to_thread(container_engine.image, COMPUTE)
    with tempfile.TemporaryDirectory(prefix="empla-") as directory:
        place = Path(directory)
        place.chmod(0o711)
        leased = Leased()
        settings = leased.settings(f"unix:{place}/run/sock", workspace, quota)
        async with (
            _Launcher(written(files, compute)) as launcher,
            leased.launched(launcher, COMPUTE, settings, place / "log"),
        ):
            yield Running(settings["address"], leased.token)
