"""The employees' logs: one file for each, read by operators."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

DEFAULT_LINES = 100
MAX_LINES = 10_000
MAX_LINE = 64 * 1024
MAX_TAIL_BYTES = 8 * 1024 * 1024
LOOK_SECONDS = 0.25


class Logs:
    """What the processes of employees wrote, below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def tail(self, employee_id: UUID, lines: int, *, follow: bool) -> AsyncIterator[str]:
        """The last `lines` (0: 100) of an employee's log, and with `follow` what comes after, until cancelled."""
        path = self._directory / f"{employee_id}.log"
        last, offset = await asyncio.to_thread(_last_lines, path, min(lines or DEFAULT_LINES, MAX_LINES))
        for line in last:
            yield line
        while follow:
            await asyncio.sleep(LOOK_SECONDS)
            more, offset = await asyncio.to_thread(_lines_after, path, offset)
            for line in more:
                yield line


def _last_lines(path: Path, count: int) -> tuple[list[str], int]:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return [], 0
    lines, end = _lines_after(path, max(0, size - MAX_TAIL_BYTES))
    return list(deque(lines, maxlen=count)), end


def _lines_after(path: Path, offset: int) -> tuple[list[str], int]:
    """The whole lines after `offset`, and where the next ones begin; a file that shrank is read from its start."""
    try:
        with path.open("rb") as file:
            file.seek(offset if path.stat().st_size >= offset else 0)
            data = file.read(MAX_TAIL_BYTES)
            start = file.tell() - len(data)
    except FileNotFoundError:
        return [], 0
    whole = data[: data.rfind(b"\n") + 1]
    return [line[:MAX_LINE].decode("utf-8", "replace") for line in whole.splitlines()], start + len(whole)
