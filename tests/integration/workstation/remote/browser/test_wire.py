"""What the wire adds: requests that no client of ours makes, text that it cannot carry, and messages that are full."""

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from empla import rpc
from empla.v1 import workstation_pb2 as pb
from empla.v1 import workstation_pb2_grpc
from tests.conformance.browsing import Tab
from tests.integration.workstation.remote.browser.conftest import Line, OpenLine
from workstation.errors import (
    ActionFailed,
    InvalidArgument,
    InvalidPath,
    LimitExceeded,
    PageNotFound,
    StaleRef,
    WorkstationError,
)
from workstation.interface import AnswerDialog, Click, Drag, Fill, Hover, Press, Scroll, Select, Upload
from workstation.remote.browser.values import MOST_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="package")

METHODS = {method.name: method for method in pb.DESCRIPTOR.services_by_name["Browser"].methods}
CLICK, SCROLL = pb.PageActRequest.Click, pb.PageActRequest.Scroll
HALF = "\ud800"
HUGE = 1 << 70
FAULTS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)


async def refusal(line: Line, name: str, request: Message) -> grpc.aio.AioRpcError | None:
    """How the RPC ends; nothing of ours checks the request before."""
    call = getattr(workstation_pb2_grpc.BrowserStub(line.connection.channel), name)(request, timeout=30)
    try:
        if METHODS[name].server_streaming:
            async for _ in call:
                call.cancel()
                return None
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    return None


@pytest_asyncio.fixture(loop_scope="package")
async def brisk(open_line: OpenLine) -> AsyncIterator[Line]:
    """One whose calls take no longer than it takes to refuse them."""
    async with open_line(action_seconds=1.0, navigation_seconds=3.0) as opened:
        yield opened


class TestRequestsThatNoClientMakes:
    @pytest.mark.parametrize("name", METHODS)
    async def test_an_empty_one(self, line: Line, name: str) -> None:
        error = await refusal(line, name, GetMessageClass(METHODS[name].input_type)())
        if name in ("Capabilities", "Pages", "Downloads", "Storage", "SetStorage", "ClosePage"):
            assert error is None
        else:
            assert error is not None
            assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
            assert rpc.reason_of(error) in ("INVALID_ARGUMENT", "PAGE_NOT_FOUND")

    @pytest.mark.parametrize(
        ("name", "request_"),
        [
            ("Navigate", pb.PageNavigateRequest(page_id="one")),
            ("Navigate", pb.PageNavigateRequest(page_id="one", direction=0)),  # type: ignore[arg-type]
            ("Navigate", pb.PageNavigateRequest(page_id="one", direction=77)),  # type: ignore[arg-type]
            ("Navigate", pb.PageNavigateRequest(page_id="one", url="http://site.test/", wait_for=77)),  # type: ignore[arg-type]
            ("Navigate", pb.PageNavigateRequest(page_id="one", url="")),
            ("Navigate", pb.PageNavigateRequest(page_id="one", url="http://site.test/", timeout=math.nan)),
            ("Act", pb.PageActRequest(page_id="one")),
            ("Act", pb.PageActRequest(page_id="one", scroll=SCROLL(), timeout=-1)),
            ("Act", pb.PageActRequest(page_id="one", scroll=SCROLL(x=-(1 << 31)))),
            ("Act", pb.PageActRequest(page_id="one", click=CLICK(ref="e1", button="fourth"))),
            ("Act", pb.PageActRequest(page_id="one", click=CLICK(ref="e1", clicks=(1 << 32) - 1))),
            ("WaitFor", pb.PageWaitForRequest(page_id="one", load_state=-1)),  # type: ignore[arg-type]
            ("Screenshot", pb.PageScreenshotRequest(page_id="one", format=9)),  # type: ignore[arg-type]
            ("Snapshot", pb.PageSnapshotRequest(page_id="one", depth=0)),
            ("Snapshot", pb.PageSnapshotRequest(page_id="one", max_characters=-(1 << 63))),
            ("ReadText", pb.PageReadTextRequest(page_id="one", offset=-(1 << 63))),
            ("Log", pb.PageLogRequest(page_id="one", after=-1)),
            ("LiveView", pb.PageLiveViewRequest(page_id="one", frames_per_second=math.inf)),
            ("LiveView", pb.PageLiveViewRequest(page_id="one", quality=101)),
            ("OpenPage", pb.PageOpenRequest(page_id="two", width=1 << 31)),
        ],
        ids=str,
    )
    async def test_what_makes_no_sense(self, line: Line, name: str, request_: Message) -> None:
        await line.local.open_page("one")
        error = await refusal(line, name, request_)
        assert error is not None
        assert (error.code(), rpc.reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")

    async def test_the_defaults_of_the_wire(self, line: Line) -> None:
        await line.local.open_page("one", url=line.site.show("<button onclick='n = 1'>It</button>"))
        assert await refusal(line, "LiveView", pb.PageLiveViewRequest(page_id="one")) is None
        await line.local.snapshot("one")
        assert await refusal(line, "Act", pb.PageActRequest(page_id="one", click=CLICK(ref="e2"))) is None
        assert await refusal(line, "OpenPage", pb.PageOpenRequest(page_id="two")) is None
        picture = await line.remote.screenshot("two")
        assert (picture.width, picture.height) == (1280, 800)

    @pytest.mark.parametrize("name", [name for name in METHODS if name not in ("Navigate", "OpenPage")])
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    async def test_any_request_is_answered_or_refused(self, brisk: Line, name: str, data: st.DataObject) -> None:
        line = brisk
        await line.local.open_page("one", url=line.site.show("<input><select><option>One</select>"))
        await line.local.snapshot("one")
        request = data.draw(messages(METHODS[name].input_type))
        error = await refusal(line, name, request)
        assert error is None or error.code() not in FAULTS, error


def messages(kind: Any) -> st.SearchStrategy[Message]:
    """Any message of that kind, of which many name the page `one` and what is on it."""
    made = GetMessageClass(kind)
    fields = {field.name: values(field) for field in kind.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: _built(made, given))


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kinds = {
        FieldDescriptor.CPPTYPE_STRING: st.sampled_from(
            ["one", "e2", "e3", "", "Enter", "\0", "x" * 5000, "One", "../x"]
        ),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_DOUBLE: st.sampled_from([0.0, -1.0, 0.2, 1.0, math.nan, math.inf, 1e300]),
        FieldDescriptor.CPPTYPE_INT32: st.sampled_from([0, 1, -1, (1 << 31) - 1, -(1 << 31)]),
        FieldDescriptor.CPPTYPE_UINT32: st.sampled_from([0, 1, 3, 50, (1 << 32) - 1]),
        FieldDescriptor.CPPTYPE_INT64: st.sampled_from([0, 1, -1, (1 << 63) - 1, -(1 << 63)]),
        FieldDescriptor.CPPTYPE_ENUM: st.sampled_from([0, 1, 2, 3, 77, -1]),
    }
    if field.name == "page_id":
        one: st.SearchStrategy[Any] = st.just("one")
    elif field.name == "timeout":
        one = st.sampled_from([0.3, -1.0, math.nan])
    else:
        one = messages(field.message_type) if field.message_type else kinds[field.cpp_type]
    return st.lists(one, max_size=3) if field.is_repeated else one


def _built(made: type[Message], given: dict[str, Any]) -> Message:
    request = made()
    for name, value in given.items():  # one after another: of a oneof the last one stays
        request.MergeFrom(made(**{name: value}))
    return request


CALLS: dict[str, Callable[[Tab], Awaitable[object]]] = {
    "navigate": lambda tab: tab.navigate(f"http://site.test/{HALF}"),
    "wait for text": lambda tab: tab.browser.wait_for(tab.page_id, text=HALF),
    "wait for its going": lambda tab: tab.browser.wait_for(tab.page_id, text_gone=HALF),
    "wait for an address": lambda tab: tab.browser.wait_for(tab.page_id, url=HALF),
    "open": lambda tab: tab.browser.open_page(HALF),
    "open an address": lambda tab: tab.browser.open_page("two", url=HALF),
    "press": lambda tab: tab.act(Press(key=HALF)),
    "answer": lambda tab: tab.act(AnswerDialog(accept=True, text=HALF)),
    "storage": lambda tab: tab.browser.set_storage(HALF),
    "no clicks": lambda tab: tab.act(Click(ref="e1", clicks=0)),
    "clicks": lambda tab: tab.act(Click(ref="e1", clicks=HUGE)),
    "no button": lambda tab: tab.act(Click(ref="e1", button="")),
    "half a button": lambda tab: tab.act(Click(ref="e1", button=HALF)),
    "scroll": lambda tab: tab.act(Scroll(x=HUGE)),
    "scroll back": lambda tab: tab.act(Scroll(y=-HUGE)),
    "width": lambda tab: tab.browser.open_page("two", width=HUGE),
    "depth": lambda tab: tab.snapshot(depth=-HUGE),
    "characters": lambda tab: tab.snapshot(max_characters=-HUGE),
    "offset": lambda tab: tab.browser.read_text(tab.page_id, offset=-HUGE),
    "after": lambda tab: tab.browser.log(tab.page_id, after=-HUGE),
    "quality": lambda tab: anext(tab.browser.live_view(tab.page_id, quality=HUGE)),
    "no timeout": lambda tab: tab.browser.wait_for(tab.page_id, text="x", timeout=math.inf),
}


class TestWhatPythonHasAndTheWireHasNot:
    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    async def test_arguments_are_refused_as_locally(self, line: Line, call: Callable[[Tab], Awaitable[object]]) -> None:
        tab = await line.tab("x")
        with pytest.raises(InvalidArgument) as caught:
            await call(tab)
        str(caught.value).encode()

    async def test_numbers_that_only_ask_for_more(self, line: Line) -> None:
        tab = await line.tab("<p>x</p>")
        assert "x" in (await tab.snapshot(depth=HUGE)).text
        assert (await line.remote.read_text(tab.page_id, offset=HUGE)).text == ""
        assert (await line.remote.log(tab.page_id, after=HUGE)).console == ()
        for call in (tab.snapshot, lambda **given: line.remote.read_text(tab.page_id, **given)):
            with pytest.raises(LimitExceeded):
                await call(max_characters=HUGE)

    @pytest.mark.parametrize("ref", [HALF, "e999", "x" * 100_000])
    async def test_refs_that_are_none(self, line: Line, ref: str) -> None:
        tab = await line.tab("<button>x</button>")
        known = await tab.ref("button", "x")
        for action in (
            Click(ref=ref),
            Fill(ref=ref, text="x"),
            Press(key="a", ref=ref),
            Select(ref=ref, values=()),
            Hover(ref=ref),
            Drag(ref=known, to_ref=ref),
            Scroll(ref=ref),
            Upload(ref=ref, paths=()),
        ):
            with pytest.raises(StaleRef):
                await tab.act(action)
        for call in (tab.snapshot, lambda **given: line.remote.screenshot(tab.page_id, **given)):
            with pytest.raises(StaleRef) as caught:
                await call(ref=ref)
            assert caught.value.page_id == tab.page_id

    async def test_ids_that_are_none(self, line: Line) -> None:
        for call in (line.remote.snapshot, line.remote.read_text, line.remote.log):
            with pytest.raises(PageNotFound):
                await call(HALF)
        await line.remote.close_page(HALF)
        assert await line.remote.downloads(HALF) == ()

    async def test_values_and_paths(self, line: Line) -> None:
        tab = await line.tab("<select aria-label=List><option>?</select><input type=file aria-label=File>")
        chosen = await tab.ref("combobox", "List")
        with pytest.raises((InvalidArgument, ActionFailed)):
            await tab.act(Select(ref=chosen, values=(HALF,)))
        with pytest.raises(InvalidPath):
            await tab.act(Upload(ref=await tab.ref("button", "File"), paths=(HALF,)))

    async def test_what_pages_say_in_halves_of_characters(self, line: Line) -> None:
        tab = await line.tab(
            "<select aria-label=List id=list></select><script>const half = '\\ud800'; document.title = 'a' + half;"
            "list.add(new Option('b' + half)); list.add(new Option('c')); console.log(half);"
            "const named = code => eval(code + '\\n//# sourceURL=http://site.test/' + half);"
            "named('console.log(1)'); named('setTimeout(() => { throw new Error(half) })')</script>"
        )
        for answer in (
            await line.remote.pages(),
            await tab.snapshot(),
            await line.remote.read_text(tab.page_id),
            await line.remote.log(tab.page_id),
        ):
            assert answer
        with pytest.raises(ActionFailed, match="there are: b") as caught:
            await tab.act(Select(ref=await tab.ref("combobox", "List"), values=("none",)))
        str(caught.value).encode()

    async def test_halves_of_characters_that_a_site_keeps(self, line: Line) -> None:
        await line.tab("<script>localStorage.setItem('packed', 'a\\ud800b\\udc00ä')</script>")
        assert json.loads(await line.remote.storage()) == json.loads(await line.local.storage())


class TestFullMessages:
    async def test_the_limits_are_those_of_the_wire(self, open_line: OpenLine) -> None:
        limits = {"text_bytes": 1 << 30, "storage_bytes": 1 << 30, "snapshot_characters": 1 << 30, "pages": 7}
        async with open_line(**limits) as line:
            told = (await line.remote.capabilities()).limits
            assert (told.text_bytes, told.storage_bytes, told.pages) == (MOST_BYTES, MOST_BYTES, 7)
            assert told.snapshot_characters * 4 <= MOST_BYTES

    @pytest.mark.parametrize("size", [MOST_BYTES + 1, 20 << 20])
    async def test_too_much_to_be_typed(self, line: Line, size: int) -> None:
        tab = await line.tab("<input aria-label=Field>")
        with pytest.raises(LimitExceeded) as caught:
            await tab.fill("textbox", "Field", "a" * size)
        limits = (await line.local.capabilities()).limits
        assert (caught.value.limit, caught.value.allowed) == ("text_bytes", limits.text_bytes)

    @pytest.mark.parametrize("size", [MOST_BYTES + 1, 20 << 20])
    async def test_too_much_to_be_stored(self, line: Line, size: int) -> None:
        with pytest.raises(LimitExceeded) as caught:
            await line.remote.set_storage(json.dumps({"more": "a" * size}))
        assert (caught.value.limit, caught.value.allowed) == ("storage_bytes", MOST_BYTES)

    async def test_as_much_as_may_be_stored(self, open_line: OpenLine) -> None:
        async with open_line(storage_bytes=MOST_BYTES) as line:
            with pytest.raises(InvalidArgument):  # it came there, and is none
                await line.remote.set_storage("a" * (MOST_BYTES - 5))

    async def test_more_is_stored_than_can_be_told(self, open_line: OpenLine) -> None:
        async with open_line(storage_bytes=1 << 30) as line:
            await line.tab("<script>localStorage.setItem('a', '\u20ac'.repeat(4 << 20))</script>")
            with pytest.raises(LimitExceeded) as caught:
                await line.remote.storage()
            assert (caught.value.limit, caught.value.allowed) == ("storage_bytes", MOST_BYTES)

    async def test_more_text_than_can_be_told(self, open_line: OpenLine) -> None:
        async with open_line(text_characters=100 << 20) as line:
            tab = await line.tab(f"<article><p>{'€' * 2_850_000}</p></article>")
            with pytest.raises(LimitExceeded) as caught:
                await line.remote.read_text(tab.page_id)
            assert caught.value.limit == "text_characters"
            most = int(caught.value.allowed)
            assert len((await line.remote.read_text(tab.page_id, max_characters=most)).text) == most

    async def test_ids_and_addresses_without_end(self, line: Line) -> None:
        for call in (
            lambda: line.remote.open_page("a" * (9 << 20)),
            lambda: line.remote.open_page("a", url="http://site.test/" + "a" * (9 << 20)),
            lambda: line.remote.snapshot("a" * (9 << 20)),
        ):
            with pytest.raises(WorkstationError) as caught:
                await call()
            assert isinstance(caught.value, InvalidArgument | PageNotFound)
            assert len(str(caught.value)) < 1000
