"""The tools of a request, used as if they answered at once.

The rules read top to bottom and call `Desk.use` wherever they need something. A call whose result stands in the transcript
returns it; the first one that does not raises `Wanted`, which becomes the model's tool calls. The next request brings the
results, and the rules run again from the top: nothing is kept between requests.
"""

import json
from collections.abc import Callable, Sequence

from pydantic import JsonValue

from agent.models.interface import ToolCall
from agent.models.offline.documents import document
from agent.models.offline.records import Document
from agent.models.offline.situation import Situation, is_exchange
from agent.prompts import blocks

MOST_ROUNDS = 14
"""Responses with calls for one message, after which the rules make do with what they have. Tool loops end soon after."""

_EFFECTS = frozenset(
    (
        "write_file",
        "append_file",
        "delegate",
        "edit_file",
        "move_file",
        "remove_file",
        "remember",
        "run_command",
        "run_python",
        "save_pdf",
        "save_screenshot",
    )
)
_MOST_PIECES = 12
_MOST_CHARACTERS = 600_000
_MOST_FOLDERS = 12
_SMALL_PIECE = 8_000
"""Bytes of a piece that is sure to come whole, when a larger one was cut on its way."""


class Wanted(Exception):
    """The rules need the results of these calls before they can go on."""

    def __init__(self, calls: Sequence[ToolCall]) -> None:
        super().__init__(", ".join(call.name for call in calls))
        self.calls = tuple(calls)


class ToolFailed(Exception):
    """The tool answered with an error, or the request has no such tool; the message is for a person."""


class Desk:
    """The tools and files of one situation.

    Attributes:
        cut: of each file that is too long to be read whole, how many characters were read.
        pages: pages of the web that were read, by their address; they are looked at as files are.
    """

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._since = 0
        self.cut: dict[str, int] = {}
        self.pages: dict[str, Document] = {}

    def has(self, name: str) -> bool:
        """Whether the request offers the tool `name`."""
        return name in self._situation.tools

    def use(self, name: str, /, **arguments: JsonValue) -> dict[str, JsonValue]:
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
        if self._situation.rounds >= MOST_ROUNDS:
            raise ToolFailed(f"I stopped after {MOST_ROUNDS} steps")
        raise Wanted([ToolCall(call_id="", name=name, arguments=arguments)])

    def together[T](self, *steps: Callable[[], T]) -> list[T]:
        """What each step returns, all that they want asked for at once."""
        found: list[T] = []
        wanted: list[ToolCall] = []
        for step in steps:
            try:
                found.append(step())
            except Wanted as missing:
                wanted += [call for call in missing.calls if call not in wanted]
        if wanted:
            raise Wanted(wanted)
        return found

    def read(self, path: str) -> Document:
        """The file `path`, read piece by piece up to 600,000 characters; raises `ToolFailed`."""
        if path in self.pages:
            return self.pages[path]
        text, offset, more = "", 0, False
        for _ in range(_MOST_PIECES):
            output = self._piece(path, offset)
            text += _unmarked(str(output.get("content", "")))
            following = output.get("next_offset")
            if not isinstance(following, int) or following <= offset:
                return document(path, text)
            offset, more = following, True
            if len(text) >= _MOST_CHARACTERS:
                break
        if more:
            self.cut[path] = len(text)
        return document(path, text, truncated=more)

    def paths(self) -> list[str]:
        """All files of the workspace, by the listing in the request or by `list_files`; empty when neither is there."""
        if self._situation.paths is not None:
            return list(self._situation.paths)
        return self.listed() if self.has("list_files") else []

    def listed(self) -> list[str]:
        """The files that `list_files` knows at the top and in the folders below it, a dozen folders at most."""
        entries = self._entries(".")
        folders = _folders(entries)
        while folders:
            below = self.together(*(lambda path=path: self._entries(path) for path in folders))
            deeper = [entry for found in below for entry in found]
            entries += deeper
            folders = _folders(deeper)[: max(0, _MOST_FOLDERS - len(_folders(entries)))]
        return [path for path, kind in entries if kind != "directory"]

    def search(self, query: str) -> list[tuple[str, str]]:
        """Path and line of every place in the files that has `query`; empty when there is no search."""
        if not self.has("search_files"):
            return []
        rows = _rows(self.use("search_files", query=query).get("matches"))
        return [(str(row.get("path", "")), _unmarked(str(row.get("text", "")))) for row in rows]

    def recall(self, query: str) -> list[str]:
        """Facts remembered about `query`, the oldest first; empty without a memory."""
        if not self.has("recall"):
            return []
        rows = _rows(self.use("recall", query=query[:500]).get("memories"))
        rows.sort(key=lambda row: str(row.get("created_at", "")))
        told = [_unmarked(str(row.get("text", ""))) for row in rows if row.get("kind") != "episodic"]
        return [text for text in told if not is_exchange(text)]

    def _piece(self, path: str, offset: int) -> dict[str, JsonValue]:
        arguments: dict[str, JsonValue] = {"path": path} | ({"offset": offset} if offset else {})
        output = self.use("read_file", **arguments)
        cut = "next_offset" not in output and str(output.get("content", "")).startswith('{"path"')
        return self.use("read_file", **arguments, limit=_SMALL_PIECE) if cut else output

    def _entries(self, folder: str) -> list[tuple[str, str]]:
        arguments: dict[str, JsonValue] = {} if folder == "." else {"path": folder}
        rows = _rows(self.use("list_files", **arguments).get("entries"))
        return [(str(row.get("path", "")).removeprefix("./"), str(row.get("kind", "file"))) for row in rows]


def _folders(entries: Sequence[tuple[str, str]]) -> list[str]:
    return [path for path, kind in entries if kind == "directory" and not path.rpartition("/")[2].startswith(".")]


def _rows(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


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
