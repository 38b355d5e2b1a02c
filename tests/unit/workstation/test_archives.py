"""A local archive holds no descriptor longer than it must, and damage of any kind ends in a typed error."""

import asyncio
import gzip
import io
import os
import random
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conformance.filework import pieces
from workstation.errors import WorkstationError
from workstation.local.files import LocalFileSystem

MIB = 1 << 20


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def packed_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(4):
            info = tarfile.TarInfo(f"{'name' * 40}/\xe9{number}")
            info.size, info.mtime, info.pax_headers = 700, 1.5, {"comment": "x" * 40}
            tar.addfile(info, io.BytesIO(bytes(700)))
        sparse = tarfile.TarInfo("sparse")
        sparse.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": "9000",
        }
        content = b"2\n0\n3\n8000\n1000\n".ljust(512, b"\0") + bytes(1003)
        sparse.size = len(content)
        tar.addfile(sparse, io.BytesIO(content))
    return buffer.getvalue()


def packed_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"directory/{number}", os.urandom(300) * 3)
    return buffer.getvalue()


async def test_an_export_left_early_holds_none(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "file").write_bytes(bytes(3 * MIB))
    async with LocalFileSystem(tmp_path) as files:
        before = descriptors()
        stream = files.export_archive("directory")
        await anext(stream)
        assert descriptors() > before
        await stream.aclose()
        assert descriptors() == before


async def test_an_import_holds_none(tmp_path: Path) -> None:
    async with LocalFileSystem(tmp_path) as files:
        before = descriptors()
        await files.import_archive("good", pieces(packed_tar()))
        with pytest.raises(WorkstationError):
            await files.import_archive("bad", pieces(packed_tar()[:2000]))
        assert descriptors() == before


async def test_a_cancelled_import_leaves_nothing(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MIB)
            begun.set()

    many = b"".join(tarfile.TarInfo(f"{number}").tobuf() for number in range(20_000)) + bytes(1024)
    async with LocalFileSystem(tmp_path) as files:
        before = descriptors()
        for content, moment in ((endless(), begun.wait()), (many, asyncio.sleep(0.05))):
            running = asyncio.ensure_future(files.import_archive("new", content))
            await moment
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert (os.listdir(tmp_path), descriptors()) == ([], before)


@pytest.mark.parametrize("pack", [packed_tar, lambda: gzip.compress(packed_tar()), packed_zip])
async def test_any_damage_ends_in_a_typed_error(tmp_path: Path, pack: Callable[[], bytes]) -> None:
    archive, chance = pack(), random.Random(1)
    async with LocalFileSystem(tmp_path) as files:
        await files.import_archive("good", archive)
        for number in range(300):
            damaged = bytearray(archive)
            for _ in range(chance.choice((1, 1, 4, 50))):
                damaged[chance.randrange(len(damaged))] = chance.choice((0, 1, 48, 57, 128, 255, chance.randrange(256)))
            with suppress(WorkstationError):
                await files.import_archive(f"{number}", bytes(damaged))
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("kind", "12345678gxKLSDMVN")
async def test_damage_behind_a_good_checksum_does_too(tmp_path: Path, kind: str) -> None:
    chance = random.Random(kind)
    info = tarfile.TarInfo("name")
    info.size = 600
    async with LocalFileSystem(tmp_path) as files:
        for number in range(100):
            header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
            header[156] = ord(kind)
            for _ in range(chance.randrange(6)):
                header[chance.choice((*range(100, 148), *range(386, 500)))] = chance.randrange(256)
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
            content = chance.randbytes(600).ljust(1024, b"\0")
            with suppress(WorkstationError):
                await files.import_archive(f"{number}", bytes(header) + content + packed_tar())
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_what_is_unpacked_belongs_to_the_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    async with LocalFileSystem(tmp_path) as files:
        await files.import_archive("tar", packed_tar())
        await files.import_archive(".", packed_zip())
    made = list(tmp_path.rglob("*"))
    assert len(made) == 13
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in made} == {(65534, 65534)}
