"""Forms that pages send to other hosts: each is held until it is decided whether it may go."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urldefrag, urlsplit

from playwright.async_api import Browser as Chromium
from playwright.async_api import CDPSession, Error

from workstation.errors import SubmissionBlocked
from workstation.local.browser.allowances import Allowances
from workstation.local.browser.tasks import Tasks

log = logging.getLogger(__name__)

_KEPT = 200
_FAULT = "whether the form may be sent could not be decided"
_ABORT = {"errorReason": "Aborted"}
"""Leaves the page where it is, with what was entered."""

type Refuse = Callable[[str, str], str | None]


@dataclass(frozen=True, slots=True)
class _Refused:
    at: float
    sender: str
    receiver: str
    reason: str


class Submissions:
    """Asks `refuse` for each form that goes from one host to another why it may not; '' or None if it may.

    Chromium holds each request for a document meanwhile, those of frames, new windows and redirects with them; all that is
    no form goes on at once. A form whose data stand in its address is one where `announce` said so.
    """

    def __init__(self, refuse: Refuse | None, tasks: Tasks) -> None:
        self._refuse, self._tasks = refuse, tasks
        self._announced: deque[str] = deque(maxlen=_KEPT)
        self._refused: deque[_Refused] = deque(maxlen=_KEPT)
        self._allowed = Allowances()
        self._tell: Callable[[str, str], None] = lambda *_: None

    def follow(self, tell: Callable[[str, str], None]) -> None:
        """Have `tell` told of each that is refused: the host of its page, and a sentence about it."""
        self._tell = tell

    async def watch(self, chromium: Chromium) -> None:
        """Hold what this Chromium asks for from now on. Raises Playwright's `Error`."""
        if self._refuse is None:
            return
        session = await chromium.new_browser_cdp_session()
        session.on(
            "Fetch.requestPaused",
            lambda asked: self._tasks.start(self._decide(session, asked), "a request for a document"),
        )
        await session.send("Fetch.enable", {"patterns": [{"resourceType": "Document"}]})

    def announce(self, given: dict[str, Any]) -> None:
        """A page is about to go somewhere: `Page.frameRequestedNavigation` of Chromium's protocol."""
        if self._refuse is not None and given.get("reason") == "formSubmissionGet":
            self._announced.append(urldefrag(given["url"]).url)

    def allow(self, sender: str, receiver: str, seconds: float) -> None:
        """Let what would be refused between these hosts go for so long. Raises `InvalidArgument`."""
        self._allowed.allow((sender, receiver), seconds)

    def require_sent(self, page_id: str, since: float, hosts: Iterable[str]) -> None:
        """Raise `SubmissionBlocked` if a form that came from one of these hosts was not sent `since` then (monotonic)."""
        senders = {"", *hosts}
        for one in self._refused:
            if one.at >= since and one.sender in senders:
                raise SubmissionBlocked(one.reason, page_id=page_id, sender=one.sender, receiver=one.receiver)

    async def _decide(self, session: CDPSession, asked: dict[str, Any]) -> None:
        request = {"requestId": asked["requestId"]}
        reason = _FAULT
        try:
            reason = await self._reason(session, asked)
        finally:
            try:
                if reason:
                    await session.send("Fetch.failRequest", request | _ABORT)
                else:
                    # A redirected one fails in Chromium 150 where its address is not named.
                    again = {"url": asked["request"]["url"]} if "redirectedRequestId" in asked else {}
                    await session.send("Fetch.continueRequest", request | again)
            except Error:
                log.debug("a request ended before it was decided about")

    async def _reason(self, session: CDPSession, asked: dict[str, Any]) -> str:
        """Why a request may not go; '' for all that is no form for another host."""
        if not self._is_form(asked["request"]):
            return ""
        sender, receiver = await _sender(session, asked), host_of(asked["request"]["url"])
        if self._refuse is None or sender == receiver or (sender, receiver) in self._allowed:
            return ""
        if not (refusal := self._refuse(sender, receiver)):
            return ""
        reason = f"{refusal}: a form of {sender or 'a hidden page'} goes to {receiver}"
        self._tell(sender, f"a form was not sent: {reason}")
        self._refused.append(_Refused(time.monotonic(), sender, receiver, reason))
        return reason

    def _is_form(self, request: dict[str, Any]) -> bool:
        if request["method"] != "GET":
            return True
        if request["url"] not in self._announced:
            return False
        self._announced.remove(request["url"])
        return True


async def _sender(session: CDPSession, asked: dict[str, Any]) -> str:
    """The host of the page that the form is in, also after redirects; '' for one that hides it."""
    headers = {name.lower(): value for name, value in asked["request"]["headers"].items()}
    return (
        host_of(headers.get("origin", ""))
        or host_of(headers.get("referer", ""))
        or await _host_of_window(session, asked["frameId"])
    )


async def _host_of_window(session: CDPSession, frame_id: str) -> str:
    """The host that a window shows, or whoever opened it does, for that may be who sends the form there."""
    targets = {each["targetId"]: each for each in (await session.send("Target.getTargets"))["targetInfos"]}
    window = targets.get(frame_id, {})
    return host_of(targets.get(window.get("openerId"), window).get("url", ""))


def host_of(url: str) -> str:
    """The host of an address; '' where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
