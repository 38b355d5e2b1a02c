"""A volume for each employee: a file system in a file, mounted at the workspace.

Nobody who writes there can exceed its size, jailed programs included, in bytes or in files. It needs root and loop devices.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from controlplane.errors import LaunchFailed
from controlplane.launchers.commands import run

log = logging.getLogger(__name__)

SMALLEST_BYTES = 16 << 20
"""Below this, ext4's own tables and journal take most of it."""
COMMAND_SECONDS = 60.0
COPY_SECONDS = 900.0
BLOCK_BYTES = 4096
RESERVED_INODES = 10
"""Inodes that ext4 keeps for itself; see <fs/ext4/ext4.h>, EXT4_GOOD_OLD_FIRST_INO."""
OPTIONS = "loop,nosuid,nodev,noatime,discard"
"""With `discard`, what employees remove is given back to the disk below."""


class Volumes:
    """Volumes of `size` bytes for `entries` files (None: as many as usual), as images in a directory of ours.

    Without a size no new ones are made, and those that are there still get mounted. An image keeps the size that it was
    made with, and stays when its employee is deleted, as a workspace does. Images are sparse: together they may promise
    more than the disk has.
    """

    def __init__(self, directory: Path, size: int | None, entries: int | None) -> None:
        self._directory, self._size, self._entries = directory, size, entries

    async def why_not(self) -> str:
        """Why no volumes can be made; empty when they work, as is found out by trying."""
        if self._size is None:
            return "a size is needed, EMPLA_WORKSPACE_QUOTA_BYTES"
        if os.geteuid() != 0:
            return "only root may mount one"
        name, trial = f"trial-{os.getpid()}", Volumes(self._directory, SMALLEST_BYTES, None)
        place = self._directory / name
        try:
            await asyncio.to_thread(place.mkdir, mode=0o700, parents=True, exist_ok=True)
            await trial.mount(name, place)
            await trial.unmount(name, place)
            await asyncio.to_thread(trial.image(name).unlink)
            await asyncio.to_thread(place.rmdir)
        except (LaunchFailed, OSError) as error:
            return str(error)
        return ""

    def image(self, name: str) -> Path:
        """The file that holds a volume."""
        return self._directory / f"{name}.img"

    def names(self) -> list[str]:
        """Whose volumes there are, mounted or not."""
        return [path.stem for path in self._directory.glob("*.img")]

    async def mount(self, name: str, place: Path) -> None:
        """Have the volume mounted at the directory `place`, with what was in there; raises `LaunchFailed`, `OSError`.

        What is mounted there already stays, also when it is the operator's. Nobody else may use the place meanwhile.
        """
        if await asyncio.to_thread(place.is_mount):
            return
        image = self.image(name)
        size = await asyncio.to_thread(_size_of, image)
        if size is None:
            if self._size is None:
                return
            await self._make(image, self._size)
        elif self._size not in (None, size):
            log.warning("the volume %s keeps its %d bytes, whatever the quota is now", image, size)
        if await asyncio.to_thread(_holds_something, place):
            await self._move_in(image, place)
        await _mount(image, place)

    async def unmount(self, name: str, place: Path) -> None:
        """Have it mounted no more; raises `LaunchFailed`, as when a program still uses it.

        What is mounted where we have no image is the operator's, and stays.
        """
        if await asyncio.to_thread(lambda: self.image(name).exists() and place.is_mount()):
            await run("umount", place, seconds=COMMAND_SECONDS)

    @asynccontextmanager
    async def readable(self, name: str, place: Path) -> AsyncIterator[Path]:
        """Where the files of a workspace can be read: at `place`, or in a copy of the volume that is not mounted there now.

        A copy, because whoever mounts the volume meanwhile has to find it as it was. Raises `LaunchFailed`, `OSError`.
        """
        image = self.image(name)
        if not await asyncio.to_thread(image.exists) or await asyncio.to_thread(place.is_mount):
            yield place
            return
        directory = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="reading-", dir=self._directory))
        try:
            async with _mounted_copy(image, place, directory) as there:
                yield there
        finally:
            await asyncio.to_thread(shutil.rmtree, directory)

    async def _make(self, image: Path, size: int) -> None:
        """Make a whole volume or none: a half-made one never has the image's name."""
        unfinished = image.with_suffix(".new")
        inodes = [] if self._entries is None else ["-N", str(self._entries + RESERVED_INODES)]
        await asyncio.to_thread(_make_sparse, unfinished, size)
        options = ["-q", "-F", "-m", "0", "-b", str(BLOCK_BYTES), *inodes]
        await run("mkfs.ext4", *options, unfinished, seconds=COMMAND_SECONDS)
        await asyncio.to_thread(unfinished.rename, image)
        log.info("made the volume %s of %d bytes", image, size)

    async def _move_in(self, image: Path, place: Path) -> None:
        """Move what lies in the directory into the volume; done again after an interruption, it ends in the same.

        The copy never writes through a link that a jailed program left in the volume, and takes links as links.
        """
        staging = image.with_suffix(".staging")
        await asyncio.to_thread(staging.mkdir, mode=0o700, exist_ok=True)
        if not await asyncio.to_thread(staging.is_mount):
            await _mount(image, staging)
        try:
            await run("cp", "-a", "--remove-destination", f"{place}/.", staging, seconds=COPY_SECONDS)
        finally:
            await run("umount", staging, seconds=COMMAND_SECONDS)
        await run("find", place, "-xdev", "-mindepth", "1", "-delete", seconds=COPY_SECONDS)
        await asyncio.to_thread(staging.rmdir)


async def _mount(image: Path, place: Path) -> None:
    await run("mount", "-t", "ext4", "-o", OPTIONS, image, place, seconds=COMMAND_SECONDS)
    # mkfs made it for what a check of the file system finds, which would make it anew; the employee has no use for it
    with contextlib.suppress(FileNotFoundError):
        await asyncio.to_thread((place / "lost+found").rmdir)


@asynccontextmanager
async def _mounted_copy(image: Path, place: Path, directory: Path) -> AsyncIterator[Path]:
    """The files of a copy of an image, made in `directory`; or `place`, if the image has come to be mounted there."""
    copy, there = directory / "copy", directory / "files"
    await asyncio.to_thread(there.mkdir)
    await run("cp", "--sparse=always", image, copy, seconds=COPY_SECONDS)
    if await asyncio.to_thread(place.is_mount):  # perhaps while it was copied
        yield place
        return
    await run("mount", "-t", "ext4", "-o", f"{OPTIONS},ro", copy, there, seconds=COMMAND_SECONDS)
    try:
        yield there
    finally:
        await run("umount", there, seconds=COMMAND_SECONDS)


def _make_sparse(path: Path, size: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, size)
    finally:
        os.close(fd)


def _size_of(image: Path) -> int | None:
    try:
        return image.stat().st_size
    except FileNotFoundError:
        return None


def _holds_something(place: Path) -> bool:
    with os.scandir(place) as names:
        return next(names, None) is not None
