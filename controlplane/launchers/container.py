"""The container launcher: sidecars as containers of Docker or Podman, over the engine's socket on this machine.

A sidecar is told the same as one that is a process. What its settings name on this machine is mounted: the workspace at
/workspace, the directory of its socket at /run/empla, packages and the browser's profile beside them. So compute needs
no network at all. What reaches the web is the proxy in a sidecar: the container of one that shall must be in a network
that leads there, while Chromium and programs stay in jails that have none.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from controlplane.errors import LaunchFailed
from controlplane.launchers.confinement import host_configuration, system_calls
from controlplane.launchers.engine import Engine, NoContainer
from controlplane.launchers.interface import BROWSER, COMPUTE, LaunchSpec
from controlplane.sidecars.places import GROUPS

log = logging.getLogger(__name__)

READY_SECONDS = 60.0
"""Twenty that start at once on two processors take some seconds."""
LOOK_SECONDS = 0.02
AWAY_SECONDS = 1.0
"""How long to leave an engine alone that does not answer, before it is asked again how a container fares."""
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
SIGNALLED = range(129, 193)
"""Exit codes of a container whose program was ended by the signal of this number less 128."""
MAX_EXITS = 1000
_LOG_BYTES = 2000
_FORGOTTEN_SECONDS = 120.0
"""A container that was made so long ago and never started is what a control plane left that died at that moment."""
_WORKSPACE, _RUN, _LOG = "/workspace", "/run/empla", "/run/empla.log"
_PLACES = {"compute_packages": ("/packages", True), "browser_profile": ("/profile", False)}
"""Settings that name a directory: where it is mounted, and whether only for reading."""
_OWNER = ("owner_pid", "owner_start_time")
"""Processes have other numbers in a container; whoever launched it ends it, and its lease does."""


@dataclass(frozen=True, slots=True)
class Image:
    """What the containers of one kind are made from, and the engine's network that they are in."""

    name: str
    network: str = "none"


def images(network: str) -> dict[str, Image]:
    """The images that deploy/images/build.sh builds; a browser's containers reach the web through `network`."""
    return {
        COMPUTE: Image("localhost/empla/sidecar-compute:latest"),
        BROWSER: Image("localhost/empla/sidecar-browser:latest", network),
    }


class ContainerProcess:
    """A container that was launched, by its id."""

    pid = 0

    def __init__(self, launcher: "ContainerLauncher", container: str, labels: Mapping[str, str]) -> None:
        self.kind, self.epoch = labels["empla.kind"], int(labels["empla.epoch"])
        self.employee_id = UUID(labels["empla.employee"])
        self.sidecar_id = UUID(labels["empla.sidecar"]) if labels["empla.sidecar"] else None
        self._launcher, self._container = launcher, container

    def identity(self) -> dict[str, Any]:
        """The id that the engine gave it, which no other ever gets."""
        return {"container": self._container}

    async def wait(self) -> int | None:
        """Wait for the end, while the engine is away also for the engine; then the container is removed."""
        return await self._launcher.exit_code(self._container)

    def kill(self, signal_number: int) -> None:
        """Have the engine send a signal to it; the launcher logs when that fails."""
        self._launcher.signal(self._container, signal_number)


class ContainerLauncher:
    """Launches through the engine at `address` (unix:///run/docker.sock); an async context manager.

    `installation` tells our containers from those of others on the same engine. Containers outlive the launcher.
    """

    name = "container"

    def __init__(self, address: str, installation: str, images: Mapping[str, Image]) -> None:
        self._engine, self._installation, self._images = Engine(address), installation, images
        self._exits: dict[str, int] = {}
        self._facts: tuple[float, dict[str, Any]] | None = None

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opened:
            self._directory = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="empla-launcher-"))
            opened.push_async_callback(self._remove_directory)
            await opened.enter_async_context(self._engine)
            self._tasks = await opened.enter_async_context(asyncio.TaskGroup())
            self._opened = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hands over the signals that are on their way."""
        await self._opened.aclose()

    async def stop(self) -> None:
        """Nothing: leaving the context lets go of all that launching takes."""

    async def prepare(self) -> None:
        """See that the engine answers and has the images, so that what is missing is known early; raises `LaunchFailed`."""
        await self._known()
        for image in self._images.values():
            await self._engine.look_for(image.name)

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
            await _to_its_end(self._engine.remove(container))
            raise
        return ContainerProcess(self, container, labels)

    async def _created(self, name: str, configuration: dict[str, Any]) -> str:
        """Its id is known only when the engine has answered: who is cancelled meanwhile waits for that."""
        creating = asyncio.ensure_future(self._engine.create(name, configuration))
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            await _to_its_end(self._removed(creating))
            raise

    async def _removed(self, creating: asyncio.Future[str]) -> None:
        await self._engine.remove(await creating)

    async def running(self, employee_id: UUID | None = None) -> Sequence[ContainerProcess]:
        """Our containers that run; those that ended while nobody looked are removed. Raises `LaunchFailed`."""
        employee = {"empla.employee": str(employee_id)} if employee_id is not None else {}
        found = await self._engine.containers({"empla.installation": self._installation, **employee})
        for container in found:
            if _is_left_over(container):
                await self._engine.remove(container["Id"])
        alive = [container for container in found if container["State"] in {"running", "paused", "restarting"}]
        return [ContainerProcess(self, container["Id"], container["Labels"]) for container in alive]

    async def exit_code(self, container: str) -> int | None:
        """Wait for a container's end and remove it; its exit code, None when nobody knows."""
        while container not in self._exits:
            try:
                code = await self._engine.ended(container)
                self._remember(container, 128 - code if code in SIGNALLED else code)
                await self._engine.remove(container)
            except NoContainer:
                return self._exits.get(container)
            except LaunchFailed as error:
                log.warning("how container %s fares cannot be told: %s", container[:12], error)
                await asyncio.sleep(AWAY_SECONDS)
        return self._exits[container]

    def signal(self, container: str, number: int) -> None:
        """Send a signal to a container's first process, soon."""
        self._tasks.create_task(self._send(container, number))

    async def _remove_directory(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._directory)

    async def _send(self, container: str, number: int) -> None:
        try:
            await self._engine.signal(container, number)
        except LaunchFailed as error:
            log.warning("container %s did not get signal %d: %s", container[:12], number, error)

    def _remember(self, container: str, code: int) -> None:
        self._exits[container] = code
        while len(self._exits) > MAX_EXITS:
            del self._exits[next(iter(self._exits))]

    def _labels(self, spec: LaunchSpec) -> dict[str, str]:
        return {
            "empla.installation": self._installation,
            "empla.kind": spec.kind,
            "empla.sidecar": str(spec.sidecar_id or ""),
            "empla.employee": str(spec.employee_id),
            "empla.epoch": str(spec.epoch),
        }

    async def _configuration(self, spec: LaunchSpec, socket: Path, labels: dict[str, str]) -> dict[str, Any]:
        image = self._images.get(spec.kind)
        if image is None:
            raise LaunchFailed(f"there is no image for what is called {spec.kind}", reason="IMAGE_MISSING")
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
        _give(run, owner)
        if profile := spec.settings.get("browser_profile"):
            Path(profile).mkdir(mode=0o700, parents=True, exist_ok=True)
            for _, _, files, directory in os.fwalk(profile):
                for name in (".", *files):
                    _give(name, owner, directory)
    except OSError as error:
        raise LaunchFailed(f"what the sidecar works on cannot be mounted: {error}", reason="VOLUME_MISSING") from error


def _give(place: Path | str, owner: os.stat_result, directory: int | None = None) -> None:
    if os.geteuid() == 0:
        os.chown(place, owner.st_uid, owner.st_gid, dir_fd=directory, follow_symlinks=False)


def _mounts(spec: LaunchSpec, run: Path) -> list[dict[str, Any]]:
    mounts = [
        _bind(spec.settings["workspace"], _WORKSPACE),
        _bind(run, _RUN),
        _bind(spec.log, _LOG),
        # There a sidecar names its control groups, for whoever clears up: what a container calls so is another's out here.
        _bind(os.devnull, f"{_RUN}/{GROUPS}"),
    ]
    for name, (place, for_reading) in _PLACES.items():
        if source := spec.settings.get(name):
            mounts.append(_bind(source, place, for_reading=for_reading))
    return mounts


def _bind(source: Any, target: str, *, for_reading: bool = False) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(Path(source).absolute()), "Target": target, "ReadOnly": for_reading}


def _inside(spec: LaunchSpec, socket: Path) -> dict[str, str]:
    """The settings as they are in there."""
    settings = {name: value for name, value in spec.settings.items() if value is not None and name not in _OWNER}
    places = {name: place for name, (place, _) in _PLACES.items() if settings.get(name)}
    settings |= {"address": f"unix:{_RUN}/{socket.name}", "workspace": _WORKSPACE, **places}
    return {name: str(value) for name, value in settings.items()}


def _is_left_over(container: Mapping[str, Any]) -> bool:
    age = time.time() - container["Created"]
    return container["State"] in {"exited", "dead"} or (container["State"] == "created" and age > _FORGOTTEN_SECONDS)


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


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it although we are being cancelled; what it fails of is only logged, for there is an error already."""
    doing = asyncio.ensure_future(work)
    while not doing.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([doing])
    if (failure := doing.exception()) is not None:
        log.warning("a container that did not start may be left: %s", failure)
