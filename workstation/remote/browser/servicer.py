"""Serves a Browser: each call is converted, made, and its answer converted back."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from empla.v1 import workstation_pb2 as pb
from empla.v1 import workstation_pb2_grpc
from workstation.errors import InvalidArgument, LimitExceeded
from workstation.interface import Browser, BrowserCapabilities, BrowserLimits, Direction, LoadState
from workstation.remote.browser import messages
from workstation.remote.browser.actions import action_of
from workstation.remote.browser.values import MOST_BYTES, storage_text

_MOST_CHARACTERS = MOST_BYTES // 4
_WIDTH, _HEIGHT = 1280, 800
_FRAMES_PER_SECOND, _QUALITY = 2.0, 60


class BrowserServicer(workstation_pb2_grpc.BrowserServicer):
    """See the module, and workstation.proto for what each RPC promises; its errors are translated by who serves it."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    async def Capabilities(self, request: pb.BrowserCapabilitiesRequest, context: Any) -> pb.BrowserCapabilities:
        return messages.capabilities_message(await self._capabilities())

    async def OpenPage(self, request: pb.PageOpenRequest, context: Any) -> pb.Page:
        size = {"width": request.width or _WIDTH, "height": request.height or _HEIGHT}
        return messages.page_message(await self._browser.open_page(request.page_id, url=request.url, **size))

    async def Pages(self, request: pb.PageListRequest, context: Any) -> pb.PageListResponse:
        return pb.PageListResponse(pages=map(messages.page_message, await self._browser.pages()))

    async def Navigate(self, request: pb.PageNavigateRequest, context: Any) -> pb.Page:
        page = await self._browser.navigate(
            request.page_id,
            _destination(request),
            wait_for=messages.load_state_of(request.wait_for) or LoadState.LOADED,
            timeout=_timeout(request),
        )
        return messages.page_message(page)

    async def Snapshot(self, request: pb.PageSnapshotRequest, context: Any) -> pb.PageSnapshot:
        snapshot = await self._browser.snapshot(
            request.page_id,
            ref=_ref(request),
            depth=request.depth if request.HasField("depth") else None,
            changes=request.changes,
            max_characters=_max_characters(request),
        )
        return await self._fitting(messages.snapshot_message(snapshot), "snapshot_characters")

    async def Act(self, request: pb.PageActRequest, context: Any) -> pb.PageActResponse:
        result = await self._browser.act(request.page_id, action_of(request), timeout=_timeout(request))
        return messages.result_message(result)

    async def AllowSubmission(self, request: pb.BrowserAllowSubmissionRequest, context: Any) -> pb.BrowserAllowResponse:
        await self._browser.allow_submission(request.sender, request.receiver, seconds=request.seconds)
        return pb.BrowserAllowResponse()

    async def AllowDownload(self, request: pb.BrowserAllowDownloadRequest, context: Any) -> pb.BrowserAllowResponse:
        await self._browser.allow_download(request.url, seconds=request.seconds)
        return pb.BrowserAllowResponse()

    async def WaitFor(self, request: pb.PageWaitForRequest, context: Any) -> pb.Page:
        page = await self._browser.wait_for(
            request.page_id,
            text=request.text,
            text_gone=request.text_gone,
            url=request.url,
            load_state=messages.load_state_of(request.load_state),
            timeout=_timeout(request),
        )
        return messages.page_message(page)

    async def Screenshot(self, request: pb.PageScreenshotRequest, context: Any) -> pb.Picture:
        picture = await self._browser.screenshot(
            request.page_id,
            ref=_ref(request),
            full_page=request.full_page,
            format=messages.format_of(request.format),
        )
        return await self._fitting(messages.picture_message(picture), "screenshot_pixels")

    async def Pdf(self, request: pb.PagePdfRequest, context: Any) -> AsyncGenerator[pb.PagePdfResponse]:
        async with aclosing(self._browser.pdf(request.page_id)) as pieces:
            async for piece in pieces:
                yield pb.PagePdfResponse(data=piece)

    async def ReadText(self, request: pb.PageReadTextRequest, context: Any) -> pb.PageText:
        text = await self._browser.read_text(
            request.page_id, offset=request.offset, max_characters=_max_characters(request)
        )
        return await self._fitting(messages.text_message(text), "text_characters")

    async def Downloads(self, request: pb.PageDownloadsRequest, context: Any) -> pb.PageDownloadsResponse:
        found = await self._browser.downloads(request.page_id if request.HasField("page_id") else None)
        return pb.PageDownloadsResponse(downloads=map(messages.download_message, found))

    async def Log(self, request: pb.PageLogRequest, context: Any) -> pb.PageLogResponse:
        log = await self._browser.log(request.page_id, after=request.after)
        return messages.log_message(log, most_bytes=MOST_BYTES)

    async def Storage(self, request: pb.BrowserStorageRequest, context: Any) -> pb.BrowserStorage:
        state = storage_text(await self._browser.storage())
        return await self._fitting(pb.BrowserStorage(state=state), "storage_bytes")

    async def SetStorage(self, request: pb.BrowserStorage, context: Any) -> pb.BrowserSetStorageResponse:
        await self._browser.set_storage((await self._fitting(request, "storage_bytes")).state)
        return pb.BrowserSetStorageResponse()

    async def ClosePage(self, request: pb.PageCloseRequest, context: Any) -> pb.PageCloseResponse:
        await self._browser.close_page(request.page_id)
        return pb.PageCloseResponse()

    async def LiveView(self, request: pb.PageLiveViewRequest, context: Any) -> AsyncGenerator[pb.PageFrame]:
        frames = self._browser.live_view(
            request.page_id,
            frames_per_second=request.frames_per_second or _FRAMES_PER_SECOND,
            quality=request.quality or _QUALITY,
        )
        async with aclosing(frames):
            async for frame in frames:
                yield await self._fitting(messages.frame_message(frame), "screenshot_pixels")

    async def _capabilities(self) -> BrowserCapabilities:
        """What the Browser can do, as far as the wire lets it."""
        given = await self._browser.capabilities()
        return replace(given, limits=_limits_on_the_wire(given.limits))

    async def _fitting[Sent: Message](self, message: Sent, limit: str) -> Sent:
        """The message, if it fits the wire. Raises `LimitExceeded`."""
        if (size := message.ByteSize()) <= MOST_BYTES:
            return message
        said = f"{size} bytes are more than the {MOST_BYTES} that are sent at once: ask for less"
        raise LimitExceeded(said, limit=limit, allowed=getattr((await self._capabilities()).limits, limit))


def _destination(request: pb.PageNavigateRequest) -> str | Direction:
    match request.WhichOneof("to"):
        case "url":
            return request.url
        case "direction":
            return messages.direction_of(request.direction)
        case _:
            raise InvalidArgument("say where to go: the request has neither an address nor a direction")


def _timeout(request: pb.PageNavigateRequest | pb.PageActRequest | pb.PageWaitForRequest) -> float | None:
    return request.timeout if request.HasField("timeout") else None


def _ref(request: pb.PageSnapshotRequest | pb.PageScreenshotRequest) -> str | None:
    return request.ref if request.HasField("ref") else None


def _max_characters(request: pb.PageSnapshotRequest | pb.PageReadTextRequest) -> int | None:
    return request.max_characters if request.HasField("max_characters") else None


def _limits_on_the_wire(limits: BrowserLimits) -> BrowserLimits:
    return replace(
        limits,
        text_bytes=min(limits.text_bytes, MOST_BYTES),
        storage_bytes=min(limits.storage_bytes, MOST_BYTES),
        snapshot_characters=min(limits.snapshot_characters, _MOST_CHARACTERS),
        text_characters=min(limits.text_characters, _MOST_CHARACTERS),
    )
