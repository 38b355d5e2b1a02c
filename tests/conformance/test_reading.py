"""Files are described, listed and read as the contract says."""

import os
from pathlib import Path

import pytest

from tests.conformance.conftest import OpenFiles
from tests.conformance.filework import names_in, text_of
from workstation.errors import FileTooLarge, InvalidArgument, NotFound, VersionConflict, WrongKind
from workstation.interface import EntryKind, FileSystem, FileSystemLimits

MIB = 1 << 20

pytestmark = pytest.mark.usefixtures("nothing_blocks")


class TestReading:
    async def test_stat_describes_each_kind(self, files: FileSystem, planted: Path) -> None:
        (planted / "file").write_bytes(b"12345")
        (planted / "file").chmod(0o640)
        (planted / "directory").mkdir()
        (planted / "link").symlink_to("nowhere")
        os.mkfifo(planted / "fifo")
        file = await files.stat("file")
        assert (file.path, file.kind, file.size, file.mode, file.links) == ("file", EntryKind.FILE, 5, 0o640, 1)
        assert file.modified_ns == (planted / "file").stat().st_mtime_ns
        assert (await files.stat("directory")).kind is EntryKind.DIRECTORY
        link = await files.stat("link")
        assert (link.kind, link.target) == (EntryKind.SYMLINK, "nowhere")
        assert (await files.stat("fifo")).kind is EntryKind.OTHER
        assert (await files.stat(".")).path == "."

    async def test_what_is_missing_is_not_found(self, files: FileSystem) -> None:
        for call in (files.stat("no"), files.read_file("no/no"), files.list("no"), files.remove("no")):
            with pytest.raises(NotFound) as caught:
                await call
            assert caught.value.path.startswith("no")

    async def test_ranges(self, files: FileSystem, planted: Path) -> None:
        (planted / "file").write_bytes(b"0123456789")
        middle = await files.read_file("file", offset=3, length=4)
        assert (middle.data, middle.offset, middle.ends) == (b"3456", 3, False)
        end = await files.read_file("file", offset=8, length=100)
        assert (end.data, end.ends) == (b"89", True)
        assert (await files.read_file("file", offset=99)).data == b""
        assert b"".join([piece async for piece in files.read("file", offset=1, length=2)]) == b"12"
        for offset, length in ((-1, None), (0, -1)):
            with pytest.raises(InvalidArgument):
                await files.read_file("file", offset=offset, length=length)

    async def test_more_than_the_limit_is_refused_but_streams(self, open_files: OpenFiles, planted: Path) -> None:
        limits = FileSystemLimits(read_bytes=1000, chunk_bytes=300)
        (planted / "file").write_bytes(bytes(range(256)) * 5)
        async with open_files(limits) as files:
            with pytest.raises(FileTooLarge) as caught:
                await files.read_file("file")
            assert caught.value.allowed == 1000
            assert len((await files.read_file("file", length=1000)).data) == 1000
            sizes = [len(piece) async for piece in files.read("file")]
        assert (sum(sizes), max(sizes)) == (1280, 300)

    async def test_a_version_that_is_not_the_expected_one(self, files: FileSystem) -> None:
        first = await files.write("file", b"first")
        assert (await files.read_file("file", expected_version=first.version)).data == b"first"
        second = await files.write("file", b"again")
        with pytest.raises(VersionConflict) as caught:
            await files.read_file("file", expected_version=first.version)
        assert (caught.value.expected, caught.value.actual) == (first.version, second.version)

    async def test_a_file_changed_while_it_streams_is_noticed(self, files: FileSystem, planted: Path) -> None:
        version = (await files.write("file", b"x" * 3 * MIB)).version
        stream = files.read("file", expected_version=version)
        for _ in range(3):
            await anext(stream)
        os.utime(planted / "file", ns=(1, 1))
        with pytest.raises(VersionConflict):
            await anext(stream)

    async def test_listing_in_pages(self, files: FileSystem, planted: Path) -> None:
        for name in "edcba":
            (planted / name).touch()
        first = await files.list(limit=2)
        assert ([entry.name for entry in first.entries], first.truncated) == (["a", "b"], True)
        rest = await files.list(after="b", limit=3)
        assert ([entry.name for entry in rest.entries], rest.truncated) == (["c", "d", "e"], False)
        for limit in (0, 10_001):
            with pytest.raises(InvalidArgument):
                await files.list(limit=limit)
        with pytest.raises(WrongKind):
            await files.list("a")

    async def test_links_inside_are_read_through(self, files: FileSystem, planted: Path) -> None:
        (planted / "directory").mkdir()
        (planted / "directory" / "file").write_text("found")
        (planted / "link").symlink_to("directory/file")
        (planted / "below").symlink_to("directory")
        assert await text_of(files, "link") == "found"
        assert await text_of(files, "below/file") == "found"
        assert await names_in(files, "below") == ["file"]
