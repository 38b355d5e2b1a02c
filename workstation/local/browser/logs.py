"""What a page wrote to its console, and which requests it made."""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from playwright.async_api import ConsoleMessage, Error, Page, Request, Response

from workstation.interface import ConsoleEntry, PageLog, RequestEntry
from workstation.local.browser.addresses import MOST_CHARACTERS, shown_address
from workstation.local.browser.ears import Ear

_LEVELS = {"log": "log", "info": "info", "warning": "warning", "error": "error", "debug": "debug", "assert": "error"}
_PLACE = re.compile(r"((?:https?|blob)://?[^\s()]+?:\d+):\d+\)?$", re.MULTILINE)
_UNBOUNDED = 4 * MOST_CHARACTERS
"""So much of a text is looked at."""


class PageLogs:
    """The latest entries of a page; `mask` takes out of a text what may not be told, such as what password fields hold."""

    def __init__(self, page: Page, *, most_entries: int, mask: Callable[[str], str]) -> None:
        """Follow a page from now on, for as long as it is open."""
        self._mask, self._most = mask, most_entries
        self._sequence = 0
        self._console: deque[ConsoleEntry] = deque(maxlen=most_entries)
        self._requests: dict[int, RequestEntry] = {}
        self._unanswered: dict[Request, int] = {}
        Ear(page, {"console": self._hear, "pageerror": self._hear_error}, self._say_left_out)
        Ear(page, {"request": self._ask, "response": self._answer, "requestfailed": self._fail}, self._say_left_out)

    def add(self, level: str, text: str, place: str = "") -> None:
        """Put an entry into the console: one of the page's, or one of ours such as that a dialog was dismissed."""
        entry = ConsoleEntry(sequence=self._next(), level=level, text=self._shown(text), place=place)
        self._console.append(entry)

    def read(self, after: int = 0) -> PageLog:
        """The entries after `after`, the oldest first.

        What may not be told may have become known only after an entry was made, so that it is taken out again.
        """
        console = tuple(self._masked(entry) for entry in self._console if entry.sequence > after)
        requests = tuple(
            replace(entry, url=self._address(entry.url)) for entry in self._requests.values() if entry.sequence > after
        )
        dropped = max(self._sequence - max(after, 0), 0) - len(console) - len(requests)
        return PageLog(console=console, requests=requests, dropped=dropped)

    def _masked(self, entry: ConsoleEntry) -> ConsoleEntry:
        return replace(entry, text=self._mask(entry.text), place=self._mask(entry.place))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _hear(self, message: ConsoleMessage) -> None:
        place = message.location
        shown = f"{self._address(place['url'])}:{place['lineNumber'] + 1}" if place["url"] else ""
        self.add(_LEVELS.get(message.type, "log"), message.text, shown)

    def _hear_error(self, error: Error) -> None:
        found = _PLACE.search((error.stack or "")[:_UNBOUNDED])
        self.add(
            "error", f"Uncaught {error.name or 'Error'}: {error.message}", self._address(found[1]) if found else ""
        )

    def _say_left_out(self) -> None:
        self.add("warning", "[more than can be logged: what follows within this second is left out]")

    def _ask(self, request: Request) -> None:
        sequence = self._next()
        self._unanswered[request] = sequence
        self._requests[sequence] = RequestEntry(
            sequence=sequence,
            method=request.method[:20],
            url=self._address(request.url),
            kind=request.resource_type,
        )
        if len(self._requests) > self._most:
            self._forget()

    def _forget(self) -> None:
        oldest = next(iter(self._requests))
        del self._requests[oldest]
        if self._unanswered and (waiting := next(iter(self._unanswered.items())))[1] <= oldest:
            del self._unanswered[waiting[0]]

    def _answer(self, response: Response) -> None:
        sequence = self._unanswered.pop(response.request, 0)
        if sequence in self._requests:
            self._requests[sequence] = replace(self._requests[sequence], status=response.status)

    def _fail(self, request: Request) -> None:
        sequence = self._unanswered.pop(request, 0)
        if sequence in self._requests:
            failure = self._shown(request.failure or "it failed")
            self._requests[sequence] = replace(self._requests[sequence], failure=failure)

    def _address(self, url: str) -> str:
        return shown_address(url, self._mask)

    def _shown(self, text: str) -> str:
        masked = self._mask(text[:_UNBOUNDED]).encode("utf-8", "replace").decode()  # half a character is no text
        return masked if len(masked) <= MOST_CHARACTERS else f"{masked[: MOST_CHARACTERS - 1]}…"
