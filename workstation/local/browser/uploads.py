"""Uploads: files of the workspace, handed to the file inputs of pages."""

import logging
import os
import secrets
import shutil
from collections import defaultdict
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

from playwright.async_api import Locator
from playwright.async_api import TimeoutError as TimedOut

from workstation.errors import ActionFailed, InvalidArgument, LimitExceeded, WorkstationUnavailable, WrongKind
from workstation.interface import EntryKind, FileSystem
from workstation.local.browser.asking import ask, pointed
from workstation.local.browser.tasks import Tasks
from workstation.local.threads import Stop, Threads
from workstation.paths import resolve, split

log = logging.getLogger(__name__)

_MOST_FILES = 1000
_KEPT = 16
"""Uploads whose files a page keeps; it has sent those before."""
_CHOOSER_MILLISECONDS = 3000
_MOST_NAME = 255


class Uploads:
    """The files that the pages of one Browser were given.

    `directory` is where Chromium can read them, until the page is closed: it reads a file when it sends it.
    """

    def __init__(self, files: FileSystem, directory: Path, *, tasks: Tasks, most_bytes: int) -> None:
        self._files, self._directory, self._tasks, self._most_bytes = files, directory, tasks, most_bytes
        self._threads = Threads()
        self._given: dict[str, list[Path]] = defaultdict(list)

    async def give(self, page_id: str, element: Locator, paths: Sequence[str]) -> None:
        """Give an element these files, in place of those it had; none empties it.

        The element is a file input, has one in it or belongs to one, or asks for a file when it is clicked. Takes as long as
        the page lets it: the caller bounds the time. Raises `ActionFailed` for an element that takes no file, or not so
        many; `LimitExceeded` for too many bytes, the errors of FileSystem, and Playwright's `Error`.
        """
        kind = str(await ask(element, "takes", _CHOOSER_MILLISECONDS / 1000))
        _require_fit(page_id, kind, len(paths))
        brought = await self._bring(page_id, paths)
        if kind == "button":
            await _give_asking(page_id, element, brought)
        else:
            await pointed(element, "file-input").set_input_files(brought)

    def forget(self, page_id: str) -> None:
        """Remove what a page was given, now that it is closed."""
        self._tasks.start(self._remove(*self._given.pop(page_id, [])), f"uploads of {page_id}")

    async def clear(self) -> None:
        """Remove what all pages were given."""
        await self._remove(*(directory for given in self._given.values() for directory in given))
        self._given.clear()

    async def _bring(self, page_id: str, paths: Sequence[str]) -> list[str | Path]:
        """Copy the files to where Chromium can read them."""
        if len(paths) > _MOST_FILES:
            raise InvalidArgument(f"{len(paths)} files are more than {_MOST_FILES} for one upload")
        await self._require_size(paths)
        directory = self._directory / secrets.token_hex(8)
        given = self._given[page_id]
        given.append(directory)
        try:
            brought = await self._copy_all(paths, directory)
        except BaseException as error:
            given.remove(directory)
            await self._remove(directory)
            if isinstance(error, OSError):
                message = f"the files cannot be handed to the browser: {error.strerror}"
                raise WorkstationUnavailable(message) from error
            raise
        old, given[:] = given[:-_KEPT], given[-_KEPT:]
        await self._remove(*old)
        return brought

    async def _copy_all(self, paths: Sequence[str], directory: Path) -> list[str | Path]:
        _make(directory)
        left = self._most_bytes
        brought: list[str | Path] = []
        for number, path in enumerate(paths):
            _make(directory / str(number))
            copy = directory / str(number) / _name(path)
            left -= await self._copy(path, copy, left)
            brought.append(copy)
        return brought

    async def _remove(self, *directories: Path) -> None:
        for directory in directories:
            await self._threads.run(partial(_remove, directory))

    async def _require_size(self, paths: Sequence[str]) -> None:
        """Say what is missing or too large before anything is copied; links count when they are copied."""
        entries = [await self._files.stat(path) for path in paths]
        for entry in entries:
            if entry.kind is EntryKind.DIRECTORY:
                raise WrongKind(f"{entry.path} is a directory", path=entry.path)
        if sum(entry.size for entry in entries) > self._most_bytes:
            raise self._too_large()

    async def _copy(self, path: str, copy: Path, most_bytes: int) -> int:
        """Copy one file and say how many bytes it has."""
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        size = 0
        try:
            os.fchmod(descriptor, 0o644)  # for Chromium's account, whatever our umask is
            async with aclosing(self._files.read(path)) as pieces:
                async for piece in pieces:
                    size += len(piece)
                    if size > most_bytes:
                        raise self._too_large()
                    await self._threads.run(partial(_write, descriptor, piece))
        finally:
            os.close(descriptor)
        return size

    def _too_large(self) -> LimitExceeded:
        message = f"the files have more than the {self._most_bytes} bytes that an upload may have"
        return LimitExceeded(message, limit="upload_bytes", allowed=self._most_bytes)


def _require_fit(page_id: str, kind: str, files: int) -> None:
    refusals = {
        "other": "it is not a file input",
        "disabled": "the file input is disabled",
        "directory": "it takes a directory, not files",
    }
    if kind in refusals:
        raise ActionFailed(refusals[kind], page_id=page_id)
    if kind == "one" and files > 1:
        raise ActionFailed(f"it takes one file, not {files}", page_id=page_id)


async def _give_asking(page_id: str, element: Locator, files: list[str | Path]) -> None:
    """Click what may be a button that asks for a file, and answer with these."""
    try:
        async with element.page.expect_file_chooser(timeout=_CHOOSER_MILLISECONDS) as asked:
            await element.click(timeout=_CHOOSER_MILLISECONDS)
        chooser = await asked.value
    except TimedOut:
        raise ActionFailed("it is not a file input, and asks for no file when it is clicked", page_id=page_id) from None
    if len(files) > 1 and not chooser.is_multiple():
        raise ActionFailed(f"it takes one file, not {len(files)}", page_id=page_id)
    await chooser.set_files(files)


def _name(path: str) -> str:
    name = split(resolve(path))[1].decode("utf-8", "replace")
    return name.encode()[-_MOST_NAME:].decode("utf-8", "ignore")


def _make(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)  # for Chromium's account, whatever our umask is


def _write(descriptor: int, piece: bytes, _: Stop) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _remove(directory: Path, _: Stop) -> None:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        pass  # it was never made
    except OSError:
        log.exception("the files of an upload could not be removed")
