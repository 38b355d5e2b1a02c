"""The Python sessions of one Compute: which are open, which are lost, and what their runs gave."""

import asyncio
import contextlib
import platform
from collections.abc import AsyncGenerator, Callable

from workstation.errors import (
    InvalidArgument,
    LimitExceeded,
    OutputExpired,
    SessionBusy,
    SessionLost,
    SessionNotFound,
    WorkstationError,
)
from workstation.interface import ComputeLimits, EndReason, ExecLimits, Session, SessionEvent, SessionSpec
from workstation.local.doors import Doors
from workstation.local.interpreters import KEPT_RUNS, Interpreter, Run
from workstation.local.jail.pool import WarmPool


class Sessions:
    """The sessions of one Compute."""

    def __init__(
        self,
        pool: WarmPool,
        doors: Doors,
        environment: dict[str, str],
        limits: ComputeLimits,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._pool, self._doors, self._environment = pool, doors, environment
        self._limits, self._tasks = limits, tasks
        self._sessions: dict[str, Interpreter] = {}

    @property
    def count(self) -> int:
        """How many are open."""
        return sum(not session.lost for session in self._sessions.values())

    async def open(
        self, session_id: str, spec: SessionSpec, limits: ExecLimits, cwd: bytes, require_room: Callable[[], None]
    ) -> Session:
        """Open one, or answer the one that is open."""
        session = self._sessions.get(session_id)
        if session is None or session.lost:
            require_room()
            if self.count >= self._limits.sessions:
                raise LimitExceeded(f"{self.count} sessions are open", limit="sessions", allowed=self._limits.sessions)
            self._sessions.pop(session_id, None)
            session = Interpreter(session_id, spec, limits, cwd, self._limits)
            self._sessions[session_id] = session
            living = session.live(self._pool, self._doors, self._environment)
            self._tasks.create_task(living, name=f"session {session_id}")
            self._forget()
        try:
            await asyncio.shield(session.opened)
        except WorkstationError:
            if self._sessions.get(session_id) is session:
                del self._sessions[session_id]
            raise
        return Session(session_id=session_id, python_version=platform.python_version())

    async def run(self, session_id: str, run_id: str, code: str, timeout: float | None) -> AsyncGenerator[SessionEvent]:
        """Run code, or stream what an earlier run of that id gave; who leaves last interrupts it."""
        session = self._sessions.get(session_id)
        if session is None:
            raise SessionNotFound(f"there is no session {session_id}", target=session_id)
        run = self._earlier(session, run_id, code) or self._begin(session, run_id, code, timeout)
        run.readers += 1
        try:
            async with contextlib.aclosing(run.read()) as events:
                async for event in events:
                    yield event
        finally:
            run.readers -= 1
            if not run.readers:
                run.stop(EndReason.CANCELLED)

    async def close(self, session_id: str) -> None:
        """End one and wait until nothing of it is left."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            session.close("was closed")
            await asyncio.shield(session.over)

    def stop(self) -> None:
        """End all, without waiting."""
        for session in self._sessions.values():
            session.close("was closed")

    def _earlier(self, session: Interpreter, run_id: str, code: str) -> Run | None:
        if run_id not in session.runs:
            return None
        run = session.runs[run_id]
        if run is None:
            raise OutputExpired(
                f"what the run {run_id} gave is no longer kept", target=session.session_id, stream="events", earliest=0
            )
        if run.code != code:
            raise InvalidArgument(f"the run {run_id} was of other code")
        return run

    def _begin(self, session: Interpreter, run_id: str, code: str, timeout: float | None) -> Run:
        if session.lost:
            raise SessionLost(f"the session {session.session_id} {session.lost}", target=session.session_id)
        if session.current is not None or not session.opened.done():
            raise SessionBusy(f"the session {session.session_id} runs something", target=session.session_id)
        most = self._limits.code_bytes
        if len(_encoded(code)) > most:
            raise LimitExceeded(f"code may have at most {most} bytes", limit="code_bytes", allowed=most)
        run = session.begin(run_id, code)
        self._tasks.create_task(session.execute(run, timeout), name=f"run {run_id}")
        return run

    def _forget(self) -> None:
        lost = [session for session in self._sessions.values() if session.lost]
        for session in lost[:-KEPT_RUNS]:
            del self._sessions[session.session_id]


def _encoded(code: str) -> bytes:
    try:
        return code.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"the code is not text: {error}") from error
