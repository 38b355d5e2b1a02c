"""One Python session: an interpreter in a jail of its own, spoken to in length-prefixed JSON over a socket.

The interpreter runs untrusted code, so its word is not trusted either: frames are bounded and checked, and whatever
makes no sense ends the session. Text that code prints comes through pipes and is taken from them before each frame,
since the interpreter flushes before it speaks.
"""

import asyncio
import codecs
import contextlib
import json
import logging
import os
import signal
import socket
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

from empla.telemetry import traceparent
from workstation.egress import Door
from workstation.errors import SessionLost, WorkstationError, WorkstationUnavailable
from workstation.interface import (
    ComputeLimits,
    EndReason,
    ExecLimits,
    OutputStream,
    RunEnd,
    SessionEvent,
    SessionSpec,
    SessionText,
)
from workstation.local import frames
from workstation.local.doors import Doors, leave
from workstation.local.executions import misplaced
from workstation.local.jail.cgroups import GroupLimits
from workstation.local.jail.jail import Jail
from workstation.local.jail.pool import WarmPool
from workstation.local.output import News
from workstation.local.pipes import ReadEnd

log = logging.getLogger(__name__)

IDLE_SECONDS = 1800.0
KEPT_RUNS = 64
_KEPT_BYTES = 32 << 20
_UNHEARD_CHARACTERS = 64 << 10
_LEFT_OUT = SessionText(stream=OutputStream.STDERR, text="… more that was printed between runs is left out\n")
_EVENT_BYTES = 100
"""What keeping an event takes beside its text."""


class Run:
    """One run: its events so far, for any number of readers."""

    def __init__(self, run_id: str, code: str) -> None:
        self.run_id, self.code = run_id, code
        self.events: list[SessionEvent] = []
        self.bytes = 0
        self.readers = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.cause: EndReason | None = None
        self.is_followed = False
        """An empty run comes after it, of which nobody is to hear."""
        self._started = time.monotonic()
        self._news = News()

    @property
    def seconds(self) -> float:
        """How long it runs, or ran."""
        return time.monotonic() - self._started

    def stop(self, why: EndReason) -> None:
        """Ask for its end, for the first reason given."""
        if not self.over.done():
            self.cause = self.cause or why
            if not self.stopping.done():
                self.stopping.set_result(None)

    def add(self, event: SessionEvent, size: int = 0) -> None:
        """Something came of it, that takes `size` bytes to keep."""
        self.events.append(event)
        self.bytes += size
        if isinstance(event, RunEnd):
            self.over.set_result(None)
        self._news.tell()

    async def read(self) -> AsyncGenerator[SessionEvent]:
        """All events from the first on, up to the end."""
        position = 0
        while True:
            news = self._news.next
            while position < len(self.events):
                event = self.events[position]
                position += 1
                yield event
                if isinstance(event, RunEnd):
                    return
            await news.wait()


class Interpreter:
    """One session: `live` is its life, as a task. `lost` says why it is over, once it is."""

    def __init__(self, session_id: str, spec: SessionSpec, limits: ExecLimits, cwd: bytes, most: ComputeLimits) -> None:
        loop = asyncio.get_running_loop()
        self.session_id, self._spec, self._limits, self._cwd, self._most = session_id, spec, limits, cwd, most
        self.opened: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self.lost = ""
        self.current: Run | None = None
        self.runs: OrderedDict[str, Run | None] = OrderedDict()
        self._kept: deque[Run] = deque()
        self._unheard: list[SessionText] = []
        self._last_used = time.monotonic()
        self._closing = ""
        self._interrupting = asyncio.Lock()
        self._skipping = False
        self._reading: dict[OutputStream, ReadEnd] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._cpu = 0.0
        self._jail: Jail | None = None
        self._door: Door | None = None
        self._trace = traceparent()

    async def live(self, pool: WarmPool, doors: Doors, environment: dict[str, str]) -> None:
        """Start, listen until the end, leave nothing behind."""
        try:
            self._jail = await pool.take()
            try:
                self._door = doors.open(self._jail, f"session {self.session_id}", self._trace)
                await self._start(self._jail, environment)
                await self._listen(self._jail)
            finally:
                self._end(self._jail)
                await leave(self._jail, self._door)
        except WorkstationError as error:
            self._fail(error)
        except Exception as error:
            log.exception("the session %s failed by a fault of ours", self.session_id)  # the others go on
            self._fail(SessionLost(f"session {self.session_id} failed: {error}", target=self.session_id))
        finally:
            self.over.set_result(None)

    def _fail(self, error: WorkstationError) -> None:
        self.lost = self.lost or str(error)
        if not self.opened.done():
            self.opened.set_exception(error)

    async def execute(self, run: Run, timeout: float | None) -> None:
        """Have the interpreter run it, and see to its end."""
        assert self._jail is not None
        try:
            await self._execute(self._jail, run, timeout)
        except Exception:
            log.exception("a run of the session %s failed by a fault of ours", self.session_id)
            self.close("failed by a fault of ours")

    async def _execute(self, jail: Jail, run: Run, timeout: float | None) -> None:
        limits = self._limits
        self._cpu = jail.usage()[0]
        async with self._interrupting:
            self._send(run.code, run.run_id)
        seconds = min(timeout or limits.wall_seconds or 0.0, limits.wall_seconds or 0.0)
        await asyncio.wait([run.over, run.stopping], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        run.stop(EndReason.TIMED_OUT)
        if not run.over.done():
            async with self._interrupting:
                await self._interrupt(jail, run)
            await asyncio.wait([run.over], timeout=limits.grace_seconds)
        if not run.over.done():
            jail.kill()

    def begin(self, run_id: str, code: str) -> Run:
        """Make the run that is next; text that came between runs is its first."""
        run = Run(run_id, code)
        self.current = self.runs[run_id] = run
        self._kept.append(run)
        if self._door is not None:
            self._door.trace = traceparent()
        for text in self._unheard:
            run.add(text, len(text.text) + _EVENT_BYTES)
        self._unheard.clear()
        self._forget()
        return run

    def close(self, why: str) -> None:
        """End it; from now on it is over for whoever comes."""
        self._closing = self._closing or why
        self.lost = self.lost or why
        if self._jail is not None:
            self._jail.kill()

    async def _start(self, jail: Jail, environment: dict[str, str]) -> None:
        await jail.limit(
            GroupLimits(self._limits.memory_bytes or 0, self._limits.processes or 0, self._limits.cpus or 0.0)
        )
        mine, channel = socket.socketpair()
        with contextlib.ExitStack() as theirs:
            theirs.enter_context(channel)
            descriptors = [channel.fileno()]
            for stream in OutputStream:
                source, end = os.pipe2(os.O_CLOEXEC)
                theirs.callback(os.close, end)
                descriptors.append(end)
                self._reading[stream] = ReadEnd(source, self._taker(stream))
            reader, self._writer = await asyncio.open_connection(sock=mine, limit=1 << 16)
            self._reader = reader
            begun = await jail.start_session(self._cwd, environment, descriptors, self._most.result_bytes)
        if begun.errno:
            raise misplaced(begun, self._cwd)
        if self._closing or jail.ended.done():
            raise SessionLost(f"session {self.session_id} ended before it began", target=self.session_id)
        self.opened.set_result(None)

    async def _listen(self, jail: Jail) -> None:
        """Take frames until there are no more, or one that makes no sense; close what nobody uses."""
        idle = self._spec.idle_seconds or IDLE_SECONDS
        hearing = asyncio.ensure_future(self._hear())
        ends: list[asyncio.Future[Any]] = [hearing, jail.ended]
        try:
            while True:
                await asyncio.wait(ends, timeout=idle, return_when=asyncio.FIRST_COMPLETED)
                if hearing.done() or jail.ended.done():
                    break
                if self.current is None and time.monotonic() - self._last_used >= idle:
                    self.close(f"was closed after {idle:g} s without a run")
        finally:
            hearing.cancel()
            await asyncio.wait([hearing])
        if not await _soon(jail):
            jail.kill()

    async def _hear(self) -> None:
        most = self._most.result_bytes * 4 // 3 + frames.OVERHEAD
        try:
            while (size := int.from_bytes(await self._reader.readexactly(4), "big")) <= most:
                self._take(frames.parsed(await self._reader.readexactly(size)), size)
            log.warning("the session %s sent a frame of %d bytes", self.session_id, size)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it is over, and its jail tells why
        except (ValueError, KeyError, TypeError) as error:
            log.warning("the session %s sent what is no frame: %r", self.session_id, error)

    async def _interrupt(self, jail: Jail, run: Run) -> None:
        """Send SIGINT, and an empty run behind it: that takes the signal if it comes too late for the run it was for."""
        with contextlib.suppress(WorkstationUnavailable):  # so busy that it does not even take signals
            await jail.interrupt()
        self._send("", "interrupted")
        self._skipping = run.over.done()
        run.is_followed = not self._skipping

    def _send(self, code: str, name: str) -> None:
        frame = json.dumps({"run": code, "name": name}).encode()
        assert self._writer is not None
        self._writer.write(len(frame).to_bytes(4, "big") + frame)

    def _take(self, frame: dict[str, Any], size: int) -> None:
        if self._skipping:
            self._skipping = "end" not in frame
            return
        run = self.current
        if run is None:
            raise ValueError("nothing runs")
        for end in self._reading.values():
            end.read()
        if "result" in frame:
            self._add(run, frames.rich(frame["result"], self._most.result_bytes), size)
        elif "error" in frame:
            self._add(run, frames.error(frame["error"]), size)
        else:
            self._last_used = time.monotonic()
            self.current, self._skipping = None, run.is_followed
            run.add(self._run_end(run.cause or EndReason.EXITED, run, alive=True))

    def _add(self, run: Run, event: SessionEvent, size: int) -> None:
        if run.bytes + size > (self._limits.output_bytes or 0):
            run.stop(EndReason.OUTPUT_LIMIT)
        else:
            run.add(event, size)

    def _taker(self, stream: OutputStream) -> Callable[[bytes], None]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        def take(data: bytes) -> None:
            if not (text := decoder.decode(data)):
                return
            event = SessionText(stream=stream, text=text)
            if self.current is not None:
                self._add(self.current, event, len(data) + _EVENT_BYTES)
            elif self._unheard and self._unheard[-1] is _LEFT_OUT:
                pass  # said already
            elif sum(len(text.text) for text in self._unheard) < _UNHEARD_CHARACTERS:
                self._unheard.append(event)
            else:
                self._unheard.append(_LEFT_OUT)

        return take

    def _end(self, jail: Jail) -> None:
        """Say why it is over, to the run that is in work and to those who come later."""
        report = jail.ended.result() if jail.ended.done() else None
        reason = EndReason.LOST
        if self._closing:
            reason, self.lost = EndReason.CANCELLED, self._closing
        elif jail.out_of_memory:
            reason, self.lost = EndReason.OUT_OF_MEMORY, "used up its memory"
        elif self.current is not None and self.current.cause is not None:
            reason, self.lost = self.current.cause, "did not end when it was interrupted"
        elif report is not None and report.exit_code is not None:
            reason, self.lost = EndReason.EXITED, f"exited with code {report.exit_code}"
        elif report is not None:
            reason, self.lost = EndReason.SIGNALED, f"died: {signal.strsignal(report.signal or 0)}"
        else:
            self.lost = "its sandbox died"
        for end in self._reading.values():
            end.drain()
        if self.current is not None:
            self.current.add(self._run_end(reason, self.current, alive=False))
            self.current = None
        if self._writer is not None:
            self._writer.close()

    def _run_end(self, reason: EndReason, run: Run, *, alive: bool) -> RunEnd:
        assert self._jail is not None
        cpu, memory = self._jail.usage()
        return RunEnd(
            reason=reason,
            session_alive=alive,
            cpu_seconds=max(0.0, cpu - self._cpu),
            wall_seconds=run.seconds,
            peak_memory_bytes=memory,
        )

    def _forget(self) -> None:
        """Let go of what old runs gave; that they were is remembered, so that they are not run again."""
        while len(self._kept) > KEPT_RUNS or (
            len(self._kept) > 1 and sum(run.bytes for run in self._kept) > _KEPT_BYTES
        ):
            self.runs[self._kept.popleft().run_id] = None
        while len(self.runs) > 100 * KEPT_RUNS:
            self.runs.popitem(last=False)


async def _soon(jail: Jail) -> bool:
    """Whether the end is reported in a moment: an interpreter that died closes its channel just before."""
    await asyncio.wait([jail.ended], timeout=1.0)
    return jail.ended.done()
