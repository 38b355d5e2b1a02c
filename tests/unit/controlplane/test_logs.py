"""The logs: rotated while they are written to, and read to their end whatever is in them."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

from controlplane import logs
from controlplane.logs import MAX_LINE, MAX_TAIL_BYTES, Logs
from empla.store.ids import new_id


@contextmanager
def writer(path: Path) -> Iterator[int]:
    """A descriptor as an employee holds it for as long as it lives."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def lines_of(tail: AsyncIterator[str], count: int) -> list[str]:
    async with asyncio.timeout(10):
        return [await anext(tail) for _ in range(count)]


async def rotated(directory: Path, path: Path) -> None:
    keeping = asyncio.create_task(Logs(directory).keep_small())
    async with asyncio.timeout(10):
        while path.stat().st_size:
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_logs_are_kept_small_although_a_round_fails(short_directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "ROTATE_SECONDS", 0.01)
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 10)
    directory = short_directory / "logs"
    keeping = asyncio.create_task(Logs(directory).keep_small())
    try:
        await asyncio.sleep(0.05)  # there is no such directory
        directory.mkdir()
        path = directory / "a.log"
        path.write_bytes(bytes(11))
        async with asyncio.timeout(10):
            while path.stat().st_size:
                await asyncio.sleep(0.01)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_a_log_that_is_written_to_stays_small_and_is_read_over_its_cut(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 10_000)
    employee_id = new_id()
    path, older = short_directory / f"{employee_id}.log", short_directory / f"{employee_id}.log.1"
    with writer(path) as descriptor:
        for number in range(3_000):
            os.write(descriptor, b"line %d\n" % number)
        await rotated(short_directory, path)
        assert 9_900 < older.stat().st_size <= 10_000
        assert older.stat().st_mode & 0o777 == 0o600
        os.write(descriptor, b"line 3000\n")
        assert path.read_bytes() == b"line 3000\n"
    last = Logs(short_directory).tail(employee_id, 3, follow=False)
    assert [line async for line in last] == ["line 2998", "line 2999", "line 3000"]


async def test_whoever_follows_goes_on_after_a_rotation(short_directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 1_000)
    employee_id = new_id()
    path = short_directory / f"{employee_id}.log"
    with writer(path) as descriptor:
        os.write(descriptor, b"x" * 2_000 + b"\nbefore\n")
        async with aclosing(Logs(short_directory).tail(employee_id, 1, follow=True)) as tail:
            assert await lines_of(tail, 1) == ["before"]
            await rotated(short_directory, path)
            os.write(descriptor, b"after\n")
            assert await lines_of(tail, 1) == ["after"]


def test_a_small_log_is_left_alone(short_directory: Path):
    path = short_directory / "forkserver.log"
    path.write_text("few words\n")
    logs._rotate_all(short_directory)
    assert path.read_text() == "few words\n"
    assert list(short_directory.iterdir()) == [path]


async def test_a_line_longer_than_a_tail_is_cut_and_passed(short_directory: Path):
    employee_id = new_id()
    path = short_directory / f"{employee_id}.log"
    path.write_bytes(b"first\n")
    async with aclosing(Logs(short_directory).tail(employee_id, 1, follow=True)) as tail:
        assert await lines_of(tail, 1) == ["first"]
        with writer(path) as descriptor:
            os.write(descriptor, b"x" * (MAX_TAIL_BYTES + 10) + b"\nlast\n")
        assert await lines_of(tail, 3) == ["x" * MAX_LINE, "x" * 10, "last"]
