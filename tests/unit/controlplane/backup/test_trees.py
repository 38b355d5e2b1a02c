"""Workspaces as they go into a backup and come out of it, whatever jailed programs have planted in them."""

import io
import os
import socket
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from controlplane.backup.errors import Damaged, Unsafe
from controlplane.backup.trees import MAX_HOLES, Counted, check_tree, read_tree, write_tree

TYPES = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "workspace"
    place.mkdir()
    return place


@pytest.fixture
def made(tmp_path: Path) -> Path:
    place = tmp_path / "made"
    place.mkdir()
    return place


def written(workspace: Path) -> tuple[bytes, Counted]:
    out = io.BytesIO()
    counted = write_tree(workspace, out, workspace.parent)
    return out.getvalue(), counted


def around(workspace: Path, made: Path) -> Counted:
    archive, counted = written(workspace)
    assert check_tree(io.BytesIO(archive)) == counted.entries
    read_tree(io.BytesIO(archive), made)
    return counted


def planted(*entries: tuple[str, str, dict[str, Any]]) -> BinaryIO:
    """An archive as whoever means harm makes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, fields in entries:
            header = tarfile.TarInfo(name)
            header.type = TYPES.get(kind, kind.encode())
            for field, value in fields.items():
                setattr(header, field, value)
            archive.addfile(header, io.BytesIO(bytes(header.size)) if kind == "file" else None)
    out.seek(0)
    return out


def test_files_directories_and_links_come_back_as_they_were(workspace: Path, made: Path):
    (workspace / "reports" / "deep").mkdir(parents=True)
    (workspace / "reports" / "deep" / "q3.txt").write_bytes(b"12k\0")
    (workspace / "run.sh").write_text("true")
    (workspace / "run.sh").chmod(0o4755)
    (workspace / "notes.md").symlink_to("reports/deep/q3.txt")
    (workspace / os.fsdecode(b"not-utf-8-\xff")).write_text("x")
    (workspace / ("long-" * 40)).write_text("y")
    os.utime(workspace / "run.sh", (1_000_000_000, 1_000_000_000))
    (workspace / "reports").chmod(0o555)  # nothing can be made in it, once it is as it was
    counted = around(workspace, made)
    assert counted == Counted(entries=7)
    assert sorted(p.relative_to(made) for p in made.rglob("*")) == sorted(
        p.relative_to(workspace) for p in workspace.rglob("*")
    )
    assert (made / "notes.md").read_bytes() == b"12k\0"
    assert (made / "run.sh").stat().st_mode & 0o7777 == 0o755
    assert (made / "run.sh").stat().st_mtime == 1_000_000_000
    assert (made / "reports").stat().st_mode & 0o777 == 0o555


def test_what_jailed_programs_plant_is_neither_followed_nor_waited_for(workspace: Path, made: Path, tmp_path: Path):
    (tmp_path / "secret").write_text("the host's")
    (workspace / "link").symlink_to(tmp_path / "secret")
    (workspace / "directory").symlink_to(tmp_path)
    (workspace / "loop").symlink_to("loop")
    os.mkfifo(workspace / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(workspace / "socket"))
        with (workspace / "sparse").open("wb") as sparse:
            sparse.truncate(MAX_HOLES * 1024)
        counted = around(workspace, made)
    assert counted == Counted(entries=3, left_out=3)
    assert (made / "link").readlink() == tmp_path / "secret"
    assert (made / "directory").is_symlink()
    archive, _ = written(workspace)
    assert b"the host's" not in archive


def test_a_tree_deeper_than_paths_go_is_taken_as_far_as_they_do(workspace: Path, made: Path):
    os.chdir(workspace)
    try:
        for _ in range(30):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
    finally:
        os.chdir("/")
    counted = around(workspace, made)
    assert 19 <= counted.entries <= 21
    assert counted.left_out == 1


def test_a_file_that_grows_as_fast_as_it_is_read_comes_to_an_end(
    workspace: Path, made: Path, monkeypatch: pytest.MonkeyPatch
):
    busy, reads, read = workspace / "busy", 0, os.pread
    busy.write_bytes(b"x" * 3_000_000)

    def growing(file: int, size: int, offset: int) -> bytes:
        nonlocal reads
        reads += 1
        assert reads < 100, "it is read for ever"
        with busy.open("ab") as more:
            more.write(b"x" * 1_100_000)
        return read(file, size, offset)

    monkeypatch.setattr(os, "pread", growing)
    assert around(workspace, made) == Counted(entries=1, changed=1)
    assert (made / "busy").read_bytes().strip(b"x") == b""


@pytest.mark.parametrize(
    "entries",
    [
        [("../out", "file", {"size": 1})],
        [("/tmp/out", "file", {"size": 1})],
        [("a/../../out", "file", {"size": 1})],
        [(".", "directory", {})],
        [("link", "link", {"linkname": ".."}), ("link/out", "file", {"size": 1})],
        [("twice", "file", {"size": 1}), ("twice", "file", {"size": 1})],
        [("link", "link", {"linkname": "../out"}), ("link", "file", {"size": 1})],
        [("nowhere/file", "file", {"size": 1})],
        [("file", "file", {"size": 1}), ("file/below", "file", {"size": 1})],
        [("x" * 300, "file", {"size": 1})],
        [("device", "3", {"devmajor": 1, "devminor": 3})],
        [("pipe", "6", {})],
        [("hard", "1", {"linkname": "/etc/passwd"})],
        [("d/" * 3000 + "f", "file", {"size": 1})],
    ],
)
def test_nothing_is_made_outside_of_the_place(entries: list[tuple[str, str, dict[str, Any]]], made: Path):
    with pytest.raises(Unsafe):
        read_tree(planted(*entries), made)
    assert not (made.parent / "out").exists()
    assert not Path("/tmp/out").exists()


def test_an_archive_that_ends_too_early_is_damaged(workspace: Path, made: Path):
    (workspace / "file").write_bytes(b"x" * 5000)
    archive, _ = written(workspace)
    for length in (0, 100, 512, 3000, 5700, 6000):
        with pytest.raises(Damaged):
            check_tree(io.BytesIO(archive[:length]))
