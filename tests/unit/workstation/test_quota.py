"""The advisory quota counts entries as it counts bytes: whatever makes one needs room, whatever removes one makes room."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from workstation.errors import AlreadyExists, NotFound, QuotaExceeded
from workstation.interface import FileSystem, FileSystemLimits, QuotaKind
from workstation.local.files import LocalFileSystem

MIB = 1 << 20


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[FileSystem]:
    """Four entries where there may be four."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("file")
    async with LocalFileSystem(tmp_path, quota_entries=4) as files:
        await files.write("file", b"x")
        await files.append("directory/file", b"x")
        yield files


async def test_whatever_makes_an_entry_is_refused_and_leaves_nothing(full: FileSystem, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for call in (
        full.write("new", b""),
        full.write("directory/file", b"new"),  # its successor is there before it goes
        full.append("new", b"x"),
        full.make_directory("new"),
        full.make_directory("new/below", parents=True),
        full.copy("file", "new"),
        full.copy("link", "new"),
        full.copy("directory", "new"),
    ):
        with pytest.raises(QuotaExceeded, match="entry"):
            await call
    assert sorted(tmp_path.rglob("*")) == before
    usage = await full.usage()
    assert (usage.entries, usage.quota, usage.quota_bytes, usage.quota_entries) == (4, QuotaKind.ADVISORY, None, 4)


async def test_what_makes_no_entry_needs_no_room(full: FileSystem) -> None:
    await full.append("file", b"more")
    await full.move("file", "directory/moved")
    await full.make_directory("directory", parents=True)
    with pytest.raises(AlreadyExists):
        await full.make_directory("directory")


@pytest.mark.parametrize("path", ["file", "link", "directory"])
async def test_removing_makes_room(full: FileSystem, path: str) -> None:
    await full.remove(path, recursive=path == "directory")
    await full.make_directory("new")


async def test_a_tree_that_does_not_fit_is_not_copied_in_part(tmp_path: Path) -> None:
    async with LocalFileSystem(tmp_path, quota_entries=12) as files:
        for number in range(7):
            await files.write(f"tree/{number}", b"x", parents=True)
        with pytest.raises(QuotaExceeded):
            await files.copy("tree", "copy")
        assert (await files.usage()).entries == 8
        for number in range(4):
            await files.write(f"{number}", b"x")


async def test_what_others_make_counts(tmp_path: Path) -> None:
    async with LocalFileSystem(tmp_path, quota_entries=10) as files:
        for number in range(9):
            (tmp_path / f"{number}").touch()
        await files.write("ours", b"x")
        with pytest.raises(QuotaExceeded):
            await files.write("more", b"x")
        (tmp_path / "0").unlink()
        await files.write("more", b"x")


async def test_a_call_that_fails_returns_its_claim(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    async with LocalFileSystem(tmp_path, quota_entries=2) as files:
        for _ in range(5):
            with pytest.raises(NotFound):
                await files.copy("missing", "copy")
            with pytest.raises(AlreadyExists):
                await files.copy("directory", "directory")
            with pytest.raises(ValueError, match="broken"):
                await files.write("new", _broken())
        await files.write("new", b"x")


async def _broken() -> AsyncIterator[bytes]:
    yield b"x"
    raise ValueError("broken")


async def test_writing_and_removing_for_long_opens_no_room(tmp_path: Path) -> None:
    async with LocalFileSystem(tmp_path, quota_bytes=MIB, quota_entries=20) as files:
        await files.write("large", b"x" * 900_000)
        for _ in range(300):
            await files.write("small", b"x", durable=False)
            await files.remove("small")
            await files.make_directory("directory")
            await files.remove("directory")
        with pytest.raises(QuotaExceeded, match="200000 bytes"):
            await files.write("more", b"x" * 200_000)


async def test_a_quota_beyond_the_walks_limits_holds_all_the_same(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}").touch()
    async with LocalFileSystem(tmp_path, limits=FileSystemLimits(tree_entries=5), quota_entries=10) as files:
        with pytest.raises(QuotaExceeded):
            await files.write("new", b"x")
