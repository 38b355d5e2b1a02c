"""Pages of the web through the tools of the browser, and in plain words what kept them from being opened."""

import json
import re
from dataclasses import dataclass

from pydantic import JsonValue

from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.documents import document
from agent.models.offline.facts import is_instruction
from agent.prompts import blocks

_MOST_PIECES = 5
_STATUS = {404: "there is no such page", 410: "the page is gone", 403: "the site does not let me see it",
           401: "it wants a login", 429: "the site asks for fewer requests"}  # fmt: skip
_REASONS = {
    "PAGE_TIMED_OUT": "it did not answer in time; please try again later",
    "NAVIGATION_FAILED": "it gave no page ({said})",
    "SANDBOX_UNAVAILABLE": "no browser can be started on this machine ({said})",
    "PAGE_CRASHED": "the page crashed",
}
_ALLOWING = re.compile(r"\(empla egress allow EMPLOYEE (?P<rule>[^()`]+)\)")


class NotOpened(Exception):
    """A page could not be opened; the message is for a person."""


@dataclass(frozen=True, slots=True)
class WebPage:
    """An open page: `name` is what the tools call it, `files` are those it gave instead of, or besides, something to see."""

    name: str
    url: str
    title: str
    files: tuple[str, ...] = ()
    refused: str = ""

    @property
    def shown(self) -> str:
        """What to call it to a person."""
        return f"“{self.title}” ({self.url})" if self.title else self.url


class Web:
    """Opens and reads pages for the employee called `employee`."""

    def __init__(self, desk: Desk, employee: str) -> None:
        self._desk, self._employee = desk, employee

    def open(self, url: str, name: str) -> WebPage:
        """Open `url`; raises `NotOpened`."""
        arguments: dict[str, JsonValue] = {"url": url}
        if name != "main":
            arguments["page"] = name
        try:
            head, text = _parted(self._desk.use("open_page", **arguments))
        except ToolFailed as error:
            raise NotOpened(explained(url, str(error), self._employee)) from error
        status = head.get("status")
        if isinstance(status, int) and status >= 400:
            why = _STATUS.get(status, "the site has a fault" if status >= 500 else "the site refused it")
            raise NotOpened(f"I could not open {url}: {why} (it answered {status}).")
        place = next((block.attributes for block in blocks(text)), {})
        title = place.get("title", "")
        title = "" if is_instruction(title) else title
        shown = place.get("url", "")
        # An address that gives a file leaves the page blank, which is not where the file came from.
        return WebPage(name, url if shown in ("", "about:blank") else shown, title, *_downloads(head))

    def read(self, page: WebPage) -> str:
        """The text of a page as Markdown, up to 60,000 characters; it is then known to the desk as well."""
        text, offset = "", 0
        for _ in range(_MOST_PIECES):
            more: dict[str, JsonValue] = {} if page.name == "main" else {"page": page.name}
            more |= {"offset": offset} if offset else {}
            try:
                head, marked = _parted(self._desk.use("read_page", **more))
            except ToolFailed as error:
                raise NotOpened(explained(page.url, str(error), self._employee)) from error
            text += "\n".join(block.text for block in blocks(marked))
            following = head.get("next_offset")
            if not isinstance(following, int) or following <= offset:
                break
            offset = following
        else:
            self._desk.cut[page.url] = len(text)
        self._desk.pages[page.url] = document(page.url, text)
        return text


def explained(url: str, error: str, employee: str) -> str:
    """Why a page could not be opened, and who can do something about it."""
    reason, _, why = error.partition(": ")
    said = re.sub(r"\s*\((?:open_page|take a|open its|answer it|if the page).*$", "", why, flags=re.DOTALL).strip(" .")
    if reason == "NAVIGATION_BLOCKED":
        return _blocked(url, why, employee)
    if reason == "DIALOG_OPEN":
        return f"I opened {url}, but it waits in a dialog, which my fixed rules do not answer."
    return f"I could not open {url}: {_REASONS.get(reason, '{said}').format(said=said or error)}."


def _blocked(url: str, why: str, employee: str) -> str:
    said, advice, command = why.partition(", and an operator can allow it")
    refused = f"I may not open {url}: {said.strip(' .') or 'my egress rules do not allow it'}."
    if not advice:
        return refused
    found = _ALLOWING.search(command)
    allowing = f"empla egress allow {employee or 'EMPLOYEE'} {found['rule'] if found else 'DOMAIN'}"
    return f"{refused} An operator can allow it with `{allowing}`; then ask me again."


def _parted(output: dict[str, JsonValue]) -> tuple[dict[str, JsonValue], str]:
    """A result's own facts, and the marked text of others below them."""
    content = output.get("content")
    if not isinstance(content, str):
        return output, ""
    try:
        head, end = json.JSONDecoder().raw_decode(content)
    except ValueError:
        return {}, content
    return (head, content[end:]) if isinstance(head, dict) else ({}, content)


def _downloads(head: dict[str, JsonValue]) -> tuple[tuple[str, ...], str]:
    rows = head.get("downloads")
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    failed = next((str(row["failure"]) for row in found if row.get("failure")), "")
    return tuple(str(row["path"]) for row in found if row.get("path") and row.get("state") == "complete"), failed
