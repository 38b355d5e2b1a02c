"""What counts as a volume of its own: a whole file system of a fixed size, mounted at that very directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workstation.local.volume import is_own_volume


@contextmanager
def opened(path: Path | str) -> Iterator[int]:
    fd = os.open(path, os.O_PATH)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.mark.parametrize("path", ["/", "/proc", "/sys", "/usr/bin"])
def test_what_has_no_size_of_its_own_is_none(path: str) -> None:
    with opened(path) as fd:
        assert not is_own_volume(fd)


def test_a_directory_below_a_volume_is_none(tmp_path: Path) -> None:
    with opened(tmp_path) as fd:
        assert not is_own_volume(fd)


def test_a_tmpfs_with_a_size_is_one() -> None:
    with opened("/dev/shm") as fd:
        assert is_own_volume(fd)
