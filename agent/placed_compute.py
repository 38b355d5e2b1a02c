"""PlacedCompute: one Compute over this machine and any number of sidecars."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self, cast

from agent.errors import SidecarUnavailable
from agent.placed import AtPlace, beside_employee, inside, note_wait
from agent.placement import USUAL_MEMORY, Placement
from agent.sidecars import Sidecar, Sidecars
from empla.v1 import control_pb2
from workstation.errors import (
    CredentialRefused,
    ExecEnded,
    ExecNotFound,
    OutputExpired,
    SessionNotFound,
    WorkstationError,
    WorkstationUnavailable,
)
from workstation.interface import (
    Compute,
    ComputeCapabilities,
    EndReason,
    ExecEnd,
    ExecLimits,
    ExecSignal,
    ExecSpec,
    ExecStatus,
    Output,
    OutputStream,
    RunEnd,
    Session,
    SessionEvent,
    SessionSpec,
)
from workstation.opening import OpenedOnUse

log = logging.getLogger(__name__)

KEPT_SECONDS = 600.0
"""How long a sidecar is kept for a program that ended in it without anybody having heard of that."""
SHARED_BY = 4
"""How many programs that said nothing of their memory share what one of them may use: few need it."""
_REMEMBERED = 1000
_GONE = (WorkstationUnavailable, CredentialRefused)


class PlacedCompute:
    """A `Compute` that has each program where the placement of then wants it; an async context manager.

    What is asked of a program or a session goes to where that is; what a sidecar takes with it ends as `lost`. Besides
    what any Compute raises, starting and opening raise `SidecarUnavailable`.
    """

    def __init__(
        self,
        open_local: Callable[[], AbstractAsyncContextManager[Compute]],
        sidecars: Sidecars,
        placement: Callable[[], Placement],
    ) -> None:
        self._local, self._sidecars, self._placement = OpenedOnUse(open_local), sidecars, placement
        self._sites: list[_Site] = []
        self._executions: dict[str, _Execution] = {}
        self._sessions: dict[str, _Site | None] = {}  # None: on this machine

    async def __aenter__(self) -> Self:
        """Nothing is opened yet."""
        await self._local.__aenter__()
        self._tasks = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all that runs, in sidecars by ending those."""
        for site in self._sites:
            site.sidecar.end("the employee's programs end")
        await self._tasks.__aexit__(None, None, None)
        await self._local.__aexit__(kind, error, trace)

    async def capabilities(self) -> ComputeCapabilities:
        """Of this machine; a sidecar may have more of the same."""
        return await (await self._here()).capabilities()

    async def start(self, exec_id: str, spec: ExecSpec) -> ExecStatus:
        """Start a program where there is room for it; see `Compute.start`."""
        execution = self._executions.get(exec_id)
        if execution is None:
            if not self._placement().needs_sidecar(spec.limits) or await self._is_here(exec_id):
                return await (await self._here()).start(exec_id, replace(spec, limits=_usual(spec.limits)))
            site, memory = await self._site_for(exec_id, spec.limits)
            execution = self._remember(_Execution(exec_id, spec, memory, site))
        try:
            status = await self._asked(exec_id, lambda compute: compute.start(exec_id, execution.fitting(spec)))
        except WorkstationError:
            if not execution.begun:
                self._forget(execution)
            raise
        if not execution.begun:
            execution.begun = True
            self._tasks.create_task(self._attend(execution), name=f"attending {exec_id}")
        return status

    async def follow(
        self, exec_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncGenerator[Output | ExecStatus]:
        """Stream both outputs; see `Compute.follow`."""
        execution = self._executions.get(exec_id)
        compute = execution.site.compute if execution else await self._found_here(exec_id)
        if execution and execution.site.ended:
            execution.require_kept(stdout_offset, stderr_offset)
        try:
            async with aclosing(
                compute.follow(exec_id, stdout_offset=stdout_offset, stderr_offset=stderr_offset)
            ) as events:
                async for event in events:
                    if execution:
                        execution.hear(event)
                    yield event
        except _GONE as error:
            if execution is None:
                raise
            execution.site.lose(error)
            yield execution.lost()

    async def write_stdin(self, exec_id: str, data: bytes, *, offset: int, eof: bool = False) -> int:
        """Give input; see `Compute.write_stdin`."""
        return await (await self._running(exec_id)).write_stdin(exec_id, data, offset=offset, eof=eof)

    async def signal(self, exec_id: str, signal: ExecSignal) -> None:
        """Signal a whole tree; see `Compute.signal`."""
        await (await self._running(exec_id)).signal(exec_id, signal)

    async def wait(self, exec_id: str, *, timeout: float | None = None) -> ExecStatus:
        """Wait for the end; see `Compute.wait`."""
        return await self._asked(exec_id, lambda compute: compute.wait(exec_id, timeout=timeout))

    async def cancel(self, exec_id: str) -> ExecStatus:
        """End a whole tree; see `Compute.cancel`."""
        return await self._asked(exec_id, lambda compute: compute.cancel(exec_id))

    async def list(self) -> tuple[ExecStatus, ...]:
        """All that are remembered, wherever they are; see `Compute.list`."""
        here = await (await self._here()).list() if self._local.is_open else ()
        for site in self._live():
            with suppress(*_GONE):  # told of each of its programs, below or when they are next asked for
                for status in await site.compute.list():
                    if execution := self._executions.get(status.exec_id):
                        execution.status = status
        elsewhere = [one.lost() if one.site.ended else one.status for one in self._executions.values()]
        return tuple(sorted([*here, *elsewhere], key=lambda status: status.started_ns, reverse=True))

    async def open_session(self, session_id: str, spec: SessionSpec) -> Session:
        """Open a Python session where there is room for it; see `Compute.open_session`."""
        site = self._sessions.get(session_id)
        if site is None or site.ended:
            if not self._placement().needs_sidecar(spec.limits):
                self._sessions[session_id] = None
                return await (await self._here()).open_session(session_id, replace(spec, limits=_usual(spec.limits)))
            site, memory = await self._site_for(_session(session_id), spec.limits)
            self._sessions[session_id] = site
            spec = replace(spec, limits=replace(spec.limits, memory_bytes=memory))
        return await site.compute.open_session(session_id, spec)

    async def run_in_session(
        self, session_id: str, run_id: str, code: str, *, timeout: float | None = None
    ) -> AsyncGenerator[SessionEvent]:
        """Run code in a session; see `Compute.run_in_session`."""
        began = time.monotonic()
        site = self._sessions.get(session_id)
        if session_id not in self._sessions or (site and site.ended):
            raise SessionNotFound(f"there is no session {session_id}", target=session_id)
        compute = site.compute if site else await self._here()
        try:
            async with aclosing(compute.run_in_session(session_id, run_id, code, timeout=timeout)) as events:
                async for event in events:
                    yield event
        except _GONE as error:
            if site is None:
                raise
            site.lose(error)
            yield RunEnd(reason=EndReason.LOST, session_alive=False, wall_seconds=time.monotonic() - began)

    async def close_session(self, session_id: str) -> None:
        """End a session; see `Compute.close_session`."""
        if session_id not in self._sessions:
            return
        if site := self._sessions.pop(session_id):
            site.taken.pop(_session(session_id), None)
            with suppress(*_GONE):  # it ended with its sidecar
                await site.compute.close_session(session_id)
        else:
            await (await self._here()).close_session(session_id)

    # This machine

    async def _here(self) -> Compute:
        return cast("Compute", AtPlace(await self._local.get(), beside_employee))

    async def _is_here(self, exec_id: str) -> bool:
        """Whether it was started here before the placement changed."""
        if not self._local.is_open:
            return False
        return any(status.exec_id == exec_id for status in await (await self._local.get()).list())

    async def _found_here(self, exec_id: str) -> Compute:
        if not self._local.is_open:
            raise ExecNotFound(f"there is no execution {exec_id}", target=exec_id)
        return await self._here()

    # Sidecars

    async def _asked(self, exec_id: str, ask: Callable[[Compute], Awaitable[ExecStatus]]) -> ExecStatus:
        """What the place of a program says of it; that it was lost, if the place has been."""
        execution = self._executions.get(exec_id)
        if execution is None:
            return await ask(await self._found_here(exec_id))
        if execution.site.ended:
            return execution.lost()
        try:
            return execution.seen(await ask(execution.site.compute))
        except _GONE as error:
            execution.site.lose(error)
            return execution.lost()

    async def _running(self, exec_id: str) -> Compute:
        execution = self._executions.get(exec_id)
        if execution is None:
            return await self._found_here(exec_id)
        if execution.site.ended:
            raise ExecEnded(f"{exec_id} ended with its sidecar", target=exec_id)
        return execution.site.compute

    def _live(self) -> "Sequence[_Site]":
        self._sites = [site for site in self._sites if not site.ended]
        return self._sites

    async def _site_for(self, name: str, limits: ExecLimits) -> "tuple[_Site, int]":
        """A sidecar with room for `name`, and the memory that it takes there."""
        memory = min(max(limits.memory_bytes or 0, USUAL_MEMORY), self._placement().sidecar_memory)
        taken = memory if memory > USUAL_MEMORY else memory // SHARED_BY
        site = next((site for site in self._live() if site.has_room(taken)), None)
        if site is None:
            site = _Site(await self._acquired(memory))
            self._sites.append(site)
            note_wait(site.sidecar)
        site.taken[name] = taken
        return site, memory

    async def _acquired(self, memory: int) -> Sidecar:
        """A new sidecar; those in which nothing runs make room for it."""
        try:
            return await self._sidecars.acquire(control_pb2.SIDECAR_KIND_COMPUTE, memory)
        except SidecarUnavailable:
            idle = [site.sidecar for site in self._live() if not site.taken]
            if not idle:
                raise
            for sidecar in idle:
                sidecar.end("another that is larger needs its room")
                await sidecar.given_back.wait()
            return await self._sidecars.acquire(control_pb2.SIDECAR_KIND_COMPUTE, memory)

    async def _attend(self, execution: "_Execution") -> None:
        """Keep a program's sidecar until the program has ended and somebody knows, for a while at least."""
        site = execution.site
        try:
            async with site.sidecar.in_use():
                execution.ended(await site.sidecar.workstation.compute.wait(execution.exec_id))
                with suppress(TimeoutError):
                    async with asyncio.timeout(KEPT_SECONDS):
                        await execution.told.wait()
        except _GONE as error:
            site.lose(error)
        except WorkstationError:
            log.exception("how %s ended is not known", execution.exec_id)

    def _remember(self, execution: "_Execution") -> "_Execution":
        self._executions[execution.exec_id] = execution
        while len(self._executions) > _REMEMBERED:
            del self._executions[next(iter(self._executions))]
        return execution

    def _forget(self, execution: "_Execution") -> None:
        execution.site.taken.pop(execution.exec_id, None)
        self._executions.pop(execution.exec_id, None)


class _Site:
    """A sidecar with a Compute; `taken` is the memory of each program and session in it."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar
        self.compute = cast("Compute", AtPlace(sidecar.workstation.compute, inside(sidecar)))
        self.taken: dict[str, int] = {}

    @property
    def ended(self) -> str:
        return self.sidecar.ended

    def has_room(self, memory: int) -> bool:
        return sum(self.taken.values()) + memory <= self.sidecar.memory_bytes

    def lose(self, error: WorkstationError) -> None:
        """It does not answer, so nobody can tell any more what happens in it."""
        self.sidecar.end(str(error))


@dataclass(slots=True, eq=False)
class _Execution:
    """A program in a sidecar, and how it stood when it was last looked at."""

    exec_id: str
    spec: ExecSpec
    memory: int
    site: _Site
    begun: bool = False
    told: asyncio.Event = field(default_factory=asyncio.Event)
    status: ExecStatus = field(init=False)

    def __post_init__(self) -> None:
        self.status = ExecStatus(exec_id=self.exec_id, argv=self.spec.argv, started_ns=time.time_ns())

    def fitting(self, spec: ExecSpec) -> ExecSpec:
        """What is asked of the sidecar: the same each time that the same is asked here."""
        return replace(spec, limits=replace(spec.limits, memory_bytes=self.memory))

    def hear(self, event: Output | ExecStatus) -> None:
        if isinstance(event, ExecStatus):
            self.seen(event)
            return
        end = event.offset + len(event.data)
        if event.stream is OutputStream.STDOUT:
            self.status = replace(self.status, stdout_bytes=max(end, self.status.stdout_bytes))
        else:
            self.status = replace(self.status, stderr_bytes=max(end, self.status.stderr_bytes))

    def seen(self, status: ExecStatus) -> ExecStatus:
        """Take what somebody was told."""
        self.status = status
        if status.end is not None:
            self.ended(status)
            self.told.set()
        return status

    def ended(self, status: ExecStatus) -> None:
        """Take its end: its memory is free again."""
        self.status = status
        self.site.taken.pop(self.exec_id, None)

    def lost(self) -> ExecStatus:
        """How it stands now that its sidecar is gone, and its output with it."""
        status = self.status
        end = status.end or ExecEnd(
            reason=EndReason.LOST,
            wall_seconds=(time.time_ns() - status.started_ns) / 1e9,
            message=f"its sidecar {self.site.sidecar.sidecar_id} is gone: {self.site.ended}",
        )
        out, err = status.stdout_bytes, status.stderr_bytes
        return self.seen(replace(status, end=end, stdout_kept_from=out, stderr_kept_from=err))

    def require_kept(self, stdout_offset: int, stderr_offset: int) -> None:
        for stream, offset in ((OutputStream.STDOUT, stdout_offset), (OutputStream.STDERR, stderr_offset)):
            end = self.status.stdout_bytes if stream is OutputStream.STDOUT else self.status.stderr_bytes
            if offset < end:
                raise OutputExpired(
                    f"what {self.exec_id} wrote to {stream} is gone with its sidecar ({self.site.ended})",
                    target=self.exec_id,
                    stream=stream,
                    earliest=end,
                )


def _usual(limits: ExecLimits) -> ExecLimits:
    """The limits of a program here: what it needs at least is no bound, as long as there is more."""
    return replace(limits, memory_bytes=None)


def _session(session_id: str) -> str:
    return f"session {session_id}"
