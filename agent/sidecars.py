"""The sidecars of one employee: leased when there is work for them, renewed while they are used, given back after."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import grpc

from agent.errors import SidecarEnded, SidecarUnavailable
from agent.gateway import Gateway
from empla import telemetry
from empla.v1 import control_pb2, gateway_pb2, sidecar_pb2, sidecar_pb2_grpc
from workstation.errors import WorkstationError, WorkstationUnavailable
from workstation.remote.dialing import RemoteWorkstation, dialing

log = logging.getLogger(__name__)

IDLE_SECONDS = 300
"""How long a sidecar is kept that nobody uses: a model may think for two minutes before it goes on with its page."""
TELL_SECONDS = 10.0
LOOK_SECONDS, MOST_LOOK_SECONDS = 0.1, 2.0
"""Between two looks at a sidecar whose connection broke, at first and later."""
RETRY_SECONDS = 1.0
"""Between two tries of a renewal that nobody answered."""
_NAMES = {control_pb2.SIDECAR_KIND_COMPUTE: "compute", control_pb2.SIDECAR_KIND_BROWSER: "browser"}


class Sidecar:
    """A sidecar that is held: `workstation` reaches it, `waited` is how many seconds it took to get it.

    `over` is set when it is used no more, `given_back` once the gateway has it back.
    """

    def __init__(self, lease: gateway_pb2.SidecarLease, memory_bytes: int) -> None:
        self._lease, self.memory_bytes, self.waited = lease, memory_bytes, 0.0
        self.workstation: RemoteWorkstation
        self._ended, self._users, self._used = "", 0, False
        self._scopes: set[asyncio.Timeout] = set()
        self.outdated, self.over, self.given_back = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @property
    def sidecar_id(self) -> str:
        """Its id, as in `empla sidecars list`."""
        return self._lease.sidecar_id

    @property
    def token(self) -> str:
        """The token that the lease has now."""
        return self._lease.token

    @property
    def ended(self) -> str:
        """Why it is held no longer, '' while it is."""
        return self._ended

    def end(self, why: str) -> None:
        """Use it no more, and have all that do so stop; it is given back."""
        if self._ended:
            return
        self._ended = why
        self.over.set()
        for scope in self._scopes:
            scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        """Keep it for the block, which ends with `WorkstationUnavailable` as soon as the sidecar does."""
        self._require_held()
        self._users += 1
        try:
            async with asyncio.timeout(None) as scope:
                self._scopes.add(scope)
                try:
                    yield
                finally:
                    self._scopes.discard(scope)
        except TimeoutError:
            self._require_held()
            raise
        finally:
            self._users -= 1
            self._used = True

    def take_use(self) -> bool:
        """Whether it is used, or was since this was last asked."""
        used, self._used = self._used or self._users > 0, False
        return used

    def renewed(self, lease: gateway_pb2.SidecarLease) -> None:
        """Go on under a later lease."""
        self._lease = lease

    def _require_held(self) -> None:
        if self._ended:
            raise WorkstationUnavailable(
                f"sidecar {self.sidecar_id} is gone ({self._ended}), and what it had with it; "
                "what is done next gets another"
            )


class Sidecars:
    """Acquires sidecars through the gateway, and holds each in a task of its own; an async context manager."""

    def __init__(self, gateway: Gateway, *, idle_seconds: int = IDLE_SECONDS) -> None:
        self._gateway, self._idle = gateway, idle_seconds
        self._configuration = sidecar_pb2.SidecarConfiguration()
        self._held: set[Sidecar] = set()
        self._closing = False

    async def __aenter__(self) -> Self:
        self._tasks = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give all back."""
        self._closing = True
        for sidecar in self._held:
            sidecar.end("the employee ends")
        await self._tasks.__aexit__(None, None, None)

    def configure(self, configuration: sidecar_pb2.SidecarConfiguration) -> None:
        """What the sidecars may do, those that are held and those to come."""
        self._configuration = configuration
        for sidecar in self._held:
            sidecar.outdated.set()

    async def acquire(self, kind: control_pb2.SidecarKind.ValueType, memory_bytes: int) -> Sidecar:
        """A sidecar whose work has so much memory; raises `SidecarUnavailable`.

        It is held whatever becomes of the caller, and given back when nobody has used it for a while.
        """
        if self._closing:
            raise SidecarUnavailable("the employee ends")
        ready: asyncio.Future[Sidecar] = asyncio.get_running_loop().create_future()
        self._tasks.create_task(self._hold(kind, memory_bytes, ready), name=f"{_NAMES[kind]} sidecar")
        return await asyncio.shield(ready)

    async def _hold(
        self, kind: control_pb2.SidecarKind.ValueType, memory_bytes: int, ready: asyncio.Future[Sidecar]
    ) -> None:
        began = time.monotonic()
        try:
            lease = await self._gateway.acquire_sidecar(kind, memory_bytes=memory_bytes, idle_ttl=self._idle)
            sidecar = Sidecar(lease, memory_bytes)
            dialed = dialing(lease.address, lambda: sidecar.token, instance=lease.sidecar_id)
            async with self._given_back(sidecar), dialed as workstation:
                sidecar.workstation = workstation
                await self._configure(sidecar)
                sidecar.waited = time.monotonic() - began
                ready.set_result(sidecar)
                telemetry.leave()
                await self._keep(sidecar)
        except SidecarUnavailable as error:
            ready.set_exception(error)
        except (WorkstationError, OSError) as error:
            ready.set_exception(SidecarUnavailable(f"the one that was given cannot be used: {error}"))
        finally:
            ready.cancel()

    @asynccontextmanager
    async def _given_back(self, sidecar: Sidecar) -> AsyncIterator[None]:
        self._held.add(sidecar)
        if self._closing:
            sidecar.end("the employee ends")
        try:
            yield
        finally:
            sidecar.end("it could not be used")
            self._held.discard(sidecar)
            log.info("sidecar %s is given back: %s", sidecar.sidecar_id, sidecar.ended)
            try:
                await self._gateway.release_sidecar(sidecar.sidecar_id)
            except SidecarUnavailable as error:
                log.warning("sidecar %s is left to its lease: %s", sidecar.sidecar_id, error)
            finally:
                sidecar.given_back.set()

    async def _keep(self, sidecar: Sidecar) -> None:
        """Return when it is idle, lost, or to be given back."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._renew_while_used(sidecar)),
                group.create_task(self._ask_when_cut(sidecar)),
                group.create_task(self._keep_configured(sidecar)),
            ]
            await sidecar.over.wait()
            for task in tasks:
                task.cancel()

    async def _renew_while_used(self, sidecar: Sidecar) -> None:
        expires = time.monotonic() + self._idle
        while not sidecar.ended:
            await asyncio.sleep(self._idle / 3)
            if sidecar.take_use():
                expires = await self._renewed(sidecar, expires)
            elif time.monotonic() + self._idle / 3 > expires:
                sidecar.end(f"nobody used it for {self._idle * 2 // 3} s")

    async def _renewed(self, sidecar: Sidecar, expires: float) -> float:
        """Renew; returns when the lease ends. Who cannot be asked now is asked until it has."""
        while not sidecar.ended:
            try:
                sidecar.renewed(await self._gateway.renew_sidecar(sidecar.sidecar_id))
                await self._show_lease(sidecar)
            except SidecarEnded as error:
                sidecar.end(str(error))
            except (SidecarUnavailable, WorkstationError) as error:
                if time.monotonic() > expires:
                    sidecar.end(f"its lease could not be renewed: {error}")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return time.monotonic() + self._idle
        return expires

    async def _show_lease(self, sidecar: Sidecar) -> None:
        """A sidecar believes in the latest token that it was shown, and calls that have begun show theirs no more."""
        await _tell(sidecar, "Describe", sidecar_pb2.DescribeSidecarRequest())

    async def _ask_when_cut(self, sidecar: Sidecar) -> None:
        """When the connection breaks, ask whether the sidecar is still there: nobody has to find out by waiting."""
        channel = sidecar.workstation.connection.channel
        pause = LOOK_SECONDS
        while not sidecar.ended:
            state = channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                await channel.wait_for_state_change(state)
                pause = LOOK_SECONDS
            try:
                sidecar.renewed(await self._gateway.renew_sidecar(sidecar.sidecar_id))
            except SidecarEnded as error:
                sidecar.end(str(error))
            except SidecarUnavailable as error:
                log.warning("whether sidecar %s is still there is not known: %s", sidecar.sidecar_id, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MOST_LOOK_SECONDS)

    async def _keep_configured(self, sidecar: Sidecar) -> None:
        """What cannot be told its configuration may not go on by the one before."""
        while not sidecar.ended:
            await sidecar.outdated.wait()
            try:
                await self._configure(sidecar)
            except WorkstationError as error:
                sidecar.end(f"it does not take its configuration: {error}")

    async def _configure(self, sidecar: Sidecar) -> None:
        sidecar.outdated.clear()
        async with sidecar.in_use():
            await _tell(sidecar, "Configure", self._configuration)


async def _tell(sidecar: Sidecar, method: str, request: Any) -> None:
    connection = sidecar.workstation.connection
    control = sidecar_pb2_grpc.SidecarControlStub(connection.channel)
    await connection.ask(getattr(control, method), request, seconds=TELL_SECONDS, again=True)
