"""What launchers of containers share: the way from a launch to a container of Docker or Podman, and to its end.

Containers outlive whoever launched them; labels say which installation, launch and sidecar they are.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from uuid import UUID

from controlplane.errors import LaunchFailed
from controlplane.launchers.engine import Engine, NoContainer
from controlplane.launchers.interface import CONTAINER, LaunchSpec

log = logging.getLogger(__name__)

AWAY_SECONDS = 1.0
"""How long to leave an engine alone that does not answer, before it is asked again how a container fares."""
SIGNALLED = range(129, 193)
"""Exit codes of a container whose program was ended by the signal of this number less 128."""
MAX_EXITS = 1000


@dataclass(frozen=True, slots=True)
class Image:
    """What the containers of one kind are made from, and the engine's network that they are in."""

    name: str
    network: str = "none"


class ContainerProcess:
    """A container that was launched, by its id; `pid` is its first program's, 0 when nobody asked."""

    def __init__(self, launcher: "Containers", container: str, labels: Mapping[str, str], pid: int = 0) -> None:
        self.kind, self.epoch = labels["empla.kind"], int(labels["empla.epoch"])
        self.employee_id = UUID(labels["empla.employee"])
        self.sidecar_id = UUID(labels["empla.sidecar"]) if labels["empla.sidecar"] else None
        self.pid = pid
        self._launcher, self._container = launcher, container

    def identity(self) -> dict[str, Any]:
        """The id that the engine gave it, which no other ever gets."""
        return {"container": self._container} | ({"pid": self.pid} if self.pid else {})

    async def wait(self) -> int | None:
        """Wait for the end, while the engine is away also for the engine; then the container is removed."""
        return await self._launcher.exit_code(self._container)

    def kill(self, signal_number: int) -> None:
        """Have the engine send a signal to it; the launcher logs when that fails."""
        self._launcher.signal(self._container, signal_number)

    def release(self) -> None:
        """Nothing: only whoever waits for its end has anything open."""


class Containers:
    """Containers of the engine at `address` (unix:///run/docker.sock), made from `images`; an async context manager.

    `installation` tells our containers from those of others on the same engine. Those of other kinds than there are images
    for are another launcher's.
    """

    name = CONTAINER
    forgotten_seconds: ClassVar[float]
    """A container that was made so long ago and never started is what a control plane left that died at that moment."""

    def __init__(self, address: str, installation: str, images: Mapping[str, Image]) -> None:
        self._engine, self._installation, self._images = Engine(address), installation, images
        self._exits: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opened:
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
        for image in self._images.values():
            await self._engine.look_for(image.name)

    async def running(self, employee_id: UUID | None = None) -> Sequence[ContainerProcess]:
        """Our containers that run; those that ended while nobody looked are removed. Raises `LaunchFailed`."""
        employee = {"empla.employee": str(employee_id)} if employee_id is not None else {}
        found = [
            container
            for container in await self._engine.containers({"empla.installation": self._installation, **employee})
            if container["Labels"]["empla.kind"] in self._images
        ]
        for container in found:
            if self._is_left_over(container):
                await self._engine.remove(container["Id"])
        alive = [container for container in found if container["State"] in {"running", "paused", "restarting"}]
        return [await self._process(container["Id"], container["Labels"]) for container in alive]

    async def exit_code(self, container: str) -> int | None:
        """Wait for a container's end and remove it; its exit code, None when nobody knows."""
        while container not in self._exits:
            try:
                code = await self._engine.ended(container)
                self._remember(container, await self._told(container, 128 - code if code in SIGNALLED else code))
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

    async def _process(self, container: str, labels: Mapping[str, str]) -> ContainerProcess:
        """A container that runs, as whoever launches is told of it."""
        return ContainerProcess(self, container, labels)

    async def _told(self, container: str, code: int) -> int:
        """How it ended, for whoever waits for it; `code` is what its first program said."""
        return code

    async def _created(self, name: str, configuration: dict[str, Any]) -> str:
        """Its id is known only when the engine has answered: who is cancelled meanwhile waits for that."""
        creating = asyncio.ensure_future(self._engine.create(name, configuration))
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            await to_its_end(self._removed(creating))
            raise

    async def _removed(self, creating: asyncio.Future[str]) -> None:
        await self._engine.remove(await creating)

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

    def _image_of(self, spec: LaunchSpec) -> Image:
        if spec.kind not in self._images:
            raise LaunchFailed(f"there is no image for what is called {spec.kind}", reason="IMAGE_MISSING")
        return self._images[spec.kind]

    def _is_left_over(self, container: Mapping[str, Any]) -> bool:
        age = time.time() - container["Created"]
        forgotten = container["State"] == "created" and age > self.forgotten_seconds
        return container["State"] in {"exited", "dead"} or forgotten


def bind(source: Any, target: str, *, for_reading: bool = False) -> dict[str, Any]:
    """A file or directory of this machine as one of a container's `Mounts`."""
    return {"Type": "bind", "Source": str(Path(source).absolute()), "Target": target, "ReadOnly": for_reading}


def give(place: Path | str, owner: os.stat_result, directory: int | None = None) -> None:
    """Give a file or directory to whom the workspace belongs, where this account may."""
    if os.geteuid() == 0:
        os.chown(place, owner.st_uid, owner.st_gid, dir_fd=directory, follow_symlinks=False)


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it although we are being cancelled; what it fails of is only logged, for there is an error already."""
    doing = asyncio.ensure_future(work)
    while not doing.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([doing])
    if (failure := doing.exception()) is not None:
        log.warning("a container that did not start may be left: %s", failure)
