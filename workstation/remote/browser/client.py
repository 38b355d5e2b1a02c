"""RemoteBrowser: a Browser in another process."""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import chain, repeat
from typing import Any

from google.protobuf.message import Message

from empla.v1 import workstation_pb2 as pb
from empla.v1 import workstation_pb2_grpc
from workstation.errors import LimitExceeded, WorkstationUnavailable
from workstation.interface import (
    Action,
    ActResult,
    BrowserCapabilities,
    BrowserLimits,
    Direction,
    Download,
    Frame,
    ImageFormat,
    LoadState,
    Page,
    PageLog,
    PageText,
    Picture,
    Snapshot,
)
from workstation.remote.browser import messages
from workstation.remote.browser.actions import act_request
from workstation.remote.browser.values import (
    INT64_MAX,
    MOST_BYTES,
    UINT32_MAX,
    above_zero,
    count,
    exact,
    shown,
    storage_text,
    within,
)
from workstation.remote.connection import Connection

_SPARE_SECONDS = 30.0
"""What a call may take over there besides its own time, as when Chromium must be started first."""
_MOST_WAIT_SECONDS = 3600.0


class RemoteBrowser:
    """A `Browser` over a `Connection`.

    Calls that look, open or close are asked again when the connection broke meanwhile. `navigate` and `act` are not: they
    raise `WorkstationUnavailable`, and may have been done.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = workstation_pb2_grpc.BrowserStub(connection.channel)
        self._kept_limits: BrowserLimits | None = None

    async def capabilities(self) -> BrowserCapabilities:
        """Say what works there and within which limits."""
        request = pb.BrowserCapabilitiesRequest()
        answer: pb.BrowserCapabilities = await self._connection.ask(self._stub.Capabilities, request, again=True)
        capabilities = messages.capabilities_of(answer)
        self._kept_limits = capabilities.limits
        return capabilities

    async def open_page(self, page_id: str, *, url: str = "", width: int = 1280, height: int = 800) -> Page:
        """Open a page; see `Browser.open_page`."""
        request = pb.PageOpenRequest(
            page_id=shown(page_id),
            url=exact(url),
            width=count(width, "the width of a page"),
            height=count(height, "the height of a page"),
        )
        seconds = 2 * (await self._limits()).navigation_seconds  # one to have a window, one to go there
        return messages.page_of(await self._ask(self._stub.OpenPage, request, seconds, again=True))

    async def pages(self) -> tuple[Page, ...]:
        """All open pages; see `Browser.pages`."""
        answer: pb.PageListResponse = await self._connection.ask(self._stub.Pages, pb.PageListRequest(), again=True)
        return tuple(map(messages.page_of, answer.pages))

    async def navigate(
        self, page_id: str, to: str | Direction, *, wait_for: LoadState = LoadState.LOADED, timeout: float | None = None
    ) -> Page:
        """Go somewhere; see `Browser.navigate`."""
        request = pb.PageNavigateRequest(
            page_id=shown(page_id), wait_for=messages.load_state_number(wait_for), timeout=timeout
        )
        if isinstance(to, Direction):
            request.direction = messages.direction_number(to)
        else:
            request.url = exact(to)
        seconds = (await self._limits()).navigation_seconds
        return messages.page_of(await self._ask(self._stub.Navigate, request, seconds))

    async def snapshot(
        self,
        page_id: str,
        *,
        ref: str | None = None,
        depth: int | None = None,
        changes: bool = False,
        max_characters: int | None = None,
    ) -> Snapshot:
        """Take the accessibility tree; see `Browser.snapshot`.

        When the connection broke meanwhile, all of it is told, `changes` or not: they may have been told to nobody.
        """
        request = pb.PageSnapshotRequest(
            page_id=shown(page_id),
            ref=None if ref is None else shown(ref),
            depth=None if depth is None else within(depth, 0, UINT32_MAX),
            changes=changes,
            max_characters=_characters(max_characters),
        )
        whole = pb.PageSnapshotRequest()
        whole.CopyFrom(request)
        whole.changes = False
        requests = chain([request], repeat(whole))
        return messages.snapshot_of(
            await self._ask(
                lambda _, timeout: self._stub.Snapshot(next(requests), timeout=timeout),
                request,
                (await self._limits()).action_seconds,
                again=True,
            )
        )

    async def act(self, page_id: str, action: Action, *, timeout: float | None = None) -> ActResult:
        """Act on an element; see `Browser.act`."""
        request, limits = act_request(page_id, action, timeout), await self._limits()
        _require_fit(request, "text_bytes", limits.text_bytes)
        return messages.result_of(await self._ask(self._stub.Act, request, limits.action_seconds))

    async def allow_submission(self, sender: str, receiver: str, *, seconds: float) -> None:
        """Let forms go; see `Browser.allow_submission`."""
        hosts = {"sender": shown(sender), "receiver": shown(receiver)}
        request = pb.BrowserAllowSubmissionRequest(**hosts, seconds=seconds)
        await self._connection.ask(self._stub.AllowSubmission, request, again=True)

    async def allow_download(self, url: str, *, seconds: float) -> None:
        """Let downloads come; see `Browser.allow_download`."""
        request = pb.BrowserAllowDownloadRequest(url=shown(url), seconds=seconds)
        await self._connection.ask(self._stub.AllowDownload, request, again=True)

    async def wait_for(
        self,
        page_id: str,
        *,
        text: str = "",
        text_gone: str = "",
        url: str = "",
        load_state: LoadState | None = None,
        timeout: float | None = None,
    ) -> Page:
        """Wait for what is named; see `Browser.wait_for`."""
        request = pb.PageWaitForRequest(
            page_id=shown(page_id),
            text=exact(text),
            text_gone=exact(text_gone),
            url=exact(url),
            load_state=messages.load_state_number(load_state),
            timeout=timeout,
        )
        seconds = (await self._limits()).action_seconds
        if timeout is not None and math.isfinite(timeout):
            seconds = max(seconds, min(timeout, _MOST_WAIT_SECONDS))
        return messages.page_of(await self._ask(self._stub.WaitFor, request, seconds, again=True))

    async def screenshot(
        self,
        page_id: str,
        *,
        ref: str | None = None,
        full_page: bool = False,
        format: ImageFormat = ImageFormat.PNG,  # noqa: A002  # the word for it
    ) -> Picture:
        """Take a picture; see `Browser.screenshot`."""
        request = pb.PageScreenshotRequest(
            page_id=shown(page_id),
            ref=None if ref is None else shown(ref),
            full_page=full_page,
            format=messages.format_number(format),
        )
        seconds = (await self._limits()).action_seconds
        return messages.picture_of(await self._ask(self._stub.Screenshot, request, seconds, again=True))

    async def pdf(self, page_id: str) -> AsyncGenerator[bytes]:
        """Print the page; see `Browser.pdf`. A connection that breaks amid it ends it: no two prints are the same."""
        begun = False

        def request() -> pb.PagePdfRequest:
            if begun:
                raise WorkstationUnavailable("the connection to the workstation broke amid the PDF: print it again")
            return pb.PagePdfRequest(page_id=shown(page_id))

        stream: AsyncGenerator[pb.PagePdfResponse] = self._connection.stream(self._stub.Pdf, request)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                begun = True
                yield piece.data

    async def read_text(self, page_id: str, *, offset: int = 0, max_characters: int | None = None) -> PageText:
        """Read the page; see `Browser.read_text`."""
        request = pb.PageReadTextRequest(
            page_id=shown(page_id),
            offset=within(offset, -INT64_MAX, INT64_MAX),
            max_characters=_characters(max_characters),
        )
        seconds = (await self._limits()).navigation_seconds
        return messages.text_of(await self._ask(self._stub.ReadText, request, seconds, again=True))

    async def downloads(self, page_id: str | None = None) -> tuple[Download, ...]:
        """The downloads; see `Browser.downloads`."""
        request = pb.PageDownloadsRequest(page_id=None if page_id is None else shown(page_id))
        answer: pb.PageDownloadsResponse = await self._connection.ask(self._stub.Downloads, request, again=True)
        return tuple(map(messages.download_of, answer.downloads))

    async def log(self, page_id: str, *, after: int = 0) -> PageLog:
        """Console and requests; see `Browser.log`. What is more than a message holds counts as dropped, the oldest first."""
        request = pb.PageLogRequest(page_id=shown(page_id), after=within(after, -INT64_MAX, INT64_MAX))
        return messages.log_of(await self._connection.ask(self._stub.Log, request, again=True))

    async def storage(self) -> str:
        """Cookies and storage; see `Browser.storage`."""
        seconds = (await self._limits()).navigation_seconds
        answer: pb.BrowserStorage = await self._ask(self._stub.Storage, pb.BrowserStorageRequest(), seconds, again=True)
        return answer.state

    async def set_storage(self, state: str) -> None:
        """Replace cookies and storage; see `Browser.set_storage`."""
        request, limits = pb.BrowserStorage(state=storage_text(state)), await self._limits()
        _require_fit(request, "storage_bytes", limits.storage_bytes)
        await self._ask(self._stub.SetStorage, request, limits.navigation_seconds, again=True)

    async def close_page(self, page_id: str) -> None:
        """Close a page; see `Browser.close_page`."""
        await self._connection.ask(self._stub.ClosePage, pb.PageCloseRequest(page_id=shown(page_id)), again=True)

    async def live_view(
        self, page_id: str, *, frames_per_second: float = 2.0, quality: int = 60
    ) -> AsyncGenerator[Frame]:
        """Watch a page; see `Browser.live_view`. It goes on with the page as it is then when the connection broke."""
        request = pb.PageLiveViewRequest(
            page_id=shown(page_id),
            frames_per_second=above_zero(frames_per_second, "frames_per_second"),
            quality=count(quality, "the quality"),
        )
        stream: AsyncGenerator[pb.PageFrame] = self._connection.stream(self._stub.LiveView, lambda: request)
        async with aclosing(stream) as frames:
            async for frame in frames:
                yield messages.frame_of(frame)

    async def _limits(self) -> BrowserLimits:
        """The limits there, asked for once: they say how long an answer may take."""
        return self._kept_limits or (await self.capabilities()).limits

    async def _ask(self, method: Any, request: Message, seconds: float, *, again: bool = False) -> Any:
        return await self._connection.ask(method, request, seconds=seconds + _SPARE_SECONDS, again=again)


def _characters(number: int | None) -> int | None:
    return None if number is None else within(number, -INT64_MAX, INT64_MAX)


def _require_fit(request: Message, limit: str, allowed: int) -> None:
    """Raise `LimitExceeded` for a text that is too large to be sent at all."""
    if (size := request.ByteSize()) > MOST_BYTES:
        raise LimitExceeded(f"{size} bytes are more than the {allowed} there may be", limit=limit, allowed=allowed)
