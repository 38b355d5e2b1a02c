"""Actions on elements: what each comes to, and elements that do not take it."""

import asyncio
import re
from dataclasses import dataclass
from typing import Literal, assert_never, cast

from playwright.async_api import Error, Frame, Locator, Page, Position
from playwright.async_api import TimeoutError as TimedOut

from workstation.errors import ActionFailed, InvalidArgument, LimitExceeded
from workstation.interface import Action, AnswerDialog, Click, Drag, Fill, Hover, Press, Scroll, Select, Upload
from workstation.local.browser.asking import ask, pointed
from workstation.local.browser.failures import failures, stale
from workstation.local.browser.options import Options
from workstation.local.browser.passwords import Passwords
from workstation.local.browser.snapshots import Snapshots
from workstation.local.browser.uploads import Uploads

_READY_SECONDS, _READY_PART = 3.0, 0.5
"""How long an element may take to become fit for an action, and how much of the time for it at most."""
_TYPED_SECONDS = 1.0
_BUTTONS = ("left", "middle", "right")
_MOST_CLICKS, _MOST_PIXELS, _MOST_KEY = 3, 10_000_000, 50
_CLICKED = "performing click action"
_SURROGATE = re.compile(r"[\ud800-\udfff]")

_EXACT = {
    "color": "#ff8800",
    "date": "2026-02-28",
    "datetime-local": "2026-02-28T13:45",
    "month": "2026-02",
    "range": "a number within its bounds",
    "time": "13:45",
    "week": "2026-W09",
}
"""Fields that leave out or change what they do not understand, with what they do."""
_NO_TEXT = frozenset(("button", "checkbox", "file", "hidden", "image", "radio", "reset", "submit"))


@dataclass(frozen=True, slots=True)
class Hands:
    """What actions on one page are done with."""

    page_id: str
    page: Page
    snapshots: Snapshots
    passwords: Passwords
    uploads: Uploads
    text_bytes: int


@dataclass(frozen=True, slots=True)
class _Field:
    """What an element is, or the field that it is the label of."""

    tag: str
    type: str
    multiple: bool
    disabled: bool
    editable: bool


def check_action(action: Action, hands: Hands) -> None:
    """Raise `InvalidArgument` and `LimitExceeded` for what makes no sense, and `StaleRef`, before anything is done."""
    match action:
        case Click(button=button, clicks=clicks):
            if button not in _BUTTONS:
                raise InvalidArgument(f"a button is left, middle or right, not {button[:_MOST_KEY]!r}")
            if not 1 <= clicks <= _MOST_CLICKS:
                raise InvalidArgument(f"a click is one of 1 to {_MOST_CLICKS}, not {clicks}")
        case Fill(text=text):
            _check_text(text, hands.text_bytes)
        case Press(key=key):
            if not key or len(key) > _MOST_KEY:
                raise InvalidArgument(f"a key is a name such as Enter or Control+a, of at most {_MOST_KEY} characters")
        case Scroll(x=x, y=y):
            if max(abs(x), abs(y)) > _MOST_PIXELS:
                raise InvalidArgument(f"a page is scrolled by at most {_MOST_PIXELS} pixels")
    for ref in (getattr(action, "ref", None), getattr(action, "to_ref", None)):
        if ref is not None:
            hands.snapshots.element(ref)


async def perform(action: Action, hands: Hands, seconds: float) -> None:
    """Do it. Raises `ActionFailed` and `StaleRef`; for an upload the errors of FileSystem as well."""
    ready = 1000 * min(_READY_SECONDS, seconds * _READY_PART)  # what was not ready is told before the time is over
    ref = getattr(action, "ref", None)
    for each in (ref, getattr(action, "to_ref", None)):
        if each is not None:
            await _require_there(hands, each)
    with failures(hands.page_id, ref, hands.passwords.mask):
        match action:
            case Click():
                await _click(action, hands, ready, seconds)
            case Fill():
                await _fill(action, hands, ready)
            case Press():
                await _press(action, hands, ready)
            case Select():
                await _select(action, hands, ready)
            case Hover():
                await hands.snapshots.element(action.ref).hover(timeout=ready)
            case Drag():
                await _drag(action, hands, ready)
            case Scroll():
                await _scroll(action, hands, ready)
            case Upload():
                await hands.uploads.give(hands.page_id, hands.snapshots.element(action.ref), action.paths)
            case AnswerDialog():
                raise ActionFailed("the page waits in no dialog", page_id=hands.page_id)
            case _:
                assert_never(action)


async def _click(click: Click, hands: Hands, ready: float, seconds: float) -> None:
    button = cast(Literal["left", "middle", "right"], click.button)
    element = hands.snapshots.element(click.ref)
    try:
        target, place = element, await ask(element, "place-in-label", ready / 1000)
        if place is None:
            place = await ask(element, "aim", ready / 1000)
        else:  # it may hold a link elsewhere
            target = pointed(element, "label-over")
        position = None if place is None else Position(x=place[0], y=place[1])
        await target.click(
            button=button, click_count=click.clicks, timeout=ready, position=position, no_wait_after=True
        )
    except TimedOut as error:
        if _CLICKED not in error.message:
            raise
        # It was ready and is clicked: what comes of that may take longer.
        await ask(hands.page.main_frame, "size 1", seconds)


async def _require_there(hands: Hands, ref: str) -> None:
    """Raise `StaleRef` at once for an element that is gone; it would be waited for."""
    with failures(hands.page_id, ref, hands.passwords.mask):
        if not await hands.snapshots.element(ref).count():
            raise stale(hands.page_id, ref)


async def _fill(fill: Fill, hands: Hands, ready: float) -> None:
    element = hands.snapshots.element(fill.ref)
    field = await _look(element, ready)
    if field.type == "password" or hands.snapshots.is_password(fill.ref):
        hands.passwords.add(fill.text)
    if field.tag not in ("input", "textarea") and not field.editable:
        raise ActionFailed(_no_field(field), page_id=hands.page_id)
    if field.type in _NO_TEXT:
        raise ActionFailed(f"a {field.type} is no field for text: click it", page_id=hands.page_id)
    await element.fill(fill.text, timeout=ready)
    if field.type in _EXACT and (await element.input_value(timeout=ready)).lower() != fill.text.lower():
        words = f"the field does not take that value; it takes one such as {_EXACT[field.type]}"
        raise ActionFailed(words, page_id=hands.page_id)
    if fill.submit:
        await element.press("Enter", timeout=ready, no_wait_after=True)


async def _press(press: Press, hands: Hands, ready: float) -> None:
    try:
        if press.ref is None:
            await hands.page.keyboard.press(press.key)
        else:
            await hands.snapshots.element(press.ref).press(press.key, timeout=ready)
    except Error as error:
        if "Unknown key" in error.message:
            message = f"there is no key {press.key!r}: keys are named as Enter, ArrowDown, a, Control+a"
            raise InvalidArgument(message) from None
        raise
    await _learn_typed(hands)


async def _learn_typed(hands: Hands) -> None:
    """What is typed into a password field key by key becomes known, so that it can be hidden."""
    for value in await asyncio.gather(*(_typed_into(frame) for frame in hands.page.frames if frame.url)):
        if value:
            hands.passwords.add(value)


async def _typed_into(frame: Frame) -> str:
    try:
        return str(await ask(frame, "typed", _TYPED_SECONDS))
    except Error:
        return ""  # the key led elsewhere


async def _select(select: Select, hands: Hands, ready: float) -> None:
    element = hands.snapshots.element(select.ref)
    field = await _look(element, ready)
    if field.tag != "select":
        raise ActionFailed("it is not a list to select from: click it, then what it opens", page_id=hands.page_id)
    if field.disabled:
        raise ActionFailed("the list is disabled", page_id=hands.page_id)
    if len(select.values) > 1 and not field.multiple:
        raise ActionFailed(f"of this list one option is chosen, not {len(select.values)}", page_id=hands.page_id)
    options = Options(await ask(element, "options", ready / 1000), hands.page_id, hands.passwords.mask)
    await element.select_option(index=[options.place(value) for value in select.values], timeout=ready)


async def _drag(drag: Drag, hands: Hands, ready: float) -> None:
    target = hands.snapshots.element(drag.to_ref)
    await hands.snapshots.element(drag.ref).drag_to(target, timeout=2 * ready)


async def _scroll(scroll: Scroll, hands: Hands, ready: float) -> None:
    if scroll.ref is None:
        await ask(hands.page.main_frame, f"scroll {scroll.x} {scroll.y}", ready / 1000)
        return
    element = hands.snapshots.element(scroll.ref)
    await element.scroll_into_view_if_needed(timeout=ready)
    if scroll.x or scroll.y:
        await ask(element, f"scroll {scroll.x} {scroll.y}", ready / 1000)


async def _look(element: Locator, ready: float) -> _Field:
    return _Field(**await ask(element, "field", ready / 1000))


def _no_field(field: _Field) -> str:
    if field.tag == "select":
        return "it is a list, not a field for text: select one of its options"
    return "it is not a field for text"


def _check_text(text: str, most: int) -> None:
    if _SURROGATE.search(text):
        raise InvalidArgument("the text is not valid Unicode")
    size = len(text.encode())
    if size > most:
        message = f"{size} bytes are more than the {most} that are typed at once"
        raise LimitExceeded(message, limit="text_bytes", allowed=most)
