"""LocalFileSystem opens, closes and holds no descriptor; what every FileSystem does is in tests/conformance."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from tests.conformance.filework import searched
from workstation.errors import WorkstationUnavailable
from workstation.interface import (
    FileSystem,
    FileSystemLimits,
    QuotaKind,
    SearchQuery,
)
from workstation.local.files import LocalFileSystem

MIB = 1 << 20


@pytest.fixture(autouse=True)
def files_block_nothing() -> Iterator[None]:
    """No method here blocks the event loop, not even for a moment that elsewhere is forgiven."""
    detector = BlockBuster(["workstation"])
    for name in [name for name in detector.functions if name.startswith("threading.Lock.")]:
        del detector.functions[name]
    detector.activate()
    yield
    detector.deactivate()


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[FileSystem]:
    async with LocalFileSystem(tmp_path) as opened:
        yield opened


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class TestOpening:
    async def test_capabilities_say_what_works_and_its_limits(self, tmp_path: Path) -> None:
        limits = FileSystemLimits(list_entries=7)
        async with LocalFileSystem(tmp_path, limits=limits) as files:
            capabilities = await files.capabilities()
        assert (capabilities.watch, capabilities.quota, capabilities.limits) == (True, QuotaKind.NONE, limits)

    async def test_a_missing_root_is_unavailable(self, tmp_path: Path) -> None:
        with pytest.raises(WorkstationUnavailable, match="missing"):
            async with LocalFileSystem(tmp_path / "missing"):
                pass

    async def test_closed_files_refuse_and_hold_no_descriptor(self, tmp_path: Path) -> None:
        before = descriptors()
        async with LocalFileSystem(tmp_path) as files:
            await files.write("a", b"a")
        assert descriptors() == before
        with pytest.raises(WorkstationUnavailable):
            await files.stat("a")

    async def test_closing_ends_what_runs(self, tmp_path: Path) -> None:
        for number in range(300):
            (tmp_path / f"{number}").write_bytes(b"x" * 1000)
        async with LocalFileSystem(tmp_path) as files:
            running = asyncio.ensure_future(searched(files, SearchQuery(text="y")))
            await asyncio.sleep(0)
        with pytest.raises(WorkstationUnavailable):
            await running


class TestDescriptors:
    async def test_a_stream_left_early_holds_none(self, files: FileSystem, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * 3 * MIB)
        before = descriptors()
        async with aclosing(files.read("file")) as stream:
            assert len(await anext(stream)) == MIB
        assert descriptors() == before

    async def test_content_that_fails_leaves_none(self, files: FileSystem) -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield b"x" * 2 * MIB
            raise RuntimeError("the source broke")

        await files.write("file", b"old")
        before = descriptors()
        with pytest.raises(RuntimeError, match="the source broke"):
            await files.write("file", failing())
        assert descriptors() == before

    async def test_a_cancelled_write_leaves_none(self, files: FileSystem) -> None:
        begun = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * MIB
                begun.set()

        before = descriptors()
        writing = asyncio.ensure_future(files.write("file", endless()))
        await begun.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert descriptors() == before
