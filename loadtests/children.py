"""Peers that are processes of their own, spoken to in lines of JSON over their standard input and output."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ANSWER_SECONDS = 120.0
STOP_SECONDS = 10.0
_LINE_BYTES = 32 << 20


class PeerFailed(Exception):
    """What something was to be compared with is not there, or does not do what it should; the text says why."""


class Child:
    """A running one, which answers one line after another."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.name, self._input, self._output = name, process.stdin, process.stdout

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Tell it something and take its answer; raises `PeerFailed` when it has none."""
        self.tell(message)
        return await self.hear()

    def tell(self, message: dict[str, Any]) -> None:
        self._input.write(json.dumps(message).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        """The next line it says; raises `PeerFailed`."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await self._output.readline()
        except TimeoutError:
            raise PeerFailed(f"{self.name} said nothing for {ANSWER_SECONDS:g} s") from None
        if not line:
            raise PeerFailed(f"{self.name} is gone")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerFailed(f"{self.name} says {answer['error']}")
        return answer


@asynccontextmanager
async def running(name: str, *argv: str | Path, directory: Path | None = None) -> AsyncIterator[Child]:
    """Start a program that ends when its input does; one that does not is killed."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=directory, limit=_LINE_BYTES
    )
    assert process.stdin is not None
    try:
        yield Child(name, process)
    finally:
        process.stdin.close()
        await _end(process)


@asynccontextmanager
async def running_module(name: str, *arguments: str) -> AsyncIterator[Child]:
    """The same with one of our modules, run by this Python."""
    async with running(name, sys.executable, "-m", name, *arguments) as child:
        yield child


def answer_lines(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The other side: answer each line of the standard input until it ends."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
