"""The container engine: what we ask of its API, which Docker and Podman share, and what its refusals mean.

https://docs.docker.com/reference/api/engine/ describes the API. All that goes wrong is `LaunchFailed`, with one of these
reasons::

    ENGINE_UNREACHABLE   nobody listens, or it does not answer in time
    IMAGE_MISSING        it has no image of that name; nothing is pulled
    VOLUME_MISSING       a directory to mount is not there
    NETWORK_MISSING      it has no network of that name
    ALREADY_THERE        it has a container of that name
    ENGINE_REFUSED       anything else, in its own words
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiodocker import Docker
from aiodocker.exceptions import DockerError

from controlplane.errors import LaunchFailed

CALL_SECONDS = 60.0
"""For one call: a busy disk may make the engine take its time to set a container up."""
_CONNECTION = 900
"""The status that aiodocker makes up when there is no connection."""
_NOT_FOUND, _CONFLICT = 404, 409


class NoContainer(LaunchFailed):
    """The container is not there any more."""


class Engine:
    """A client of the engine at the unix socket `address` (unix:///run/docker.sock); an async context manager."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def __aenter__(self) -> Self:
        """Connects to nothing yet."""
        # No limit: each container that somebody waits for holds a connection.
        connector = aiohttp.UnixConnector(self.address.removeprefix("unix://"), limit=0)
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        self._docker = Docker("http://engine", connector, self._session, timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._docker.close()
        await self._session.close()

    async def processors(self) -> float:
        """How many processors its machine has: it refuses to give a container more."""
        with self._translated():
            return float((await self._docker.system.info())["NCPU"])

    async def is_podman(self) -> bool:
        """Whether it is Podman, whose API is Docker's but for some options."""
        with self._translated():
            parts = (await self._docker.version()).get("Components", ())
            return any("podman" in str(part.get("Name")).lower() for part in parts)

    async def look_for(self, image: str) -> None:
        """Nothing when it has the image."""
        with self._translated(image):
            await self._docker.images.inspect(image)

    async def size(self, image: str) -> int:
        """How many bytes an image takes, with what it shares with others."""
        with self._translated(image):
            return int((await self._docker.images.inspect(image))["Size"])

    async def create(self, name: str, configuration: Mapping[str, Any]) -> str:
        """Make a container, which does not run yet; returns its id."""
        with self._translated(image=configuration["Image"]):
            return (await self._docker.containers.create(dict(configuration), name=name)).id

    async def start(self, container: str) -> None:
        """Start what was made."""
        with self._translated():
            await self._docker.containers.container(container).start()

    async def start_told(self, container: str, line: bytes) -> bool:
        """Start what was made, which reads a line that nobody else sees; whether it answered. It must have `OpenStdin`."""
        with self._translated():
            made = self._docker.containers.container(container)
            async with made.attach(stdin=True, stdout=True) as stream, asyncio.timeout(CALL_SECONDS):
                await made.start()
                await stream.write_in(line + b"\n")
                return await stream.read_out() is not None

    async def state(self, container: str) -> dict[str, Any]:
        """Its `State`: `Status`, `ExitCode`, `OOMKilled` and more; raises `NoContainer`."""
        with self._translated():
            found = await self._docker.containers.get(container)
            state: dict[str, Any] = found["State"]
            return state

    async def ended(self, container: str) -> int:
        """Wait until it does not run; the exit code. Raises `NoContainer`."""
        with self._translated():
            said = await self._docker.containers.container(container).wait(timeout=aiohttp.ClientTimeout(total=None))
            return int(said["StatusCode"])

    async def signal(self, container: str, number: int) -> None:
        """Send a signal to its first process; nothing when it does not run."""
        with contextlib.suppress(NoContainer), self._translated():
            try:
                await self._docker.containers.container(container).kill(signal=str(number))
            except DockerError as error:
                if error.status != _CONFLICT and "not running" not in error.message:
                    raise

    async def remove(self, container: str) -> None:
        """End it at once and remove it; nothing when it is not there, or somebody else removes it."""
        with contextlib.suppress(NoContainer), self._translated():
            try:
                await self._docker.containers.container(container).delete(force=True, v=True)
            except DockerError as error:
                if error.status != _CONFLICT:  # its removal is under way
                    raise

    async def containers(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """All containers with these labels, also those that ended: `Id`, `Labels`, `State` and `Created`."""
        filters = json.dumps({"label": [f"{name}={value}" for name, value in labels.items()]})
        with self._translated():
            found = await self._docker.containers.list(all="true", filters=filters)
            return [{key: container[key] for key in ("Id", "Labels", "State", "Created")} for container in found]

    @contextlib.contextmanager
    def _translated(self, image: str = "") -> Iterator[None]:
        try:
            yield
        except DockerError as error:
            raise self._failure(error, image) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # also half of an answer
            raise self._unreachable(str(error) or type(error).__name__) from error

    def _failure(self, error: DockerError, image: str) -> LaunchFailed:
        said = error.message.lower()
        reason, message = "ENGINE_REFUSED", f"the container engine refuses: {error.message}"
        if error.status == _CONNECTION:
            return self._unreachable("nobody listens there")
        if "source path" in said or "no such file or directory" in said:
            reason, message = "VOLUME_MISSING", f"a directory that is to be mounted is missing: {error.message}"
        elif "network" in said and "not found" in said:  # Podman's status for this and for a name in use is 500
            reason, message = "NETWORK_MISSING", f"{error.message}: create it with `docker network create`"
        elif error.status == _NOT_FOUND and image:
            reason = "IMAGE_MISSING"
            message = f"the container engine has no image {image}: build it with deploy/images/build.sh, or pull it"
        elif error.status == _NOT_FOUND:
            return NoContainer(error.message, reason="NO_CONTAINER")
        elif error.status == _CONFLICT or "already in use" in said:
            reason, message = "ALREADY_THERE", f"there is such a container already: {error.message}"
        return LaunchFailed(message, reason=reason)

    def _unreachable(self, why: str) -> LaunchFailed:
        return LaunchFailed(
            f"the container engine at {self.address} does not answer ({why}): start it, or see that this account may use it",
            reason="ENGINE_UNREACHABLE",
        )
