"""What is written is there whole or not at all."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.conftest import OpenFiles
from tests.conformance.filework import names_in, pieces, text_of
from workstation.errors import FileTooLarge, LimitExceeded, NotFound, VersionConflict
from workstation.interface import ABSENT, Entry, FileSystem, FileSystemLimits

MIB = 1 << 20

pytestmark = pytest.mark.usefixtures("nothing_blocks")


class TestWriting:
    async def test_what_was_written_is_read(self, files: FileSystem) -> None:
        entry = await files.write("file", b"content")
        assert entry == await files.stat("file")
        assert await files.read_file("file") == (await files.read_file("file", expected_version=entry.version))
        assert await text_of(files, "file") == "content"

    @pytest.mark.parametrize("sizes", [(0,), (), (1,) * 5000, (3 * MIB + 1, 5), (5, 3 * MIB)])
    async def test_streams_of_any_pieces(self, files: FileSystem, sizes: tuple[int, ...]) -> None:
        content = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
        entry = await files.write("file", pieces(*content), durable=False)
        assert entry.size == sum(sizes)
        assert b"".join([piece async for piece in files.read("file")]) == b"".join(content)

    async def test_parents_are_made_when_asked(self, files: FileSystem) -> None:
        with pytest.raises(NotFound):
            await files.write("a/b/file", b"")
        await files.write("a/b/file", b"1", parents=True)
        await files.append("a/c/file", b"2", parents=True)
        assert await names_in(files, "a") == ["b", "c"]

    async def test_permission_bits_stay(self, files: FileSystem, planted: Path) -> None:
        await files.write("script", b"1")
        (planted / "script").chmod(0o4755)
        assert (await files.write("script", b"2")).mode == 0o755
        assert (planted / "script").stat().st_mode & 0o7777 == 0o755

    async def test_only_the_expected_version_is_replaced(self, files: FileSystem) -> None:
        first = await files.write("file", b"1", expected_version=ABSENT)
        await files.write("file", b"2", expected_version=first.version)
        for stale in (first.version, ABSENT, "nonsense"):
            with pytest.raises(VersionConflict):
                await files.write("file", b"3", expected_version=stale)
            with pytest.raises(VersionConflict):
                await files.write("file", pieces(b"3"), expected_version=stale)
        with pytest.raises(VersionConflict) as caught:
            await files.write("missing", b"3", expected_version=first.version)
        assert caught.value.actual is None
        assert await text_of(files, "file") == "2"
        assert await names_in(files) == ["file"]

    async def test_of_many_writers_with_one_version_one_wins(self, files: FileSystem) -> None:
        version: str = ABSENT
        for _ in range(10):
            writes = [files.write("file", b"%d" % n, expected_version=version, durable=False) for n in range(12)]
            results = await asyncio.gather(*writes, return_exceptions=True)
            won = [result for result in results if isinstance(result, Entry)]
            assert len(won) == 1
            assert all(isinstance(result, VersionConflict) for result in results if result not in won)
            version = won[0].version

    async def test_readers_see_the_old_or_the_new(self, files: FileSystem) -> None:
        async def write_many() -> None:
            for number in range(60):
                await files.write("file", b"ab"[number % 2 : number % 2 + 1] * MIB, durable=False)

        await files.write("file", b"a" * MIB)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(write_many())
            while not writing.done():
                data = (await files.read_file("file")).data
                assert len(data) == MIB
                assert len(set(data)) == 1

    async def test_content_that_fails_changes_nothing(self, files: FileSystem) -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield b"x" * 2 * MIB
            raise RuntimeError("the source broke")

        await files.write("file", b"old")
        with pytest.raises(RuntimeError, match="the source broke"):
            await files.write("file", failing())
        assert (await names_in(files), await text_of(files, "file")) == (["file"], "old")

    async def test_a_cancelled_write_changes_nothing(self, files: FileSystem) -> None:
        begun = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * MIB
                begun.set()

        writing = asyncio.ensure_future(files.write("file", endless()))
        await begun.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await names_in(files) == []

    async def test_a_file_beyond_the_limit_is_refused(self, open_files: OpenFiles) -> None:
        async with open_files(FileSystemLimits(file_bytes=100, chunk_bytes=60)) as files:
            await files.write("file", b"x" * 100)
            for content in (b"x" * 101, pieces(b"x" * 60, b"x" * 60)):
                with pytest.raises(FileTooLarge):
                    await files.write("other", content)
            with pytest.raises(FileTooLarge):
                await files.append("file", b"x")
            with pytest.raises(LimitExceeded) as caught:
                await files.append("file", b"x" * 61)
            assert (caught.value.limit, caught.value.allowed) == ("chunk_bytes", 60)
            assert await names_in(files) == ["file"]

    async def test_appends_of_many_all_arrive_whole(self, files: FileSystem) -> None:
        lines = [f"{number:04} {'x' * 200}\n".encode() for number in range(100)]
        await asyncio.gather(*(files.append("log", line, durable=False) for line in lines))
        written = (await files.read_file("log")).data.splitlines(keepends=True)
        assert sorted(written) == lines
