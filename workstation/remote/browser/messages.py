"""What a Browser takes and gives, as messages and back."""

from dataclasses import fields

from empla.v1 import workstation_pb2 as pb
from workstation.interface import (
    ActResult,
    BrowserCapabilities,
    BrowserLimits,
    ConsoleEntry,
    Dialog,
    DialogKind,
    Direction,
    Download,
    DownloadState,
    Frame,
    ImageFormat,
    LoadState,
    Page,
    PageLog,
    PageText,
    Picture,
    RequestEntry,
    Snapshot,
)
from workstation.remote.browser.values import shown
from workstation.remote.enums import choice, numbers

_LOAD_STATES = numbers(LoadState, pb.PageLoadState)
_DIRECTIONS = numbers(Direction, pb.PageNavigateRequest.Direction)
_FORMATS = numbers(ImageFormat, pb.PictureFormat)
_DIALOG_KINDS = numbers(DialogKind, pb.PageDialog.Kind)
_DOWNLOAD_STATES = numbers(DownloadState, pb.PageDownload.State)


# Enums that requests carry.


def load_state_number(state: LoadState | None) -> pb.PageLoadState.ValueType:
    """A load state; none is the unspecified one."""
    return pb.PAGE_LOAD_STATE_UNSPECIFIED if state is None else _LOAD_STATES[state]


def load_state_of(value: int) -> LoadState | None:
    """A load state, or none. Raises `InvalidArgument`."""
    return None if value == pb.PAGE_LOAD_STATE_UNSPECIFIED else choice(_LOAD_STATES, value, "load state")


def direction_number(direction: Direction) -> pb.PageNavigateRequest.Direction.ValueType:
    """A direction."""
    number: pb.PageNavigateRequest.Direction.ValueType = _DIRECTIONS[direction]
    return number


def direction_of(value: int) -> Direction:
    """A direction. Raises `InvalidArgument`."""
    return choice(_DIRECTIONS, value, "direction")


def format_number(form: ImageFormat) -> pb.PictureFormat.ValueType:
    """A picture's format."""
    number: pb.PictureFormat.ValueType = _FORMATS[form]
    return number


def format_of(value: int) -> ImageFormat:
    """A picture's format; PNG if there is none. Raises `InvalidArgument`."""
    return ImageFormat.PNG if value == pb.PICTURE_FORMAT_UNSPECIFIED else choice(_FORMATS, value, "picture format")


# What a Browser can do.


def capabilities_message(given: BrowserCapabilities) -> pb.BrowserCapabilities:
    """Capabilities and limits."""
    limits = {field.name: getattr(given.limits, field.name) for field in fields(BrowserLimits)}
    return pb.BrowserCapabilities(
        engine=given.engine,
        sandboxed=given.sandboxed,
        egress_checked=given.egress_checked,
        live_view=given.live_view,
        persistent=given.persistent,
        limits=pb.BrowserLimits(**limits),
    )


def capabilities_of(message: pb.BrowserCapabilities) -> BrowserCapabilities:
    """Capabilities and limits."""
    return BrowserCapabilities(
        engine=message.engine,
        sandboxed=message.sandboxed,
        egress_checked=message.egress_checked,
        live_view=message.live_view,
        persistent=message.persistent,
        limits=BrowserLimits(**{field.name: getattr(message.limits, field.name) for field in fields(BrowserLimits)}),
    )


# Pages, and what is seen of them.


def page_message(page: Page) -> pb.Page:
    """A page."""
    return pb.Page(page_id=page.page_id, url=shown(page.url), title=shown(page.title), status=page.status)


def page_of(message: pb.Page) -> Page:
    """A page."""
    status = message.status if message.HasField("status") else None
    return Page(page_id=message.page_id, url=message.url, title=message.title, status=status)


def snapshot_message(snapshot: Snapshot) -> pb.PageSnapshot:
    """A snapshot."""
    return pb.PageSnapshot(
        page=page_message(snapshot.page),
        text=shown(snapshot.text),
        truncated=snapshot.truncated,
        changes=snapshot.changes,
    )


def snapshot_of(message: pb.PageSnapshot) -> Snapshot:
    """A snapshot."""
    return Snapshot(page=page_of(message.page), text=message.text, truncated=message.truncated, changes=message.changes)


def result_message(result: ActResult) -> pb.PageActResponse:
    """What an action led to."""
    return pb.PageActResponse(
        page=page_message(result.page),
        opened=map(page_message, result.opened),
        download_ids=result.download_ids,
        dialog=_dialog_message(result.dialog) if result.dialog else None,
    )


def result_of(message: pb.PageActResponse) -> ActResult:
    """What an action led to."""
    return ActResult(
        page=page_of(message.page),
        opened=tuple(map(page_of, message.opened)),
        download_ids=tuple(message.download_ids),
        dialog=_dialog_of(message.dialog) if message.HasField("dialog") else None,
    )


def _dialog_message(dialog: Dialog) -> pb.PageDialog:
    return pb.PageDialog(
        kind=_DIALOG_KINDS[dialog.kind], message=shown(dialog.message), suggestion=shown(dialog.suggestion)
    )


def _dialog_of(message: pb.PageDialog) -> Dialog:
    kind = choice(_DIALOG_KINDS, message.kind, "kind of dialog")
    return Dialog(kind=kind, message=message.message, suggestion=message.suggestion)


def picture_message(picture: Picture) -> pb.Picture:
    """A picture."""
    return pb.Picture(format=_FORMATS[picture.format], data=picture.data, width=picture.width, height=picture.height)


def picture_of(message: pb.Picture) -> Picture:
    """A picture."""
    return Picture(format=format_of(message.format), data=message.data, width=message.width, height=message.height)


def frame_message(frame: Frame) -> pb.PageFrame:
    """A frame of the live view."""
    return pb.PageFrame(picture=picture_message(frame.picture), captured_ns=frame.captured_ns)


def frame_of(message: pb.PageFrame) -> Frame:
    """A frame of the live view."""
    return Frame(picture=picture_of(message.picture), captured_ns=message.captured_ns)


def text_message(text: PageText) -> pb.PageText:
    """Text of a page."""
    return pb.PageText(page=page_message(text.page), text=shown(text.text), offset=text.offset, total=text.total)


def text_of(message: pb.PageText) -> PageText:
    """Text of a page."""
    return PageText(page=page_of(message.page), text=message.text, offset=message.offset, total=message.total)


def download_message(download: Download) -> pb.PageDownload:
    """A download."""
    return pb.PageDownload(
        download_id=download.download_id,
        page_id=download.page_id,
        url=shown(download.url),
        name=shown(download.name),
        state=_DOWNLOAD_STATES[download.state],
        size=download.size,
        path=download.path,
        failure=shown(download.failure),
    )


def download_of(message: pb.PageDownload) -> Download:
    """A download."""
    return Download(
        download_id=message.download_id,
        page_id=message.page_id,
        url=message.url,
        name=message.name,
        state=choice(_DOWNLOAD_STATES, message.state, "state of a download"),
        size=message.size,
        path=message.path if message.HasField("path") else None,
        failure=message.failure,
    )


# A page's log.


def log_message(log: PageLog, *, most_bytes: int) -> pb.PageLogResponse:
    """A log, of which the oldest entries are dropped as far as there are more than `most_bytes` of it."""
    entries: list[ConsoleEntry | RequestEntry] = sorted(
        (*log.console, *log.requests), key=lambda entry: entry.sequence, reverse=True
    )
    message, size = pb.PageLogResponse(dropped=log.dropped), 0
    for number, entry in enumerate(entries):
        written = _entry_message(entry)
        size += written.ByteSize() + 8  # with its tag and its length
        if size > most_bytes:
            message.dropped += len(entries) - number
            break
        if isinstance(written, pb.PageLogResponse.Console):
            message.console.append(written)
        else:
            message.requests.append(written)
    message.console.reverse()
    message.requests.reverse()
    return message


def _entry_message(entry: ConsoleEntry | RequestEntry) -> pb.PageLogResponse.Console | pb.PageLogResponse.Request:
    if isinstance(entry, ConsoleEntry):
        return pb.PageLogResponse.Console(
            sequence=entry.sequence, level=entry.level, text=shown(entry.text), place=shown(entry.place)
        )
    return pb.PageLogResponse.Request(
        sequence=entry.sequence,
        method=shown(entry.method),
        url=shown(entry.url),
        kind=entry.kind,
        status=entry.status,
        failure=shown(entry.failure),
    )


def log_of(message: pb.PageLogResponse) -> PageLog:
    """A log."""
    console = tuple(
        ConsoleEntry(sequence=entry.sequence, level=entry.level, text=entry.text, place=entry.place)
        for entry in message.console
    )
    return PageLog(console=console, requests=tuple(map(_request_of, message.requests)), dropped=message.dropped)


def _request_of(message: pb.PageLogResponse.Request) -> RequestEntry:
    return RequestEntry(
        sequence=message.sequence,
        method=message.method,
        url=message.url,
        kind=message.kind,
        status=message.status if message.HasField("status") else None,
        failure=message.failure,
    )
