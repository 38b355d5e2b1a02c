"""The container launcher: sidecars as containers of Docker or Podman, over the engine's socket on this machine.

A sidecar is told the same as one that is a process. What its settings name on this machine is mounted: the workspace at
/workspace, the directory of its socket at /run/empla, packages and the browser's profile beside them. So compute needs
no network at all. What reaches the web is the proxy in a sidecar: the container of one that shall must be in a network
that leads there, while Chromium and programs stay in jails that have none.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controlplane.errors import LaunchFailed
from controlplane.launchers.confinement import host_configuration, system_calls
from controlplane.launchers.containers import ContainerProcess, Containers, Image, bind, give, to_its_end
from controlplane.launchers.interface import BROWSER, COMPUTE, LaunchSpec
from controlplane.sidecars.places import GROUPS

READY_SECONDS = 60.0
"""Twenty that start at once on two processors take some seconds."""
LOOK_SECONDS = 0.02
OVERHEAD_BYTES = 256 << 20
"""What a container may take besides its programs: the sidecar's own 192 MiB, its files in memory, the kernel's for it."""
USUAL_BYTES = 4 << 30
"""For a container whose programs have no bound of their own: a browser's default, and as much again for downloads."""
PROCESSES = 4096
RESOURCES = {"nofile": 16384, "nproc": 16384}
"""For one process (Chromium's jail takes 8,192 descriptors), and for all of one account. Podman's own are more than some
roots may set."""
SCRATCH_BYTES = 1 << 30
"""Files outside of the workspace, such as downloads on their way, which count as memory."""
_LOG_BYTES = 2000
_WORKSPACE, _RUN, _LOG = "/workspace", "/run/empla", "/run/empla.log"
_PLACES = {"compute_packages": ("/packages", True), "browser_profile": ("/profile", False)}
"""Settings that name a directory: where it is mounted, and whether only for reading."""
_OWNER = ("owner_pid", "owner_start_time")
"""Processes have other numbers in a container; whoever launched it ends it, and its lease does."""


def images(network: str) -> dict[str, Image]:
    """The images that deploy/images/build.sh builds; a browser's containers reach the web through `network`."""
    return {
        COMPUTE: Image("localhost/empla/sidecar-compute:latest"),
        BROWSER: Image("localhost/empla/sidecar-browser:latest", network),
    }


class ContainerLauncher(Containers):
    """Launches sidecars; see `Containers`."""

    forgotten_seconds = 120.0

    def __init__(self, address: str, installation: str, images: Mapping[str, Image]) -> None:
        super().__init__(address, installation, images)
        self._facts: tuple[float, dict[str, Any]] | None = None

    async def __aenter__(self) -> Self:
        self._directory = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="empla-launcher-"))
        try:
            return await super().__aenter__()
        except BaseException:
            await self._remove_directory()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            await self._remove_directory()

    async def prepare(self) -> None:
        """See that the engine answers and has the images, so that what is missing is known early; raises `LaunchFailed`."""
        await self._known()
        await super().prepare()

    async def launch(self, spec: LaunchSpec) -> ContainerProcess:
        """Start a container and wait until the sidecar in it answers; raises `LaunchFailed`."""
        socket = Path(str(spec.settings["address"]).removeprefix("unix:"))
        await asyncio.to_thread(_prepare, spec, socket.parent)
        labels = self._labels(spec)
        name = f"empla-{spec.kind}-{spec.sidecar_id or spec.employee_id}"
        container = await self._created(name, await self._configuration(spec, socket, labels))
        try:
            await self._engine.start(container)
            await self._until_ready(container, socket, spec.log)
        except BaseException:
            await to_its_end(self._engine.remove(container))
            raise
        return ContainerProcess(self, container, labels)

    async def _remove_directory(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._directory)

    async def _configuration(self, spec: LaunchSpec, socket: Path, labels: dict[str, str]) -> dict[str, Any]:
        image = self._image_of(spec)
        processors, confinement = await self._known()
        memory = spec.memory_bytes + OVERHEAD_BYTES if spec.memory_bytes else USUAL_BYTES
        host = {
            **confinement,
            "NetworkMode": image.network,
            "Memory": memory,
            "MemorySwap": memory,
            "NanoCpus": round(min(spec.cpus, processors) * 1e9),  # it refuses more than there are
            "PidsLimit": PROCESSES,
            "Ulimits": [{"Name": name, "Soft": most, "Hard": most} for name, most in RESOURCES.items()],
            "Mounts": _mounts(spec, socket.parent),
            "Tmpfs": {"/tmp": f"exec,nosuid,nodev,mode=1777,size={min(SCRATCH_BYTES, memory)}"},  # noqa: S108
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
        }
        environment = [f"EMPLA_SIDECAR_{name.upper()}={value}" for name, value in _inside(spec, socket).items()]
        return {"Image": image.name, "Env": environment, "Labels": labels, "HostConfig": host}

    async def _known(self) -> tuple[float, dict[str, Any]]:
        """How many processors there are, and what containers may do, as this engine is told it."""
        if self._facts is None:
            profile = None
            if await self._engine.is_podman():
                profile = self._directory / "seccomp.json"
                await asyncio.to_thread(profile.write_text, system_calls())
            self._facts = await self._engine.processors(), host_configuration(profile)
        return self._facts

    async def _until_ready(self, container: str, socket: Path, log_file: Path) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not await _answers(socket):
            state = await self._engine.state(container)
            if state["Status"] not in {"created", "running"}:
                why = "for want of memory" if state.get("OOMKilled") else f"with {state['ExitCode']}"
                raise LaunchFailed(f"the sidecar ended {why} as it started: {await _end_of(log_file)}", reason="ENDED")
            if time.monotonic() > deadline:
                raise LaunchFailed(
                    f"the sidecar did not answer within {READY_SECONDS:g} s; see {log_file}", reason="NOT_READY"
                )
            await asyncio.sleep(LOOK_SECONDS)


def _prepare(spec: LaunchSpec, run: Path) -> None:
    """Have what is mounted ready, and with whom the sidecar will be: the owner of the workspace."""
    try:
        owner = os.stat(spec.settings["workspace"])
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
        give(run, owner)
        if profile := spec.settings.get("browser_profile"):
            Path(profile).mkdir(mode=0o700, parents=True, exist_ok=True)
            for _, _, files, directory in os.fwalk(profile):
                for name in (".", *files):
                    give(name, owner, directory)
    except OSError as error:
        raise LaunchFailed(f"what the sidecar works on cannot be mounted: {error}", reason="VOLUME_MISSING") from error


def _mounts(spec: LaunchSpec, run: Path) -> list[dict[str, Any]]:
    mounts = [
        bind(spec.settings["workspace"], _WORKSPACE),
        bind(run, _RUN),
        bind(spec.log, _LOG),
        # There a sidecar names its control groups, for whoever clears up: what a container calls so is another's out here.
        bind(os.devnull, f"{_RUN}/{GROUPS}"),
    ]
    for name, (place, for_reading) in _PLACES.items():
        if source := spec.settings.get(name):
            mounts.append(bind(source, place, for_reading=for_reading))
    return mounts


def _inside(spec: LaunchSpec, socket: Path) -> dict[str, str]:
    """The settings as they are in there."""
    settings = {name: value for name, value in spec.settings.items() if value is not None and name not in _OWNER}
    places = {name: place for name, (place, _) in _PLACES.items() if settings.get(name)}
    settings |= {"address": f"unix:{_RUN}/{socket.name}", "workspace": _WORKSPACE, **places}
    return {name: str(value) for name, value in settings.items()}


async def _answers(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _end_of(log_file: Path) -> str:
    def read() -> str:
        with log_file.open("rb") as opened:
            opened.seek(max(0, os.fstat(opened.fileno()).st_size - _LOG_BYTES))
            return opened.read().decode(errors="replace").strip()

    return (await asyncio.to_thread(read)).rpartition("\n")[2] or f"see {log_file}"
