"""A local watch holds one descriptor while it is open and says what to raise where there are none."""

import asyncio
import ctypes
import errno
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from inotify_simple import INotify

import workstation.local.watching
from workstation.errors import Unsupported, WorkstationUnavailable
from workstation.interface import Change, ChangeKind
from workstation.local.files import LocalFileSystem


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def begin(files: LocalFileSystem) -> AsyncGenerator[Change]:
    changes = files.watch()
    assert (await anext(changes)).kind is ChangeKind.BEGUN
    return changes


def failing_inotify(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def failing(**_: object) -> None:
        raise OSError(code, os.strerror(code))

    def refused(_: int) -> int:
        ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(workstation.local.watching, "INotify", failing)
    monkeypatch.setattr(workstation.local.watching, "_inotify_init", refused)


async def test_a_closed_watch_holds_nothing(tmp_path: Path) -> None:
    async with LocalFileSystem(tmp_path) as files:
        before = descriptors()
        changes = await begin(files)
        assert descriptors() == before + 1
        await changes.aclose()
        assert descriptors() == before


async def test_a_cancelled_watch_holds_nothing(tmp_path: Path) -> None:
    async with LocalFileSystem(tmp_path) as files:
        before = descriptors()
        changes = await begin(files)
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert descriptors() == before


async def test_closing_the_files_ends_the_watch(tmp_path: Path) -> None:
    before = descriptors()
    async with LocalFileSystem(tmp_path) as files:
        waiting = asyncio.ensure_future(anext(await begin(files)))
        idle = await begin(files)
        await asyncio.sleep(0)
    with pytest.raises(WorkstationUnavailable):
        await waiting
    with pytest.raises(WorkstationUnavailable):
        await anext(idle)
    assert descriptors() == before


async def test_no_instance_left_says_what_to_raise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with LocalFileSystem(tmp_path) as files:
        failing_inotify(monkeypatch, errno.EMFILE)
        with pytest.raises(WorkstationUnavailable, match=r"fs\.inotify\.max_user_instances"):
            await begin(files)


async def test_no_watch_left_says_what_to_raise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(INotify):  # type: ignore[misc]
        def add_watch(self, path: str, mask: int) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with LocalFileSystem(tmp_path) as files:
        before = descriptors()
        monkeypatch.setattr(workstation.local.watching, "INotify", Full)
        with pytest.raises(WorkstationUnavailable, match=r"fs\.inotify\.max_user_watches"):
            await begin(files)
        assert descriptors() == before


async def test_without_inotify_watching_is_not_supported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_inotify(monkeypatch, errno.ENOSYS)
    async with LocalFileSystem(tmp_path) as files:
        assert not (await files.capabilities()).watch
        with pytest.raises(Unsupported):
            await begin(files)
