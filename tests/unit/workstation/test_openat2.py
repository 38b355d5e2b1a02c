"""Paths beneath a root: what the kernel lets through, and what happens when it cannot be asked."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.adversaries import swapping
from workstation.errors import OpenAt2Missing, PathOutsideWorkspace
from workstation.local.openat2 import check_openat2, open_beneath, rename_new

SWAPS = 4000


@pytest.fixture
def jail_root(tmp_path: Path) -> Iterator[int]:
    """A root with `inside/file`, beside an `outside/secret` that nothing may reach."""
    (tmp_path / "root" / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "inside" / "file").write_text("inside")
    (tmp_path / "outside" / "secret").write_text("outside")
    (tmp_path / "outside" / "file").write_text("outside")
    fd = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def content(root: int, path: bytes, **options: bool) -> bytes:
    fd = open_beneath(root, path, os.O_RDONLY, **options)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


@pytest.mark.parametrize("path", [b"inside/file", b"./inside//file", b"inside/../inside/file"])
def test_opens_what_lies_beneath(jail_root: int, path: bytes) -> None:
    assert content(jail_root, path) == b"inside"


@pytest.mark.parametrize("path", [b"..", b"../outside/secret", b"inside/../../outside/secret", b"/etc/passwd", b"/"])
def test_a_path_that_leads_out_is_refused(jail_root: int, path: bytes) -> None:
    with pytest.raises(PathOutsideWorkspace):
        content(jail_root, path)


@pytest.mark.parametrize(
    "target", ["../outside/secret", "/etc/passwd", "/", "inside/../../outside/secret", "/proc/self"]
)
def test_a_link_that_leads_out_is_refused_at_the_end_and_on_the_way(
    jail_root: int, tmp_path: Path, target: str
) -> None:
    (tmp_path / "root" / "link").symlink_to(target)
    for path in (b"link", b"link/secret", b"inside/../link"):
        with pytest.raises(PathOutsideWorkspace):
            content(jail_root, path)


def test_an_absolute_link_is_refused_even_if_it_leads_in(jail_root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root" / "inside" / "file")
    with pytest.raises(PathOutsideWorkspace):
        content(jail_root, b"link")


def test_a_link_that_stays_inside_is_followed_unless_links_are_refused(jail_root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "link").symlink_to("inside/../inside/file")
    (tmp_path / "root" / "directory").symlink_to("inside")
    assert content(jail_root, b"link") == b"inside"
    assert content(jail_root, b"directory/file") == b"inside"
    for path in (b"link", b"directory/file"):
        with pytest.raises(OSError, match="symbolic links"):
            content(jail_root, path, links=False)


def test_links_in_circles_end(jail_root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "a").symlink_to("b")
    (tmp_path / "root" / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        content(jail_root, b"a")


@pytest.mark.parametrize("path", [b"exe", b"root", b"cwd", b"fd/0"])
def test_magic_links_are_refused(path: bytes) -> None:
    proc = os.open(f"/proc/{os.getpid()}", os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="symbolic links"):
            open_beneath(proc, path, os.O_PATH)
    finally:
        os.close(proc)


def test_descriptors_are_not_inherited(jail_root: int) -> None:
    fd = open_beneath(jail_root, b"inside", os.O_PATH)
    try:
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_the_kernels_other_errors_pass_through(jail_root: int) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        content(jail_root, b"no\nsuch")
    with pytest.raises(NotADirectoryError):
        content(jail_root, b"inside/file/below")


def test_a_directory_swapped_with_a_link_leads_nowhere_else(jail_root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "planted").symlink_to("../outside")
    seen = set()
    with swapping(tmp_path / "root" / "inside", tmp_path / "root" / "planted"):
        for _ in range(SWAPS):
            try:
                seen.add(content(jail_root, b"inside/file"))
            except PathOutsideWorkspace:
                seen.add(b"refused")
    assert seen == {b"inside", b"refused"}


def test_rename_new_takes_no_name_that_is_in_use(jail_root: int, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "taken").write_text("taken")
    (root / "new").write_text("new")
    with pytest.raises(FileExistsError):
        rename_new(jail_root, b"new", jail_root, b"taken")
    assert (root / "taken").read_text() == "taken"
    rename_new(jail_root, b"new", jail_root, b"free")
    assert (root / "free").read_text() == "new"


REFUSE_OPENAT2 = """
import asyncio, ctypes, struct, sys
from workstation.errors import OpenAt2Missing
from workstation.local.files import LocalFileSystem

def instruction(code, jt, jf, k):
    return struct.pack("HBBI", code, jt, jf, k)

# load the call's number; answer `failure` to openat2, allow all else
program = (
    instruction(0x20, 0, 0, 0) + instruction(0x15, 0, 1, 437)
    + instruction(0x06, 0, 0, 0x00050000 | int(sys.argv[2])) + instruction(0x06, 0, 0, 0x7FFF0000)
)
buffer = ctypes.create_string_buffer(program, len(program))
header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, header, 0, 0) == 0, ctypes.get_errno()

async def main():
    try:
        async with LocalFileSystem(sys.argv[1]):
            print("opened")
    except OpenAt2Missing as error:
        print("refused:", error)

asyncio.run(main())
"""


@pytest.mark.parametrize(("failure", "message"), [("38", "Linux 5.6"), ("1", "seccomp")])
def test_without_openat2_nothing_opens(tmp_path: Path, failure: str, message: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", REFUSE_OPENAT2, str(tmp_path), failure],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
        timeout=60,
    )
    assert ran.stdout.startswith("refused:")
    assert message in ran.stdout


def test_check_openat2_is_content_here(jail_root: int) -> None:
    check_openat2(jail_root)
    assert issubclass(OpenAt2Missing, Exception)
