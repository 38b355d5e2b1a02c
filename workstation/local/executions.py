"""One execution: a program in a jail of its own, from its start to the exact reason of its end."""

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from empla.telemetry import traceparent
from workstation.egress import Door
from workstation.errors import (
    ExecEnded,
    PathOutsideWorkspace,
    StdinOffsetMismatch,
    WorkstationError,
    WorkstationUnavailable,
)
from workstation.interface import (
    EndReason,
    ExecEnd,
    ExecLimits,
    ExecSignal,
    ExecSpec,
    ExecStatus,
    Output,
    OutputStream,
)
from workstation.local.doors import Doors, leave
from workstation.local.failures import translate
from workstation.local.jail.cgroups import GroupLimits
from workstation.local.jail.configuration import WORKSPACE
from workstation.local.jail.jail import END_SECONDS, Begun, Jail, Report
from workstation.local.jail.pool import WarmPool
from workstation.local.output import News, Retained
from workstation.local.pipes import ReadEnd, WriteEnd
from workstation.paths import encode, show

_SIGNALS = {
    ExecSignal.INTERRUPT: signal.SIGINT,
    ExecSignal.TERMINATE: signal.SIGTERM,
    ExecSignal.KILL: signal.SIGKILL,
    ExecSignal.HANGUP: signal.SIGHUP,
    ExecSignal.STOP: signal.SIGSTOP,
    ExecSignal.CONTINUE: signal.SIGCONT,
}
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
"""What shells exit with when there is no such program, or it cannot be executed."""
_NEWLINE = ord("\n")
_END_OF_INPUT = b"\x04"
"""What a terminal takes for the end of its input."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A spec made ready: what goes to the kernel, and bounds without gaps."""

    argv: list[bytes]
    cwd: bytes
    env: dict[bytes, bytes]
    limits: ExecLimits
    group: GroupLimits


class Execution:
    """One program and what it wrote; `run` is its life, as a task of the Compute's."""

    def __init__(self, exec_id: str, spec: ExecSpec, launch: Launch, *, kept_bytes: int, chunk_bytes: int) -> None:
        self.exec_id, self.spec = exec_id, spec
        self._launch, self._chunk = launch, chunk_bytes
        self._outputs = {stream: Retained(exec_id, stream, kept_bytes) for stream in OutputStream}
        self._news = News()
        self._reading: list[ReadEnd] = []
        self._stdin: WriteEnd | None = None
        self._stdin_lock = asyncio.Lock()
        self._stdin_bytes = 0
        self._line_open = self._input_ended = False
        self._cause: EndReason | None = None
        self._jail: Jail | None = None
        self._door: Door | None = None
        self._trace = traceparent()
        self._started_ns, self._started = time.time_ns(), time.monotonic()
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.end: ExecEnd | None = None
        self._ended = asyncio.Event()
        self.ended_at = 0.0

    @property
    def status(self) -> ExecStatus:
        """How it stands."""
        out, err = self._outputs[OutputStream.STDOUT], self._outputs[OutputStream.STDERR]
        return ExecStatus(
            exec_id=self.exec_id,
            argv=self.spec.argv,
            started_ns=self._started_ns,
            stdout_bytes=out.end,
            stderr_bytes=err.end,
            stdout_kept_from=out.start,
            stderr_kept_from=err.start,
            stdin_bytes=self._stdin_bytes,
            end=self.end,
        )

    @property
    def kept_bytes(self) -> int:
        """How much output is kept."""
        return sum(output.end - output.start for output in self._outputs.values())

    async def run(self, pool: WarmPool, doors: Doors) -> None:
        """Start it, see it to its end, and leave nothing of it. `begun` fails with what kept it from starting."""
        try:
            self._jail = await pool.take()
            self._door = doors.open(self._jail, f"execution {self.exec_id}", self._trace)
            await self._live(self._jail)
        except WorkstationError as error:
            if self.begun.done():
                raise
            self.begun.set_exception(error)
        finally:
            try:
                self._tell_end()
                await asyncio.sleep(0)  # whoever waits for the end goes first
            finally:
                await self._clear()

    def _tell_end(self) -> None:
        if self.end is None:
            self._finish(self._jail, None)
        if not self.begun.done():
            self.begun.set_result(None)

    async def _clear(self) -> None:
        try:
            if self._jail is not None:
                await leave(self._jail, self._door)
        finally:
            for end in self._reading:
                end.close()
            self._ended.set()
            self.over.set_result(None)

    async def follow(self, stdout_offset: int, stderr_offset: int) -> AsyncGenerator[Output | ExecStatus]:
        """Yield output from these offsets as it comes, and the status last."""
        offsets = {OutputStream.STDOUT: stdout_offset, OutputStream.STDERR: stderr_offset}
        while True:
            news, over = self._news.next, self.end is not None
            quiet = True
            for stream, offset in offsets.items():
                if data := self._outputs[stream].read(offset, self._chunk):
                    quiet = False
                    offsets[stream] += len(data)
                    yield Output(stream=stream, offset=offset, data=data)
            if quiet and over:
                yield self.status
                return
            if quiet:
                await news.wait()

    async def wait(self, timeout: float | None) -> None:
        """Wait for the end, at most `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._ended.wait()

    async def write_stdin(self, data: bytes, offset: int, *, eof: bool) -> int:
        """Take input that starts at `offset`; see `Compute.write_stdin`."""
        async with self._stdin_lock:
            if offset > self._stdin_bytes:
                raise StdinOffsetMismatch(
                    f"input of {self.exec_id} goes on at byte {self._stdin_bytes}, not at {offset}",
                    target=self.exec_id,
                    expected=self._stdin_bytes,
                )
            rest = memoryview(data)[self._stdin_bytes - offset :]
            if self._stdin is None:
                if rest or self.end is not None:
                    raise ExecEnded(f"{self.exec_id} takes no input", target=self.exec_id)
                return self._stdin_bytes
            if rest and self._input_ended:
                raise ExecEnded(f"the input of {self.exec_id} has ended", target=self.exec_id)
            await self._write(self._stdin, rest)
            if eof and not self._input_ended:
                self._input_ended = True
                await self._end_input(self._stdin)
            return self._stdin_bytes

    def signal(self, which: ExecSignal) -> None:
        """Signal every process of it; raises `ExecEnded`."""
        if self.end is not None or self._jail is None:
            raise ExecEnded(f"{self.exec_id} is over", target=self.exec_id)
        self._jail.signal(_SIGNALS[which])

    def stop(self, why: EndReason) -> None:
        """End it now, for the first reason given."""
        if self.end is None:
            self._cause = self._cause or why
            if self._jail is not None:
                self._jail.kill()

    async def _live(self, jail: Jail) -> None:
        if self._cause is not None:  # ended before it began
            return
        await jail.limit(self._launch.group)
        begun = await self._start(jail)
        if begun.misplaced:
            raise misplaced(begun, self._launch.cwd)
        self._started_ns, self._started = time.time_ns(), time.monotonic()
        if begun.errno:
            self._finish(jail, _unstarted(begun, self.spec.argv[0]))
            return
        self.begun.set_result(None)
        await self._watch(jail)
        for end in self._reading:
            end.drain()
        self._finish(jail, jail.ended.result() if jail.ended.done() else None)

    async def _start(self, jail: Jail) -> Begun:
        """Give it its descriptors and start it; a cancelled or late one is killed before it does anything."""
        terminal = self.spec.terminal
        with contextlib.ExitStack() as theirs:
            outputs = self._open_pipes(theirs) if terminal is None else []
            size = (terminal.columns, terminal.rows) if terminal else None
            try:
                return await jail.start(self._launch.argv, self._launch.cwd, self._launch.env, outputs, size)
            finally:
                if jail.terminal >= 0:  # ours from here on, whatever came of the start
                    self._reading = [ReadEnd(os.dup(jail.terminal), self._taker(OutputStream.STDOUT))]
                    self._stdin = WriteEnd(jail.terminal)

    def _open_pipes(self, theirs: contextlib.ExitStack) -> list[int]:
        """Keep our ends of the program's input and outputs, and return its own, which `theirs` closes."""
        outputs: list[int] = []
        if self.spec.stdin:
            source, mine = os.pipe2(os.O_CLOEXEC)
            self._stdin = WriteEnd(mine)
        else:
            source = os.open(os.devnull, os.O_RDONLY)
        outputs.append(source)
        for stream in OutputStream:
            mine, end = os.pipe2(os.O_CLOEXEC)
            self._reading.append(ReadEnd(mine, self._taker(stream)))
            outputs.append(end)
        for descriptor in outputs:
            theirs.callback(os.close, descriptor)
        return outputs

    def _taker(self, stream: OutputStream) -> Callable[[bytes], None]:
        kept = self._outputs[stream]
        most = self._launch.limits.output_bytes or 0

        def take(data: bytes) -> None:
            room = most - sum(output.end for output in self._outputs.values())
            kept.add(data[:room])
            if len(data) > room:
                self.stop(EndReason.OUTPUT_LIMIT)
            self._news.tell()

        return take

    async def _watch(self, jail: Jail) -> None:
        """Wait for the end; after `wall_seconds` ask for it, and `grace_seconds` later see to it."""
        limits = self._launch.limits
        if await _ends(jail, limits.wall_seconds):
            return
        self._cause = self._cause or EndReason.TIMED_OUT
        with contextlib.suppress(WorkstationUnavailable):  # so busy that it does not even take signals
            jail.signal(signal.SIGTERM)
            jail.signal(signal.SIGCONT)  # a stopped program would not hear of it
        if not await _ends(jail, limits.grace_seconds):
            jail.kill()
            await _ends(jail, END_SECONDS)

    async def _write(self, stdin: WriteEnd, rest: memoryview) -> None:
        try:
            while rest:
                count = await stdin.write(rest)
                self._stdin_bytes += count
                self._line_open = rest[count - 1] != _NEWLINE
                rest = rest[count:]
        except BrokenPipeError:
            raise ExecEnded(f"{self.exec_id} takes no more input", target=self.exec_id) from None

    async def _end_input(self, stdin: WriteEnd) -> None:
        if self.spec.terminal:
            with contextlib.suppress(BrokenPipeError):
                # After part of a line the first one only hands that over.
                await stdin.write(_END_OF_INPUT * (1 + self._line_open))
        else:
            stdin.close()
            self._stdin = None

    def _finish(self, jail: Jail | None, report: Report | None) -> None:
        cpu, memory = jail.usage() if jail is not None else (0.0, 0)
        reason, message = self._reason(jail, report)
        report = report or (Report() if reason is EndReason.LOST else Report(signal=int(signal.SIGKILL)))
        self.end = ExecEnd(
            reason=reason,
            exit_code=report.exit_code if reason is EndReason.EXITED else None,
            signal=report.signal,
            cpu_seconds=cpu,
            wall_seconds=time.monotonic() - self._started,
            peak_memory_bytes=memory,
            message=message,
        )
        self.ended_at = time.monotonic()
        self._ended.set()
        if self._stdin is not None:
            self._stdin.close()
        self._news.tell()

    def _reason(self, jail: Jail | None, report: Report | None) -> tuple[EndReason, str]:
        limits = self._launch.limits
        causes = {
            EndReason.TIMED_OUT: f"not done after {limits.wall_seconds:g} s",
            EndReason.OUTPUT_LIMIT: f"wrote more than {limits.output_bytes} bytes",
            EndReason.CANCELLED: "it was cancelled",
        }
        if self._cause is not None:
            return self._cause, causes[self._cause]
        if jail is not None and jail.out_of_memory:
            return EndReason.OUT_OF_MEMORY, f"used more than {limits.memory_bytes} bytes of memory"
        if report is None:
            return EndReason.LOST, "the sandbox died"
        if report.exit_code is None:
            return EndReason.SIGNALED, signal.strsignal(report.signal or 0) or ""
        return EndReason.EXITED, report.message


async def _ends(jail: Jail, seconds: float | None) -> bool:
    await asyncio.wait([jail.ended], timeout=seconds)
    return jail.ended.done()


def misplaced(begun: Begun, cwd: bytes) -> WorkstationError:
    """Why the directory `cwd` could not be entered, though it looked well from outside."""
    path = cwd.removeprefix(f"{WORKSPACE}/".encode())
    if begun.errno == errno.EXDEV:
        return PathOutsideWorkspace(f"leads out of the workspace: {encode(path)}", path=encode(path))
    return translate(OSError(begun.errno, os.strerror(begun.errno)), path)


def _unstarted(begun: Begun, program: str) -> Report:
    if begun.errno == errno.ENOENT:
        return Report(exit_code=_NOT_FOUND, message=f"there is no program {show(program)}")
    return Report(exit_code=_NOT_EXECUTABLE, message=f"{show(program)} cannot be executed: {os.strerror(begun.errno)}")
