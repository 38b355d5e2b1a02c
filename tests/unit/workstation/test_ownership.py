"""Run as root, everything that the FileSystem makes belongs to the workspace's owner; otherwise nobody's owner changes."""

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from workstation.interface import FileSystem, FileSystemLimits
from workstation.local.files import LocalFileSystem
from workstation.local.quota import AdvisoryQuota
from workstation.local.workspace import Workspace, owner_of

AS_ROOT = os.geteuid() == 0
OWNER = (2_109_999_998, 2_109_999_997) if AS_ROOT else (os.geteuid(), os.getegid())
"""When not root, all that can be shown is that nothing needs another owner, or gets one."""


@pytest.fixture
def root(short_directory: Path) -> Path:
    place = short_directory / "workspace"
    place.mkdir(mode=0o700)
    os.chown(place, *OWNER)
    return place


@pytest.fixture
async def files(root: Path) -> AsyncIterator[FileSystem]:
    async with LocalFileSystem(root) as opened:
        yield opened


def owners(root: Path) -> set[tuple[int, int]]:
    """Everybody who owns something in the workspace."""
    return {(status.st_uid, status.st_gid) for status in (path.lstat() for path in root.rglob("*"))}


def named(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


async def test_what_is_written_belongs_to_the_owner(root: Path, files: FileSystem) -> None:
    await files.write("a/b/written", b"x", parents=True)
    await files.append("c/appended", b"x", parents=True)
    await files.make_directory("d/e/f", parents=True)
    await files.make_directory("g")
    assert named(root) == {"a", "a/b", "a/b/written", "c", "c/appended", "d", "d/e", "d/e/f", "g"}
    assert owners(root) == {OWNER}


async def test_a_file_has_its_owner_before_it_has_its_name(root: Path) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"x"
        assert owners(root) == {OWNER}

    async with LocalFileSystem(root, limits=FileSystemLimits(chunk_bytes=1)) as files:
        await files.write("slow", content())


async def test_copies_belong_to_the_owner_whoever_owns_the_source(
    root: Path, files: FileSystem, short_directory: Path
) -> None:
    source, outside = root / "source", short_directory / "outside"
    outside.touch()
    (source / "below").mkdir(parents=True)
    (source / "below" / "file").write_bytes(b"x")
    (source / "link").symlink_to(outside)
    await files.copy("source", "tree")
    await files.copy("source/below/file", "file")
    await files.copy("source/link", "link")
    copies = [path for path in root.rglob("*") if not path.is_relative_to(source)]
    assert {str(path.relative_to(root)) for path in copies} == {
        *("tree", "tree/below", "tree/below/file", "tree/link", "file", "link"),
    }
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in copies} == {OWNER}
    assert (outside.stat().st_uid, outside.stat().st_gid) == (os.geteuid(), os.getegid())


async def test_a_replaced_file_keeps_its_bits_and_gets_the_owner(root: Path, files: FileSystem) -> None:
    (root / "script").write_bytes(b"old")
    (root / "script").chmod(0o640)
    await files.write("script", b"new")
    status = (root / "script").stat()
    assert (status.st_mode & 0o7777, (status.st_uid, status.st_gid)) == (0o640, OWNER)


async def test_what_is_there_keeps_its_owner(root: Path, files: FileSystem) -> None:
    (root / "mine").write_bytes(b"x")
    (root / "directory").mkdir()
    await files.append("mine", b"y")
    await files.make_directory("directory/below", parents=True)
    await files.move("mine", "moved")
    ours = (os.geteuid(), os.getegid())
    for name in ("moved", "directory"):
        assert ((root / name).stat().st_uid, (root / name).stat().st_gid) == ours


async def test_the_owners_programs_can_change_what_was_written(root: Path, files: FileSystem) -> None:
    await files.write("reports/draft", b"draft", parents=True)
    await files.copy("reports", "copy")
    user = {"user": OWNER[0], "group": OWNER[1], "extra_groups": []} if AS_ROOT else {}
    script = "echo more >> reports/draft && rm -r copy && mv reports done"
    subprocess.run(["/bin/sh", "-c", script], cwd=root, check=True, **user)  # type: ignore[call-overload]
    assert (await files.read_file("done/draft")).data == b"draftmore\n"


async def test_in_our_own_directory_nothing_is_given_away(tmp_path: Path) -> None:
    async with LocalFileSystem(tmp_path) as files:
        await files.write("a/b", b"x", parents=True)
        await files.copy("a", "c")
    assert owners(tmp_path) == {(os.geteuid(), os.getegid())}


def test_a_file_that_may_be_outside_as_well_keeps_its_owner(root: Path, short_directory: Path) -> None:
    outside = short_directory / "outside"
    outside.write_bytes(b"x")
    (root / "name").hardlink_to(outside)
    (root / "alone").write_bytes(b"x")
    descriptor = os.open(root, os.O_PATH)
    try:
        workspace = Workspace(
            descriptor, FileSystemLimits(), AdvisoryQuota(None, lambda _: (0, 0)), owner_of(descriptor)
        )
        workspace.give_named(descriptor, b"name")
        workspace.give_named(descriptor, b"alone")
    finally:
        os.close(descriptor)
    assert (outside.stat().st_uid, outside.stat().st_gid) == (os.geteuid(), os.getegid())
    assert ((root / "alone").stat().st_uid, (root / "alone").stat().st_gid) == OWNER
