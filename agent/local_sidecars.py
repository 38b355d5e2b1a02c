"""Sidecars without a control plane: processes that this one starts, and that end with it."""

import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import Process
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from agent.errors import SidecarEnded, SidecarUnavailable
from agent.identity import Identity
from empla.leases import Lease, mint, new_key
from empla.v1 import control_pb2
from empla.v1 import gateway_pb2 as pb

START_SECONDS = 30.0
END_SECONDS = 12.0
"""A sidecar ends itself within ten."""
POLL_SECONDS = 0.02
_MODULES = {
    control_pb2.SIDECAR_KIND_COMPUTE: "sidecars.compute",
    control_pb2.SIDECAR_KIND_BROWSER: "sidecars.browser",
}


@dataclass(slots=True)
class _Started:
    sidecar_id: UUID
    key: bytes
    address: str
    idle_ttl: int
    process: Process

    def require_running(self) -> None:
        if self.process.returncode is not None:
            raise SidecarUnavailable(
                f"its process ended with code {self.process.returncode}, and said why on standard error"
            )


class SidecarProcesses:
    """Sidecars of one launch of one employee over its workspace; an async context manager.

    `packages` and `browser_profile` are directories as for the employee itself. Raises what `Gateway` says of sidecars.
    """

    def __init__(
        self,
        identity: Identity,
        workspace: Path,
        *,
        packages: Path | None = None,
        browser_profile: Path | None = None,
    ) -> None:
        self._identity = identity
        places = {"WORKSPACE": workspace, "COMPUTE_PACKAGES": packages, "BROWSER_PROFILE": browser_profile}
        self._places = {name: str(place) for name, place in places.items() if place is not None}
        self._started: dict[str, _Started] = {}

    async def __aenter__(self) -> Self:
        self._directory = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="empla-")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End those that are left."""
        for sidecar_id in list(self._started):
            await self.release(sidecar_id)
        await asyncio.to_thread(self._directory.cleanup)

    @property
    def pids(self) -> dict[str, int]:
        """The process of each sidecar."""
        return {sidecar_id: started.process.pid for sidecar_id, started in self._started.items()}

    async def acquire(
        self, kind: control_pb2.SidecarKind.ValueType, *, memory_bytes: int, idle_ttl: int
    ) -> pb.SidecarLease:
        """Start one; it answers when this returns."""
        sidecar_id, key = uuid4(), new_key()
        socket = Path(self._directory.name, sidecar_id.hex[-12:])
        told = self._places | {
            "ID": str(sidecar_id),
            "EMPLOYEE_ID": str(self._identity.employee_id),
            "EPOCH": str(self._identity.epoch),
            "KEY": key.hex(),
            "EXPIRES_AT": str(time.time() + idle_ttl),
            "ADDRESS": f"unix:{socket}",
            "OWNER_PID": str(os.getpid()),
            "MEMORY_BYTES": str(memory_bytes),
        }
        environment = os.environ | {f"EMPLA_SIDECAR_{name}": value for name, value in told.items()}
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", _MODULES[kind], env=environment, stdin=asyncio.subprocess.DEVNULL
            )
        except OSError as error:
            raise SidecarUnavailable(f"it could not be started: {error}") from error
        started = _Started(sidecar_id, key, f"unix:{socket}", idle_ttl, process)
        self._started[str(sidecar_id)] = started
        try:
            await self._answering(socket, started)
        except BaseException:
            await self.release(str(sidecar_id))
            raise
        return self._lease(started)

    async def renew(self, sidecar_id: str) -> pb.SidecarLease:
        """Extend a lease."""
        started = self._started.get(sidecar_id)
        if started is None or started.process.returncode is not None:
            code = "" if started is None else f" with code {started.process.returncode}"
            raise SidecarEnded(f"its process ended{code}")
        return self._lease(started)

    async def release(self, sidecar_id: str) -> None:
        """End one, and wait until it has."""
        started = self._started.pop(sidecar_id, None)
        if started is None:
            return
        with suppress(ProcessLookupError):
            started.process.terminate()
        try:
            async with asyncio.timeout(END_SECONDS):
                await started.process.wait()
        except TimeoutError:
            started.process.kill()
            await started.process.wait()

    async def _answering(self, socket: Path, started: _Started) -> None:
        """Wait until it serves; one that does not is ended."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await asyncio.to_thread(socket.exists):
                    started.require_running()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise SidecarUnavailable(f"it did not answer within {START_SECONDS:g} s") from error

    def _lease(self, started: _Started) -> pb.SidecarLease:
        until = time.time() + started.idle_ttl
        token = mint(started.key, Lease(started.sidecar_id, self._identity.employee_id, until))
        lease = pb.SidecarLease(sidecar_id=str(started.sidecar_id), address=started.address, token=token)
        lease.expires_at.FromMilliseconds(round(until * 1000))
        return lease
