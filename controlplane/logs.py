"""The logs: one file for each employee, read by operators, and those of what serves them; none grows without limit."""

import asyncio
import fcntl
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from uuid import UUID

from controlplane.rounds import every

log = logging.getLogger(__name__)

DEFAULT_LINES = 100
MAX_LINES = 10_000
MAX_LINE = 64 * 1024
MAX_TAIL_BYTES = 8 * 1024 * 1024
LOOK_SECONDS = 0.25
MAX_FILE_BYTES = 16 * 1024 * 1024
"""A log over this is moved to `<name>.1`, where at most as much of its end is kept."""
ROTATE_SECONDS = 1.0
"""What an employee writes in so long is the most that its log is too long by."""


class Logs:
    """What the processes of employees wrote, below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def tail(self, employee_id: UUID, lines: int, *, follow: bool) -> AsyncGenerator[str]:
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

    async def keep_small(self) -> None:
        """Rotate what has grown too long; runs until cancelled."""
        rotate = partial(asyncio.to_thread, _rotate_all, self._directory)
        await every(ROTATE_SECONDS, rotate, name="rotating logs")


def _rotate_all(directory: Path) -> None:
    """All that need it, by one of several control planes at a time."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _rotate_each(directory)
    except BlockingIOError:
        return
    finally:
        os.close(lock)


def _rotate_each(directory: Path) -> None:
    for path in directory.glob("*.log"):
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                _rotate(path)
        except OSError:
            log.exception("the log %s cannot be rotated", path.name)


def _rotate(path: Path) -> None:
    """Copy the end of a log and empty it: those who write to it hold descriptors, which append.

    What they write between the last look and the cut is lost.
    """
    with path.open("r+b") as file, open(_older(path), "wb", opener=_for_the_owner) as older:
        file.seek(-MAX_FILE_BYTES, os.SEEK_END)
        file.readline(MAX_LINE)  # begun before
        older.write(file.read(MAX_FILE_BYTES))
        older.write(file.read(MAX_LINE))  # written meanwhile
        file.truncate(0)


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _last_lines(path: Path, count: int) -> tuple[list[str], int]:
    lines, end = _tail(path)
    if len(lines) < count:
        lines = _tail(_older(path))[0] + lines
    return list(deque(lines, maxlen=count)), end


def _tail(path: Path) -> tuple[list[str], int]:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return [], 0
    return _lines_after(path, max(0, size - MAX_TAIL_BYTES))


def _lines_after(path: Path, offset: int) -> tuple[list[str], int]:
    """The whole lines after `offset`, and where the next ones begin; a file that shrank is read from its start.

    A line longer than a tail is cut: what is there of it counts as one.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset if path.stat().st_size >= offset else 0)
            data = file.read(MAX_TAIL_BYTES)
            start = file.tell() - len(data)
    except FileNotFoundError:
        return [], 0
    whole = data[: data.rfind(b"\n") + 1]
    if not whole and len(data) == MAX_TAIL_BYTES:
        whole = data
    return [line[:MAX_LINE].decode("utf-8", "replace") for line in whole.splitlines()], start + len(whole)
