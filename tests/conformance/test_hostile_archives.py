"""Archives that somebody made to do harm end in typed errors, within bounds, and leave nothing behind."""

import gzip
import io
import lzma
import os
import resource
import tarfile
import zipfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.adversaries import swapping
from tests.conformance.conftest import OpenFiles
from tests.conformance.filework import names_in
from tests.conformance.test_archives import tar_of, zip_of
from workstation.errors import ArchiveInvalid, FileTooLarge, LimitExceeded, WorkstationError
from workstation.interface import FileSystem, FileSystemLimits

pytestmark = pytest.mark.usefixtures("nothing_blocks")

MIB = 1 << 20
END = bytes(1024)


def member(
    name: str,
    kind: bytes = tarfile.REGTYPE,
    target: str = "",
    content: bytes = b"",
    headers: dict[str, str] | None = None,
) -> bytes:
    """One member of a tar, with extended headers as they are given."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.pax_headers = kind, target, len(content), headers or {}
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % 512)


def zeros_gzipped(count: int, before: bytes = b"") -> bytes:
    """A gzip member of many zeros, made without having them."""
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(before)]
    parts += [packer.compress(bytes(MIB)) for _ in range(count // MIB)]
    return b"".join([*parts, packer.flush()])


async def refused(files: FileSystem, archive: bytes, error: type[WorkstationError] = ArchiveInvalid) -> str:
    """The message of the error that an archive ends in, after which nothing is there."""
    before = await names_in(files)
    with pytest.raises(error) as caught:
        await files.import_archive("new", archive)
    assert await names_in(files) == before
    return str(caught.value)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


class TestNames:
    @pytest.mark.parametrize("name", ["/absolute", "../above", "a/../../above", "a/..", ".."])
    async def test_paths_that_lead_out(self, files: FileSystem, outside: Path, name: str) -> None:
        assert name in await refused(files, member("fine") + member(name) + END)
        assert name in await refused(files, zip_of(**{"fine": b"", name: b""}))

    async def test_a_nul(self, files: FileSystem) -> None:
        assert "\\x00" in await refused(files, member("a", headers={"path": "nul\0name"}) + END)

    async def test_a_name_longer_than_any(self, files: FileSystem) -> None:
        await refused(files, member("x" * 256) + END, WorkstationError)
        await refused(files, member("x/" * 3000) + END, LimitExceeded)

    @pytest.mark.parametrize("target", ["../outside/file", "/etc/passwd", "missing", "link", "directory", ""])
    async def test_hard_links_to_what_is_no_file_of_the_archive(
        self, files: FileSystem, outside: Path, target: str
    ) -> None:
        before = member("directory", tarfile.DIRTYPE) + member("link", tarfile.SYMTYPE, "fine") + member("fine")
        assert "evil" in await refused(files, before + member("evil", tarfile.LNKTYPE, target) + END)

    @pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
    async def test_nothing_goes_through_a_link(self, files: FileSystem, outside: Path, kind: bytes) -> None:
        await files.make_directory("inside")
        link = member("link", tarfile.SYMTYPE, "../inside") + member("fine")
        assert "link/x" in await refused(files, link + member("link/x", kind, "fine") + END)
        assert await names_in(files, "inside") == []

    async def test_members_that_contradict_each_other(self, files: FileSystem) -> None:
        await refused(files, member("a") + member("a/b") + END)
        await refused(files, member("a/b") + member("a") + END)
        await refused(files, member("a") + member("a", tarfile.DIRTYPE) + END)


class TestDamage:
    @pytest.mark.parametrize("archive", [b"", b"x", b"\x1f\x8b", b"PK\3\4", bytes(511), os.urandom(5000)])
    async def test_no_archive(self, files: FileSystem, archive: bytes) -> None:
        await refused(files, archive)

    async def test_another_format(self, files: FileSystem) -> None:
        await refused(files, lzma.compress(tar_of(a=b"a")))

    @pytest.mark.parametrize("packed", [tar_of(a=b"a" * 2000, b=b"b"), zip_of(a=os.urandom(2000), b=b"b")])
    async def test_cut_short_anywhere(self, files: FileSystem, packed: bytes) -> None:
        whole = packed.rstrip(b"\0")  # more than one block of zeros ends a tar
        for end in range(0, len(whole), 97):
            await refused(files, whole[:end])
            await refused(files, gzip.compress(packed)[: end // 97])

    async def test_a_damaged_header_is_not_the_end(self, files: FileSystem) -> None:
        archive = bytearray(tar_of(a=b"a", b=b"b"))
        archive[1024 + 20] ^= 1
        await refused(files, bytes(archive))

    async def test_checksums_are_looked_at(self, files: FileSystem) -> None:
        archive = bytearray(gzip.compress(tar_of(a=b"a")))
        archive[-6] ^= 1
        await refused(files, bytes(archive))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as zipped:
            zipped.writestr("a", b"content")
        await refused(files, buffer.getvalue().replace(b"content", b"Content"))

    @pytest.mark.parametrize("size", ["-1", "-512", str(1 << 70), "x", "9" * 5000])
    async def test_sizes_that_make_no_sense(self, files: FileSystem, size: str) -> None:
        await refused(files, member("a", headers={"size": size}) + END, WorkstationError)

    async def test_an_encrypted_zip(self, files: FileSystem) -> None:
        archive = bytearray(zip_of(a=b"a"))
        archive[archive.index(b"PK\1\2") + 8] |= 1
        assert "encrypted" in await refused(files, bytes(archive))


class TestBombs:
    async def test_a_gzip_bomb(self, open_files: OpenFiles) -> None:
        large = tarfile.TarInfo("a")
        large.size = 256 * MIB
        bomb = zeros_gzipped(256 * MIB, large.tobuf(tarfile.PAX_FORMAT))
        async with open_files(FileSystemLimits(archive_bytes=32 * MIB)) as files:
            before = peak()
            assert "archive_bytes" in (await self._limit(files, bomb)).limit
            assert "archive_bytes" in (await self._limit(files, zeros_gzipped(256 * MIB, tar_of(a=b"")))).limit
            assert peak() - before < 32 * MIB

    async def test_a_zip_bomb(self, open_files: OpenFiles) -> None:
        bomb = zip_of(**{f"{number}": bytes(8 * MIB) for number in range(5)})
        async with open_files(FileSystemLimits(archive_bytes=32 * MIB)) as files:
            assert (await self._limit(files, bomb)).limit == "archive_bytes"

    async def test_an_endless_stream(self, open_files: OpenFiles) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield bytes(MIB)

        async with open_files(FileSystemLimits(archive_bytes=8 * MIB)) as files:
            with pytest.raises(LimitExceeded):
                await files.import_archive("new", endless())
            with pytest.raises(LimitExceeded):
                await files.import_archive("new", bytes(8 * MIB + 1))
            assert await names_in(files) == []

    async def test_unpacking_has_an_end(self, open_files: OpenFiles) -> None:
        async with open_files(FileSystemLimits(tree_seconds=0.0)) as files:
            for archive in (tar_of(a=b"a"), gzip.compress(tar_of(a=b"a")), zip_of(a=b"a")):
                assert (await self._limit(files, archive)).limit == "tree_seconds"

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
    async def test_headers_of_any_size_and_number(self, files: FileSystem, kind: bytes) -> None:
        header = tarfile.TarInfo("header")
        header.type, header.size = kind, 256 * MIB
        before = peak()
        await refused(files, zeros_gzipped(256 * MIB, header.tobuf(tarfile.GNU_FORMAT)))
        header.size = 0
        await refused(files, header.tobuf(tarfile.GNU_FORMAT) * 5000 + member("a") + END)
        assert peak() - before < 32 * MIB

    async def test_entries_without_number(self, open_files: OpenFiles) -> None:
        async with open_files(FileSystemLimits(tree_entries=100, tree_depth=50)) as files:
            many = b"".join(member(f"{number}") for number in range(101))
            assert (await self._limit(files, many + END)).limit == "tree_entries"
            nowhere = member(".", tarfile.DIRTYPE) * 101
            assert (await self._limit(files, nowhere + END)).limit == "tree_entries"
            implied = b"".join(member("/".join([f"{number}", *"d" * 40])) for number in range(10))
            assert (await self._limit(files, implied + END)).limit == "tree_entries"
            deep = member("/".join("d" * 51))
            assert (await self._limit(files, deep + END)).limit == "tree_depth"

    async def test_files_and_holes_of_any_size(self, files: FileSystem) -> None:
        sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a"}
        for size in (1 << 33, 1 << 60):
            holes = {**sparse, "GNU.sparse.realsize": str(size)}
            await refused(files, member("a", content=b"0\n".ljust(512, b"\0"), headers=holes) + END, FileTooLarge)
        holes = {**sparse, "GNU.sparse.realsize": "4096"}
        for places in ("2\n100\n10\n50\n10\n", "1\n4090\n10\n", "1\n-10\n5\n", "1\n0\n4000\n"):
            content = places.encode().ljust(512, b"\0") + bytes(512)
            await refused(files, member("a", content=content, headers=holes) + END)

    async def _limit(self, files: FileSystem, archive: bytes) -> LimitExceeded:
        with pytest.raises(LimitExceeded) as caught:
            await files.import_archive("new", archive)
        assert await names_in(files) == []
        return caught.value


class TestPlanted:
    async def test_holes_stay_holes(self, files: FileSystem) -> None:
        size = 64 * MIB
        headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(size)}
        content = f"1\n{size - 3}\n3\n".encode().ljust(512, b"\0") + b"end"
        await files.import_archive("new", member("a", content=content, headers=headers) + END)
        entry = await files.stat("new/a")
        assert (entry.size, entry.allocated < MIB) == (size, True)
        assert (await files.read_file("new/a", offset=size - 3)).data == b"end"

    async def test_a_target_swapped_for_a_link_all_the_time(
        self, files: FileSystem, planted: Path, outside: Path
    ) -> None:
        (planted / "directory").mkdir()
        (planted / "link").symlink_to(outside)
        archive = tar_of(**{f"{number}/file": b"" for number in range(20)})
        with swapping(planted / "directory", planted / "link"):
            for number in range(30):
                try:
                    await files.import_archive(f"directory/{number}", archive)
                    await files.import_archive("directory", archive)
                except WorkstationError:
                    continue
