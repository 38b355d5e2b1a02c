"""The tools of a request, used as if they answered at once.

The rules read top to bottom and call `Desk.use` wherever they need something. A call whose result stands in the transcript
returns it; the first one that does not raises `Wanted`, which becomes the model's tool call. The next request brings the
result, and the rules run again from the top: nothing is kept between requests.
"""

import json

from pydantic import JsonValue

from agent.models.interface import ToolCall
from agent.models.offline.documents import document
from agent.models.offline.records import Document
from agent.models.offline.situation import Situation
from agent.prompts import blocks

MOST_CALLS = 40
"""Calls for one message, after which the rules make do with what they have."""

_EFFECTS = frozenset(("write_file", "append_file", "remember"))
_MOST_PIECES = 12
_MOST_CHARACTERS = 1_000_000
_MOST_FOLDERS = 8


class Wanted(Exception):
    """The rules need this call's result before they can go on."""

    def __init__(self, call: ToolCall) -> None:
        super().__init__(call.name)
        self.call = call


class ToolFailed(Exception):
    """The tool answered with an error, or the request has no such tool; the message is for a person."""


class Desk:
    """The tools and files of one situation."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._since = 0

    def has(self, name: str) -> bool:
        """Whether the request offers the tool `name`."""
        return name in self._situation.tools

    def use(self, name: str, **arguments: JsonValue) -> dict[str, JsonValue]:
        """The output of the tool `name`; raises `Wanted` to get it and `ToolFailed` when there is none."""
        for index, (call, result) in enumerate(self._situation.done):
            if index >= self._since and call.name == name and call.arguments == arguments:
                # What was read before something was written may be out of date.
                self._since = index + 1 if name in _EFFECTS else self._since
                if result.is_error:
                    raise ToolFailed(_unmarked(result.content))
                return _output(result.content)
        if not self.has(name):
            raise ToolFailed(f"I have no tool {name} here")
        if len(self._situation.done) >= MOST_CALLS:
            raise ToolFailed(f"I stopped after {MOST_CALLS} steps")
        raise Wanted(ToolCall(call_id=f"offline-{self._situation.calls_so_far + 1}", name=name, arguments=arguments))

    def read(self, path: str) -> Document:
        """The file `path`, read piece by piece up to a million characters; raises `ToolFailed`."""
        text, offset, more = "", 0, True
        for _ in range(_MOST_PIECES):
            arguments: dict[str, JsonValue] = {"path": path} | ({"offset": offset} if offset else {})
            output = self.use("read_file", **arguments)
            text += _unmarked(str(output.get("content", "")))
            following = output.get("next_offset")
            more = isinstance(following, int) and following > offset and len(text) < _MOST_CHARACTERS
            if not isinstance(following, int) or not more:
                break
            offset = following
        return document(path, text, truncated=more)

    def paths(self) -> list[str]:
        """All files of the workspace, by the listing in the request or by `list_files`, some folders deep."""
        if self._situation.paths is not None:
            return list(self._situation.paths)
        return self.listed() if self.has("list_files") else []

    def listed(self, folder: str = ".") -> list[str]:
        """The files that `list_files` knows in `folder` and the folders in it."""
        found: list[str] = []
        folders = [folder]
        for index in range(_MOST_FOLDERS):
            if index >= len(folders):
                break
            for path, kind in self._entries(folders[index]):
                (folders if kind == "directory" else found).append(path)
        return found

    def search(self, query: str) -> list[tuple[str, str]]:
        """Path and line of every place in the files that has `query`; empty when there is no search."""
        if not self.has("search_files"):
            return []
        matches = self.use("search_files", query=query).get("matches")
        rows = [row for row in matches if isinstance(row, dict)] if isinstance(matches, list) else []
        return [(str(row.get("path", "")), _unmarked(str(row.get("text", "")))) for row in rows]

    def recall(self, query: str) -> list[str]:
        """Texts remembered about `query`, those most fitting first; empty without a memory."""
        if not self.has("recall"):
            return []
        memories = self.use("recall", query=query).get("memories")
        rows = memories if isinstance(memories, list) else []
        return [_unmarked(str(row.get("text", "")) if isinstance(row, dict) else str(row)) for row in rows]

    def _entries(self, folder: str) -> list[tuple[str, str]]:
        entries = self.use("list_files", **({} if folder == "." else {"path": folder})).get("entries")
        rows = [row for row in entries if isinstance(row, dict)] if isinstance(entries, list) else []
        return [(str(row.get("path", "")).removeprefix("./"), str(row.get("kind", "file"))) for row in rows]


def _output(content: str) -> dict[str, JsonValue]:
    text = _unmarked(content)
    try:
        value = json.loads(text)
    except ValueError:
        return {"content": text}
    return value if isinstance(value, dict) else {"content": text}


def _unmarked(text: str) -> str:
    """The text without the marks that name it as data, which is all the rules ever take it for."""
    found = blocks(text)
    return "\n".join(block.text for block in found) if found and text.lstrip().startswith("<data") else text
