"""Running a program or code in a session and taking everything it gave."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from workstation.interface import (
    Compute,
    EndReason,
    ExecEnd,
    ExecSpec,
    ExecStatus,
    Output,
    OutputStream,
    RichResult,
    RunEnd,
    SessionError,
    SessionEvent,
    SessionSpec,
    SessionText,
)

PATIENCE = 60.0
"""Seconds after which a test stops waiting for what should have come long ago."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Ran:
    """A program that ended, with its outputs."""

    status: ExecStatus
    stdout: bytes
    stderr: bytes

    @property
    def end(self) -> ExecEnd:
        assert self.status.end is not None
        return self.status.end

    @property
    def text(self) -> str:
        return self.stdout.decode()


def fresh_id() -> str:
    return f"case-{next(_numbers)}"


async def start(compute: Compute, *argv: str, **spec: Any) -> str:
    """Start a program under a new id."""
    exec_id = fresh_id()
    await compute.start(exec_id, ExecSpec(argv=argv, **spec))
    return exec_id


async def start_python(compute: Compute, source: str, *arguments: str, **spec: Any) -> str:
    return await start(compute, "python3", "-c", dedent(source), *arguments, **spec)


async def collect(compute: Compute, exec_id: str, **offsets: int) -> Ran:
    """Follow a program to its end; its outputs must come without a gap."""
    outputs = {OutputStream.STDOUT: bytearray(), OutputStream.STDERR: bytearray()}
    begin = {stream: offsets.get(f"{stream}_offset", 0) for stream in OutputStream}
    last: Output | ExecStatus | None = None
    async with asyncio.timeout(PATIENCE):
        async for last in compute.follow(exec_id, **offsets):
            if isinstance(last, Output):
                assert last.offset == begin[last.stream] + len(outputs[last.stream])
                outputs[last.stream] += last.data
    assert isinstance(last, ExecStatus)
    return Ran(last, *map(bytes, outputs.values()))


async def run(compute: Compute, *argv: str, **spec: Any) -> Ran:
    """Run a program to its end."""
    return await collect(compute, await start(compute, *argv, **spec))


async def run_python(compute: Compute, source: str, *arguments: str, **spec: Any) -> Ran:
    """Run Python code to its end."""
    return await run(compute, "python3", "-c", dedent(source), *arguments, **spec)


async def printed(compute: Compute, source: str, *arguments: str, **spec: Any) -> str:
    """What Python code printed; it must succeed."""
    ran = await run_python(compute, source, *arguments, **spec)
    assert (ran.end.reason, ran.end.exit_code) == (EndReason.EXITED, 0), (ran.end, ran.stderr[-2000:])
    return ran.text


async def heard(compute: Compute, exec_id: str, text: bytes) -> bytes:
    """Wait until a running program has written this to its standard output."""
    output = b""
    async with asyncio.timeout(PATIENCE), aclosing(compute.follow(exec_id)) as stream:
        async for event in stream:
            if isinstance(event, Output) and event.stream is OutputStream.STDOUT:
                output += event.data
            if text in output:
                return output
    raise AssertionError(f"{text!r} was not in {output!r}")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what must come to pass."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Run:
    """All events of one run in a session."""

    events: tuple[SessionEvent, ...]

    @property
    def end(self) -> RunEnd:
        last = self.events[-1]
        assert isinstance(last, RunEnd)
        return last

    @property
    def text(self) -> str:
        """What it printed to its standard output."""
        texts = [event for event in self.events if isinstance(event, SessionText)]
        return "".join(event.text for event in texts if event.stream is OutputStream.STDOUT)

    @property
    def error(self) -> SessionError:
        (error,) = (event for event in self.events if isinstance(event, SessionError))
        return error

    @property
    def results(self) -> list[dict[str, bytes]]:
        return [dict(event.data) for event in self.events if isinstance(event, RichResult)]


@dataclass(frozen=True)
class Interpreter:
    """An open session."""

    compute: Compute
    session_id: str

    async def run(self, code: str, *, run_id: str | None = None, timeout: float | None = None) -> Run:
        """Run code and take all that comes of it."""
        stream = self.compute.run_in_session(self.session_id, run_id or fresh_id(), dedent(code), timeout=timeout)
        async with asyncio.timeout(PATIENCE), aclosing(stream):
            return Run(tuple([event async for event in stream]))


@asynccontextmanager
async def interpreter(compute: Compute, **spec: Any) -> AsyncIterator[Interpreter]:
    """Open a session for the time of a block."""
    session_id = fresh_id()
    await compute.open_session(session_id, SessionSpec(**spec))
    try:
        yield Interpreter(compute, session_id)
    finally:
        await compute.close_session(session_id)
