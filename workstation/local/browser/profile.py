"""The profile: cookies and storage of an employee's browser, kept from one Browser to the next."""

import asyncio
import fcntl
import json
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from playwright.async_api import BrowserContext, Error, StorageState

from workstation.errors import InvalidArgument, LimitExceeded, ProfileBusy, WorkstationError
from workstation.local.browser.storage import parse_storage, take_storage
from workstation.local.threads import Threads

log = logging.getLogger(__name__)

SAVE_SECONDS = 30.0
_TAKE_SECONDS = 10.0
_FILE, _LOCK, _DAMAGED = "storage.json", "lock", "storage.damaged.json"


class Profile:
    """A directory for one Browser at a time, open as an async context manager that holds its lock."""

    state: StorageState | None = None
    """What the context begins with: as it was last saved. None if nothing was."""

    def __init__(self, directory: Path, *, most_bytes: int) -> None:
        self._directory, self._most_bytes = directory, most_bytes
        self._threads = Threads()
        self._lock = -1
        self._saved = ""

    async def __aenter__(self) -> Self:
        """Make the directory if it is missing, lock it, and read `state`. Raises `ProfileBusy`.

        A file that is damaged is put aside, and the log says so.
        """
        try:
            await self._threads.run(lambda _: self._open())
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the lock."""
        self._close()

    async def save(self, context: BrowserContext) -> None:
        """Save what the context holds, if that changed; then it is `state`. What fails is logged, and the old stays."""
        try:
            async with asyncio.timeout(_TAKE_SECONDS):
                taken = await take_storage(context, most_bytes=self._most_bytes)
            if taken != self._saved:
                await self._threads.run(lambda _: self._write(taken))  # to its end, else it might replace a later one
                self._saved, self.state = taken, json.loads(taken)
        except (Error, TimeoutError, WorkstationError, OSError) as error:
            log.warning("cookies and storage of %s are not saved: %s", self._directory, error or "it took too long")

    async def keep(self, context: BrowserContext) -> None:
        """Save every 30 s until cancelled."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self.save(context)

    def _open(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        self._lock = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._take_lock()
        self._read()

    def _close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode(errors="replace").strip()
            message = f"process {holder or '(unknown)'} uses the browser profile {self._directory}"
            raise ProfileBusy(message) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def _read(self) -> None:
        for left in self._directory.glob(f"{_FILE}.*"):  # by a process that was killed as it wrote
            left.unlink()
        path = self._directory / _FILE
        try:
            with path.open(encoding="utf-8") as file:
                text = file.read(self._most_bytes + 1)  # damaged files may be large as well
            self.state = parse_storage(text or "(empty)", most_bytes=self._most_bytes)
            self._saved = text
        except FileNotFoundError:
            return
        except (InvalidArgument, LimitExceeded, UnicodeDecodeError) as error:
            path.replace(self._directory / _DAMAGED)
            log.warning("%s is damaged and was put aside as %s; the browser starts anew: %s", path, _DAMAGED, error)

    def _write(self, text: str) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f"{_FILE}.", dir=self._directory)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.replace(name, self._directory / _FILE)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
