"""Failures of Playwright, translated into the errors of the workstation.

What Playwright says is never passed on as it is: it quotes what was typed, and tells what it did line by line.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.async_api import Error
from playwright.async_api import TimeoutError as TimedOut

from workstation.errors import ActionFailed, BrowserError, NavigationFailed, PageNotFound, PageTimedOut, StaleRef

_MOST_CHARACTERS = 200

_GONE = re.compile(r"Target (page, context or browser has been closed|closed)|has been closed|Connection closed", re.I)
_NO_ELEMENT = re.compile(
    r"does not match any element|not attached|detached|Failed to find frame|frame was detached|No frame for given", re.I
)
_TOO_DEEP = "Maximum call stack size exceeded"
_NET = re.compile(r"(?:net::|NS_)?(ERR_[A-Z0-9_]+)")
_COVERED = re.compile(r"^[^<\n]*(<.*) intercepts pointer", re.MULTILINE)

_WORDS = {
    "ERR_NAME_NOT_RESOLVED": "there is no host of that name",
    "ERR_CONNECTION_REFUSED": "nothing listens there",
    "ERR_CONNECTION_RESET": "the server cut the connection",
    "ERR_CONNECTION_CLOSED": "the server closed the connection",
    "ERR_CONNECTION_TIMED_OUT": "no connection came about",
    "ERR_TIMED_OUT": "no answer came",
    "ERR_EMPTY_RESPONSE": "the server closed the connection without an answer",
    "ERR_INVALID_RESPONSE": "the server's answer makes no sense",
    "ERR_INVALID_HTTP_RESPONSE": "the server's answer makes no sense",
    "ERR_TOO_MANY_REDIRECTS": "it redirects in a circle",
    "ERR_UNSAFE_REDIRECT": "it redirects to an address that is none of the web",
    "ERR_UNKNOWN_URL_SCHEME": "it leads to an address that is none of the web",
    "ERR_UNSAFE_PORT": "browsers open no page at that port",
    "ERR_SSL_PROTOCOL_ERROR": "the server does not speak https",
    "ERR_ABORTED": "the server gave no page",
    "ERR_TUNNEL_CONNECTION_FAILED": "the way out could not connect to it",
    "ERR_PROXY_CONNECTION_FAILED": "there is no way out",
    "ERR_INVALID_URL": "it is no address",
    "ERR_CONTENT_DECODING_FAILED": "the answer is damaged",
    "ERR_INCOMPLETE_CHUNKED_ENCODING": "the answer was cut short",
    "ERR_CONTENT_LENGTH_MISMATCH": "the answer was cut short",
}
_ELEMENT = (
    (
        re.compile(r"not visible|outside of the viewport|is hidden", re.I),
        "it is hidden, or cannot be scrolled into view",
    ),
    (re.compile(r"not enabled|is disabled", re.I), "it is disabled"),
    (re.compile(r"not editable|readonly", re.I), "it is read-only"),
    (re.compile(r"not stable", re.I), "it keeps moving"),
)
_KINDS = (
    (
        re.compile(
            r"not an <input>|cannot be filled|does not have a role allowing|Cannot type text|Malformed value", re.I
        ),
        "it is not a field that takes this text",
    ),
    (re.compile(r"not a <select>", re.I), "it is not a list to select from"),
)


def net_error(message: str) -> str:
    """Chromium's name for why a request failed, '' if there is none."""
    found = _NET.search(message)
    return found[1] if found else ""


def net_words(name: str) -> str:
    """Why a request failed, as a clause."""
    if "CERT" in name:
        return f"its certificate is not valid ({name.removeprefix('ERR_').lower().replace('_', ' ')})"
    return _WORDS.get(name, f"it failed ({name.removeprefix('ERR_').lower().replace('_', ' ') or 'no reason given'})")


def is_gone(error: Error) -> bool:
    """Whether the page, its context or Chromium is closed."""
    return bool(_GONE.search(_first_line(error)))


@contextmanager
def failures(page_id: str, ref: str | None = None, mask: Callable[[str], str] = str) -> Iterator[None]:
    """Translate what Playwright raises about a page, or about the element `ref` of it; not that it is gone."""
    try:
        yield
    except Error as error:
        if is_gone(error):
            raise  # whoever knows the page knows how it ended
        raise translate(error, page_id, ref, mask) from None


def translate(error: Error, page_id: str, ref: str | None = None, mask: Callable[[str], str] = str) -> BrowserError:
    """The error that this is to our callers."""
    message = error.message
    if is_gone(error):
        return PageNotFound(f"the page {page_id} is closed", page_id=page_id)
    if _TOO_DEEP in message:
        return PageTimedOut("the page is nested too deeply to be looked at: read its text", page_id=page_id)
    if ref is not None:
        return _of_element(error, page_id, ref, mask)
    if isinstance(error, TimedOut):
        return PageTimedOut("the page did not answer in time", page_id=page_id)
    if name := net_error(message):
        return NavigationFailed(net_words(name), page_id=page_id)
    return ActionFailed(f"the page could not do that: {mask(_plain(error))}", page_id=page_id)


def stale(page_id: str, ref: str) -> StaleRef:
    """No element of the latest snapshot has that ref."""
    shown = ref if len(ref) <= 20 and ref.isprintable() else "that"
    message = f"{shown} is no ref of the page's latest snapshot: take a new snapshot"
    return StaleRef(message, page_id=page_id, ref=ref[:_MOST_CHARACTERS])


def _of_element(error: Error, page_id: str, ref: str, mask: Callable[[str], str]) -> BrowserError:
    message = error.message
    if _NO_ELEMENT.search(message):
        return stale(page_id, ref)
    for pattern, words in _KINDS:
        if pattern.search(message):
            return ActionFailed(words, page_id=page_id)
    if not isinstance(error, TimedOut):
        return ActionFailed(f"the element did not take it: {mask(_plain(error))}", page_id=page_id)
    return _of_waiting(message, page_id, ref, mask)


def _of_waiting(message: str, page_id: str, ref: str, mask: Callable[[str], str]) -> BrowserError:
    """Why an element was not ready within its time: the last thing that Playwright waited for."""
    covers = list(_COVERED.finditer(message))
    found = [(list(pattern.finditer(message)), words) for pattern, words in _ELEMENT]
    last = max(((spans[-1].start(), words) for spans, words in found if spans), default=(-1, ""))
    if covers and covers[-1].start() > last[0]:
        tree = covers[-1][1].removesuffix(" subtree").rpartition(" from <")  # Playwright names the tree it stands in
        cover = mask(" ".join((f"<{tree[2]}" if tree[1] else tree[2]).split()))[:_MOST_CHARACTERS]
        return ActionFailed(f"it is covered by {cover}, which would take the click", page_id=page_id)
    if last[1]:
        return ActionFailed(last[1], page_id=page_id)
    if "waiting for locator" in message and "locator resolved to" not in message:
        return stale(page_id, ref)
    return PageTimedOut("the page did not answer in time", page_id=page_id)


def _first_line(error: Error) -> str:
    return error.message.split("\n", 1)[0]


def _plain(error: Error) -> str:
    """What happened, without the name of the call, its arguments and its log."""
    line = re.sub(r"^[A-Z]\w+\.\w+: ", "", _first_line(error))
    return re.sub(r"^(Protocol error \([\w.]+\): |Error: )+", "", line)[:_MOST_CHARACTERS]
