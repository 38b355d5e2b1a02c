"""Files leave as tar and come back from tar and zip, whole or not at all."""

import gzip
import io
import os
import socket
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.adversaries import swapping
from tests.conformance.conftest import OpenFiles
from tests.conformance.filework import names_in, pieces, text_of
from workstation.errors import (
    AlreadyExists,
    FileBusy,
    FileTooLarge,
    LimitExceeded,
    NotFound,
    PathOutsideWorkspace,
    QuotaExceeded,
    WorkstationError,
    WrongKind,
)
from workstation.interface import EntryKind, FileSystem, FileSystemLimits, ImportedArchive

pytestmark = pytest.mark.usefixtures("nothing_blocks")

MIB = 1 << 20


async def exported(files: FileSystem, path: str = ".") -> bytes:
    return b"".join([piece async for piece in files.export_archive(path)])


def opened(archive: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(archive), mode="r:")


def tar_of(**contents: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(**contents: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tree(root: Path) -> dict[str, object]:
    """All below a directory: the bytes of files, the targets of links."""
    return {
        os.fsdecode(path.relative_to(root)): (
            str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        )
        for path in root.rglob("*")
    }


class TestExport:
    async def test_a_directory(self, files: FileSystem, planted: Path) -> None:
        await files.write("top/below/file", b"content", parents=True)
        (planted / "top" / "below" / "file").chmod(0o751)
        os.utime(planted / "top" / "below" / "file", (1_000_000_000, 1_000_000_000))
        (planted / "top" / "link").symlink_to("below/file")
        os.link(planted / "top" / "below" / "file", planted / "top" / "second")
        (planted / "top" / "empty").mkdir()
        with opened(await exported(files, "top")) as tar:
            members = {member.name: member for member in tar}
            assert set(members) == {"below", "below/file", "link", "second", "empty"}
            assert members["below"].isdir()
            assert (members["link"].issym(), members["link"].linkname) == (True, "below/file")
            file = members["below/file"]
            assert (file.mode, file.mtime, file.uid, file.gid, file.uname) == (0o751, 1_000_000_000, 0, 0, "")
            for name in ("below/file", "second"):
                content = tar.extractfile(name)
                assert content is not None
                assert content.read() == b"content"

    async def test_a_file_and_nothing(self, files: FileSystem) -> None:
        await files.write("directory/file", b"content", parents=True)
        with opened(await exported(files, "directory/file")) as tar:
            assert tar.getnames() == ["file"]
        await files.make_directory("empty")
        with opened(await exported(files, "empty")) as tar:
            assert tar.getnames() == []

    async def test_it_comes_in_pieces_of_the_declared_size(self, open_files: OpenFiles) -> None:
        async with open_files(FileSystemLimits(chunk_bytes=1000)) as files:
            for number in range(10):
                await files.append(f"{number}", b"x" * 999)
            parts = [piece async for piece in files.export_archive()]
        assert {len(piece) for piece in parts[:-1]} == {1000}
        with opened(b"".join(parts)) as tar:
            assert {member.size for member in tar} == {999}

    async def test_what_holds_nothing_is_left_out(self, files: FileSystem, planted: Path) -> None:
        os.mkfifo(planted / "fifo")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(planted / "socket"))
            await files.write("file", b"")
            with opened(await exported(files)) as tar:
                assert tar.getnames() == ["file"]
        with pytest.raises(WrongKind):
            await exported(files, "fifo")
        with pytest.raises(NotFound):
            await exported(files, "missing")
        with pytest.raises(PathOutsideWorkspace):
            await exported(files, "..")

    async def test_what_is_being_written_is_left_out(self, files: FileSystem) -> None:
        seen = []

        async def content() -> AsyncIterator[bytes]:
            yield b"x" * 2 * MIB
            seen.append(await exported(files))
            yield b"x"

        await files.write("file", content())
        with opened(seen[0]) as tar:
            assert tar.getnames() == []

    async def test_a_growing_file_is_as_long_as_it_was(self, files: FileSystem, planted: Path) -> None:
        await files.write("file", b"x" * 3 * MIB)
        parts = []
        async for piece in files.export_archive():
            parts.append(piece)
            if len(parts) == 1:
                with (planted / "file").open("ab") as file:
                    file.write(b"y" * 3 * MIB)
        with opened(b"".join(parts)) as tar:
            content = tar.extractfile("file")
            assert content is not None
            assert content.read() == b"x" * 3 * MIB

    async def test_a_shrinking_file_ends_it(self, files: FileSystem, planted: Path) -> None:
        (planted / "file").touch()
        os.truncate(planted / "file", 256 * MIB)  # more than may be on its way already
        stream = files.export_archive()
        await anext(stream)
        os.truncate(planted / "file", MIB)
        with pytest.raises(FileBusy):
            assert [piece async for piece in stream]

    async def test_limits(self, open_files: OpenFiles, planted: Path) -> None:
        (planted / "a" / "b" / "c").mkdir(parents=True)
        (planted / "large").write_bytes(bytes(10_000))
        for limits, error in (
            (FileSystemLimits(file_bytes=9_999), FileTooLarge),
            (FileSystemLimits(archive_bytes=11_000), LimitExceeded),
            (FileSystemLimits(tree_entries=3), LimitExceeded),
            (FileSystemLimits(tree_depth=2), LimitExceeded),
        ):
            async with open_files(limits) as files:
                with pytest.raises(error):
                    await exported(files)

    async def test_holes_are_bounded_as_well(self, open_files: OpenFiles, planted: Path) -> None:
        with (planted / "sparse").open("wb") as file:
            file.truncate(1 << 40)
        async with open_files() as files:
            with pytest.raises(FileTooLarge):
                await exported(files)

    async def test_links_are_never_followed(self, files: FileSystem, planted: Path, outside: Path) -> None:
        (planted / "directory").mkdir()
        (planted / "directory" / "file").touch()
        (planted / "link").symlink_to(outside)
        with swapping(planted / "directory", planted / "link"):
            for _ in range(100):
                try:
                    assert b"secret" not in await exported(files)
                except WorkstationError:
                    continue
        with pytest.raises(PathOutsideWorkspace):
            await exported(files, "link" if (planted / "link").is_symlink() else "directory")


class TestImport:
    async def test_what_was_exported_comes_back(self, files: FileSystem, planted: Path) -> None:
        await files.write("old/below/file", b"content" * 100_000, parents=True)
        for name in (b"line\nbreak", b"not-utf8-\xff", "\u202etfel".encode(), b"x" * 255, b"back\\slash", b"-rf"):
            with open(os.path.join(os.fsencode(planted), b"old", name), "wb") as file:
                file.write(name)
        (planted / "old" / "link").symlink_to("../old/below/file")
        (planted / "old" / "below" / "file").chmod(0o640)
        os.utime(planted / "old" / "below" / "file", (1_000_000_000, 1_000_000_000))
        result = await files.import_archive("new", await exported(files, "old"))
        assert result == ImportedArchive(entries=9, bytes=sum(map(len, map(_bytes, tree(planted / "old").values()))))
        assert tree(planted / "new") == tree(planted / "old")
        entry = await files.stat("new/below/file")
        assert (entry.mode, entry.modified_ns) == (0o640, 1_000_000_000 * 10**9)

    @pytest.mark.parametrize("pack", [tar_of, lambda **files: gzip.compress(tar_of(**files)), zip_of])
    async def test_formats_whole_and_in_pieces(self, files: FileSystem, pack: object) -> None:
        assert callable(pack)
        archive = pack(file=b"content", other=bytes(3 * MIB))
        expected = ImportedArchive(entries=2, bytes=7 + 3 * MIB)
        assert await files.import_archive("whole", archive) == expected
        parts = pieces(*(archive[start : start + 1000] for start in range(0, len(archive), 1000)))
        assert await files.import_archive("pieces", parts) == expected
        for place in ("whole", "pieces"):
            assert await text_of(files, f"{place}/file") == "content"
            assert (await files.stat(f"{place}/other")).size == 3 * MIB
        assert await names_in(files) == ["pieces", "whole"]

    async def test_into_a_directory_that_exists(self, files: FileSystem) -> None:
        await files.write("directory/old", b"old", parents=True)
        await files.import_archive("directory", tar_of(new=b"new"))
        await files.import_archive(".", tar_of(**{"top/file": b"file", "other": b""}))
        assert await names_in(files, "directory") == ["new", "old"]
        assert await names_in(files) == ["directory", "other", "top"]

    async def test_nothing_is_replaced(self, files: FileSystem) -> None:
        await files.write("directory/b", b"old", parents=True)
        with pytest.raises(AlreadyExists) as caught:
            await files.import_archive("directory", tar_of(a=b"new", b=b"new"))
        assert caught.value.path == "directory/b"
        assert await names_in(files, "directory") == ["b"]
        assert await text_of(files, "directory/b") == "old"

    async def test_it_needs_a_directory_to_be_in(self, files: FileSystem) -> None:
        await files.write("file", b"")
        for path, error in (
            ("missing/new", NotFound),
            ("file", WrongKind),
            ("file/new", WrongKind),
            ("../new", PathOutsideWorkspace),
        ):
            with pytest.raises(error):
                await files.import_archive(path, tar_of(a=b"a"))
        assert await names_in(files) == ["file"]

    async def test_directories_need_no_mention(self, files: FileSystem) -> None:
        result = await files.import_archive("new", tar_of(**{"./a/b//c": b"1", "a/d": b"2"}))
        assert result.entries == 4
        assert await text_of(files, "new/a/b/c") == "1"

    async def test_of_two_with_one_name_the_last_counts(self, files: FileSystem) -> None:
        first, last = tar_of(file=b"first"), tar_of(file=b"last")
        assert (await files.import_archive("new", first[:1024] + last)).entries == 1
        assert await text_of(files, "new/file") == "last"

    async def test_content_that_breaks_off_changes_nothing(self, files: FileSystem) -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield tar_of(file=b"content")
            raise RuntimeError("the source broke")

        with pytest.raises(RuntimeError, match="the source broke"):
            await files.import_archive("new", failing())
        assert await names_in(files) == []

    async def test_what_was_exported_while_it_is_read(self, files: FileSystem) -> None:
        for number in range(8):
            await files.write(f"old/{number}", bytes(MIB), parents=True)
        assert (await files.import_archive("new", files.export_archive("old"))).bytes == 8 * MIB

    async def test_the_quota_holds(self, open_files: OpenFiles) -> None:
        archive = gzip.compress(tar_of(file=bytes(3 * MIB)))
        async with open_files(quota_bytes=2 * MIB) as files:
            for content in (archive, pieces(archive)):
                with pytest.raises(QuotaExceeded):
                    await files.import_archive("new", content)
            assert await names_in(files) == []
            await files.write("file", bytes(MIB))

    async def test_links_and_kinds_of_tar(self, files: FileSystem, planted: Path) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, kind, target in (
                ("directory", tarfile.DIRTYPE, ""),
                ("directory/file", tarfile.REGTYPE, ""),
                ("directory/symlink", tarfile.SYMTYPE, "../other"),
                ("hard", tarfile.LNKTYPE, "directory/file"),
                ("fifo", tarfile.FIFOTYPE, ""),
                ("device", tarfile.CHRTYPE, ""),
                ("absolute", tarfile.SYMTYPE, "/etc/passwd"),
                ("outside", tarfile.SYMTYPE, "directory/../../../file"),
            ):
                member = tarfile.TarInfo(name)
                member.type, member.linkname, member.mode = kind, target, 0o6755
                tar.addfile(member)
        assert await files.import_archive("new", buffer.getvalue()) == ImportedArchive(entries=4, bytes=0, left_out=4)
        assert set(tree(planted / "new")) == {"directory", "directory/file", "directory/symlink", "hard"}
        assert (planted / "new" / "directory" / "file").stat().st_mode & 0o7777 == 0o755
        assert (await files.stat("new/hard")).links == 2
        assert (await files.stat("new/directory/symlink")).kind is EntryKind.SYMLINK


def _bytes(content: object) -> bytes:
    return content if isinstance(content, bytes) else b""
