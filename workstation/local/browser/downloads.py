"""Downloads: what pages give lands in the workspace, below `downloads/`, and nowhere else."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from playwright.async_api import Download as Given
from playwright.async_api import Error

from workstation.errors import (
    FileSystemError,
    LimitExceeded,
    NotFound,
    QuotaExceeded,
    VersionConflict,
    WorkstationError,
)
from workstation.interface import ABSENT, Download, DownloadState, FileSystem
from workstation.local.browser.addresses import shown_address
from workstation.local.browser.allowances import Allowances
from workstation.local.browser.arrivals import Arrival
from workstation.local.browser.names import numbered, safe_name
from workstation.local.browser.submissions import host_of
from workstation.local.browser.tasks import Tasks

log = logging.getLogger(__name__)

FOLDER = "downloads"
_KEPT = 200
_AT_ONCE = 8
_A_MINUTE = 60
_LOOK_SECONDS = 0.1
_CANCEL_SECONDS = 5.0
_SAME_NAMES = 1000
_CLOSED = "the page or the browser was closed"
_UNCOUNTED_BYTES = 8 << 20
"""A file may get as large before it is asked whether the workspace has room for it: counting takes its time."""


class Downloads:
    """The downloads of one Browser, open as an async context manager; closing it ends those that run.

    `directory` is where Chromium writes; each file goes into the workspace from there once it is complete, and nothing
    stays. The latest are remembered. One is given up that brings nothing for `stall_seconds`, or takes `most_seconds`.
    `refuse` is asked as each begins why it may not; '' if it may. `mask` takes out of a text what may not be told.
    """

    def __init__(
        self,
        files: FileSystem,
        directory: Path,
        *,
        most_bytes: int,
        refuse: Callable[[], str] = lambda: "",
        mask: Callable[[str], str] = str,
        stall_seconds: float = 60.0,
        most_seconds: float = 3600.0,
    ) -> None:
        self._files, self._directory, self._most_bytes, self._refuse = files, directory, most_bytes, refuse
        self._mask, self._tasks, self._allowed = mask, Tasks(), Allowances()
        self._stall_seconds, self._most_seconds = stall_seconds, most_seconds
        self._known: dict[str, Download] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._begun: deque[float] = deque(maxlen=_A_MINUTE)
        self._count = 0

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End those that run."""
        await self._tasks.__aexit__(kind, error, trace)

    def begin(self, page_id: str, given: Given) -> str:
        """Follow a download that Playwright reports for a page, and say its id; waits for nothing."""
        self._count += 1
        download_id = f"download-{self._count}"
        self._known[download_id] = Download(
            download_id=download_id,
            page_id=page_id,
            url=shown_address(given.url, self._mask),
            name=safe_name(self._mask(given.suggested_filename)),
            state=DownloadState.RUNNING,
            size=0,
        )
        refusal = self._refusal(given.url)
        following = self._follow(download_id, given, refusal)
        if (task := self._tasks.start(following, f"download {download_id}")) is None:
            self._end(download_id, None, _CLOSED)
        else:
            self._running[download_id] = task
            task.add_done_callback(lambda _: self._running.pop(download_id))
        self._forget()
        return download_id

    def allow(self, url: str, seconds: float) -> None:
        """Let downloads come from the host of this address for so long, whatever refuses them. Raises `InvalidArgument`."""
        self._allowed.allow((_giver(url),), seconds)

    def list(self, page_id: str | None = None) -> tuple[Download, ...]:
        """The downloads of a page, or of all, the latest first."""
        return tuple(each for each in reversed(self._known.values()) if page_id in (None, each.page_id))

    async def cancel(self, page_id: str) -> None:
        """End what runs for a page that is closed; it stays in the list, as failed."""
        running = [self._running[each.download_id] for each in self.list(page_id) if each.download_id in self._running]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def _refusal(self, url: str) -> str:
        """Why another download is not allowed, or too many; '' if it is neither."""
        if (refusal := self._refuse()) and (_giver(url),) not in self._allowed:
            return refusal
        now = time.monotonic()
        if len(self._running) >= _AT_ONCE:
            return f"more than {_AT_ONCE} downloads at once"
        if len(self._begun) == _A_MINUTE and now - self._begun[0] < 60:
            return f"more than {_A_MINUTE} downloads within a minute"
        self._begun.append(now)
        return ""

    def _forget(self) -> None:
        for download_id in [each for each in self._known if each not in self._running][
            : max(len(self._known) - _KEPT, 0)
        ]:
            del self._known[download_id]

    async def _follow(self, download_id: str, given: Given, refusal: str) -> None:
        """All that becomes of one download, to its end; a task of its own."""
        failure = refusal or _CLOSED
        path = arrival = None
        try:
            arrival = Arrival(given, self._directory)
            if not refusal:
                path = await self._bring(download_id, arrival)
        except Error:
            log.debug("download %s ended with its page", download_id, exc_info=True)
        except WorkstationError as error:
            failure = str(error)
        except Exception:
            failure = "a fault of this workstation's; its log says more"
            log.exception("download %s failed by a fault of ours", download_id)
        finally:
            try:
                if arrival is not None:
                    await self._remove(download_id, arrival)
            finally:
                self._end(download_id, path, failure)

    async def _bring(self, download_id: str, arrival: Arrival) -> str:
        await self._wait(download_id, arrival)
        self._grown(download_id, arrival.size())
        return await self._put(self._known[download_id].name, arrival)

    async def _wait(self, download_id: str, arrival: Arrival) -> None:
        """Wait until the file is complete; raises what makes it fail."""
        began = changed = time.monotonic()
        room: int | None = None
        async with arrival.ending() as ended:
            while not await ended(_LOOK_SECONDS):
                now, size = time.monotonic(), arrival.size()
                if self._grown(download_id, size):
                    changed = now
                if size > _UNCOUNTED_BYTES and room is None:
                    room = await self._room()
                if room is not None and size > room:
                    raise QuotaExceeded("the workspace has no room for the file", path=FOLDER)
                _require_time("it brought nothing for", now - changed, self._stall_seconds)
                _require_time("it was not complete after", now - began, self._most_seconds)

    def _grown(self, download_id: str, size: int) -> bool:
        """Note how large the file is, and say whether it changed. Raises `LimitExceeded`."""
        before = self._known[download_id]
        self._known[download_id] = replace(before, size=size)
        if size > self._most_bytes:
            message = f"the file has more than the {self._most_bytes} bytes that a download may have"
            raise LimitExceeded(message, limit="download_bytes", allowed=self._most_bytes)
        return size != before.size

    async def _room(self) -> int:
        """How many bytes the workspace can take."""
        usage = await self._files.usage()
        quota = usage.available_bytes if usage.quota_bytes is None else usage.quota_bytes - usage.bytes
        return min(usage.available_bytes, quota)

    async def _put(self, name: str, arrival: Arrival) -> str:
        """Put the file into the workspace under the first name that is free."""
        for number in range(1, _SAME_NAMES + 1):
            path = f"{FOLDER}/{numbered(name, number)}"
            try:
                await self._files.stat(path)
            except NotFound:
                try:
                    content = arrival.content(self._most_bytes)
                    await self._files.write(path, content, expected_version=ABSENT, parents=True)
                except VersionConflict:  # somebody was quicker
                    continue
                return path
        raise FileSystemError(f"there are {_SAME_NAMES} files of that name", path=f"{FOLDER}/{name}")

    def _end(self, download_id: str, path: str | None, failure: str) -> None:
        state = DownloadState.FAILED if path is None else DownloadState.COMPLETE
        ended = replace(self._known[download_id], state=state, path=path, failure="" if path else failure)
        self._known[download_id] = ended

    async def _remove(self, download_id: str, arrival: Arrival) -> None:
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await arrival.remove()
        except TimeoutError:
            log.warning("download %s could not be cancelled", download_id)
        except OSError:
            log.exception("what Chromium wrote for download %s could not be removed", download_id)


def _giver(url: str) -> str:
    """The host that a file comes from; of one that a page made, the host of the page."""
    return host_of(url.removeprefix("blob:"))


def _require_time(what: str, taken: float, allowed: float) -> None:
    if taken > allowed:
        raise WorkstationError(f"given up: {what} {allowed:g} s")
