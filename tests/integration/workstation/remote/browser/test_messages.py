"""All that a Browser takes and gives comes out of the wire as it went in."""

import dataclasses
import math
from typing import get_args

import pytest

from empla.v1 import workstation_pb2 as pb
from workstation.errors import InvalidArgument
from workstation.interface import (
    Action,
    ActResult,
    AnswerDialog,
    BrowserCapabilities,
    BrowserLimits,
    Click,
    ConsoleEntry,
    Dialog,
    DialogKind,
    Direction,
    Download,
    DownloadState,
    Drag,
    Fill,
    Frame,
    Hover,
    ImageFormat,
    LoadState,
    Page,
    PageLog,
    PageText,
    Picture,
    Press,
    RequestEntry,
    Scroll,
    Select,
    Snapshot,
    Upload,
)
from workstation.local.browser.browser import default_limits
from workstation.remote.browser import messages
from workstation.remote.browser.actions import act_request, action_of

PAGE = Page(page_id="a", url="http://ä/", title="𝖆\0", status=404)
PICTURE = Picture(format=ImageFormat.JPEG, data=b"\xff\0", width=3, height=4)
LOG = PageLog(
    console=(
        ConsoleEntry(sequence=1, level="log", text="a"),
        ConsoleEntry(sequence=4, level="info", text="", place="p"),
    ),
    requests=(
        RequestEntry(sequence=2, method="GET", url="http://a/", kind="document"),
        RequestEntry(sequence=3, method="POST", url="http://b/", kind="fetch", status=0, failure="why"),
    ),
    dropped=7,
)
ACTIONS = [
    Click(ref="e1"),
    Click(ref="e1", button="middle", clicks=3),
    Fill(ref="e1", text=""),
    Fill(ref="e1", text="ä\0\n", submit=True),
    Press(key="Control+a"),
    Press(key="a", ref=""),
    Press(key="a", ref="e1"),
    Select(ref="e1", values=()),
    Select(ref="e1", values=("a", "", "a")),
    Hover(ref="e1"),
    Drag(ref="e1", to_ref="e2"),
    Scroll(),
    Scroll(ref="e1", x=-7, y=8),
    Upload(ref="e1", paths=()),
    Upload(ref="e1", paths=("a/b", "\\xff")),
    AnswerDialog(accept=True),
    AnswerDialog(accept=False, text=""),
    AnswerDialog(accept=True, text="a"),
]


@pytest.mark.parametrize("action", ACTIONS, ids=repr)
@pytest.mark.parametrize("timeout", [None, 0.0, 2.5, math.inf])
def test_actions(action: Action, timeout: float | None) -> None:
    request = pb.PageActRequest.FromString(act_request("one", action, timeout).SerializeToString())
    assert action_of(request) == action
    assert request.page_id == "one"
    assert (request.timeout if request.HasField("timeout") else None) == timeout


def test_there_is_an_example_of_every_action() -> None:
    assert {type(action) for action in ACTIONS} == set(get_args(Action.__value__))


@pytest.mark.parametrize("page", [PAGE, dataclasses.replace(PAGE, status=None), dataclasses.replace(PAGE, status=0)])
def test_pages(page: Page) -> None:
    assert messages.page_of(messages.page_message(page)) == page


def test_snapshots() -> None:
    for truncated, changes in ((False, True), (True, False)):
        snapshot = Snapshot(page=PAGE, text="- ä", truncated=truncated, changes=changes)
        assert messages.snapshot_of(messages.snapshot_message(snapshot)) == snapshot


@pytest.mark.parametrize(
    "dialog", [None, *(Dialog(kind=kind, message="Sure?", suggestion="ä") for kind in DialogKind)], ids=str
)
def test_results(dialog: Dialog | None) -> None:
    for opened, downloads in (((), ()), ((PAGE, PAGE), ("d-1", "d-2"))):
        result = ActResult(page=PAGE, opened=opened, download_ids=downloads, dialog=dialog)
        assert messages.result_of(messages.result_message(result)) == result


@pytest.mark.parametrize("form", ImageFormat)
def test_pictures_and_frames(form: ImageFormat) -> None:
    picture = dataclasses.replace(PICTURE, format=form)
    assert messages.picture_of(messages.picture_message(picture)) == picture
    frame = Frame(picture=picture, captured_ns=1 << 62)
    assert messages.frame_of(messages.frame_message(frame)) == frame


def test_texts() -> None:
    text = PageText(page=PAGE, text="ä", offset=3, total=1 << 40)
    assert messages.text_of(messages.text_message(text)) == text


@pytest.mark.parametrize("state", DownloadState)
@pytest.mark.parametrize("path", [None, "", "downloads/ä"])
def test_downloads(state: DownloadState, path: str | None) -> None:
    download = Download(
        download_id="d", page_id="p", url="u", name="n", state=state, size=1 << 40, path=path, failure="f"
    )
    assert messages.download_of(messages.download_message(download)) == download


def test_enums_of_requests() -> None:
    for state in (None, *LoadState):
        assert messages.load_state_of(messages.load_state_number(state)) == state
    for direction in Direction:
        assert messages.direction_of(messages.direction_number(direction)) == direction
    for read in (messages.load_state_of, messages.direction_of, messages.format_of):
        for number in (-1, 99):
            with pytest.raises(InvalidArgument):
                read(number)


def test_capabilities() -> None:
    for number in range(1 << 4):
        flags = [bool(number & 1 << bit) for bit in range(4)]
        names = ("sandboxed", "egress_checked", "live_view", "persistent")
        given = BrowserCapabilities(
            engine="Chromium 1", limits=default_limits(), **dict(zip(names, flags, strict=True))
        )
        assert messages.capabilities_of(messages.capabilities_message(given)) == given


def test_every_limit_crosses() -> None:
    names = {field.name for field in dataclasses.fields(BrowserLimits)}
    assert names == {field.name for field in pb.BrowserLimits.DESCRIPTOR.fields}


def test_a_log() -> None:
    assert messages.log_of(messages.log_message(LOG, most_bytes=1000)) == LOG


def test_of_a_log_that_is_too_large_the_latest_entries_are_told() -> None:
    entries = [ConsoleEntry(sequence=2 * n + 1, level="log", text="𝖆" * 2000) for n in range(1000)]
    requests = [RequestEntry(sequence=2 * n + 2, method="GET", url="a" * 2000, kind="fetch") for n in range(1000)]
    log = PageLog(console=tuple(entries), requests=tuple(requests), dropped=5)
    message = messages.log_message(log, most_bytes=1 << 20)
    told = messages.log_of(message)
    assert message.ByteSize() <= 1 << 20
    assert message.ByteSize() > (1 << 20) - 20_000
    assert told.console == log.console[-len(told.console) :]
    assert told.requests == log.requests[-len(told.requests) :]
    assert told.dropped == 5 + 2000 - len(told.console) - len(told.requests)
