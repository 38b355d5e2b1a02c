"""The directory through which files go to Chromium and come from it, and where its helpers keep their own."""

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from workstation.errors import SandboxUnavailable
from workstation.local.browser.plan import DOWNLOADS, UPLOADS

_PREFIX = "empla-browser-"
_FIRST_ACCOUNT = 2_120_000_000
"""Above the accounts of the employees' workspaces, below systemd's: nobody else allots these."""
_YOUNG_SECONDS = 60.0


class Exchange:
    """A directory that only we may enter, with `exchange` in it, which Chromium sees.

    Who owns it holds a lock on it, so that what a killed process left can be told from what is in use.
    """

    _lock = -1

    def open(self) -> None:
        """Make it, and remove what others left who are gone. Raises `SandboxUnavailable`."""
        _sweep()
        try:
            self.place = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._lock = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.exchange = self.place / "exchange"
            self._make()
        except OSError as error:
            self.close()
            raise SandboxUnavailable(f"Chromium can be given no directory of its own: {error}") from error

    def close(self) -> None:
        """Remove it with all that is in it, if it was made."""
        if self._lock < 0:
            return
        try:
            shutil.rmtree(self.place)
        finally:
            os.close(self._lock)
            self._lock = -1

    def _make(self) -> None:
        downloads, uploads = self.exchange / DOWNLOADS, self.exchange / UPLOADS
        for directory in (self.exchange, downloads, uploads):
            directory.mkdir()
            directory.chmod(0o755)  # whatever our umask is
        if os.geteuid() == 0:  # nothing in the jail is root's; an account of this process's own
            account = _FIRST_ACCOUNT + os.getpid()
            for directory in (self.exchange, downloads):
                os.chown(directory, account, account)


def _sweep() -> None:
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another's, in use, or gone just now
            _remove_abandoned(place)


def _remove_abandoned(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid == os.geteuid() and time.time() - status.st_ctime > _YOUNG_SECONDS:  # else not locked yet
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place)
    finally:
        os.close(descriptor)
