"""A workspace and a memory behind the tools that an employee's model gets, and the loop that runs its calls."""

import json
import posixpath
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import JsonValue

from agent.models.interface import ChatMessage, Model, ModelRequest, ModelResponse, Tool, ToolCall, ToolResult
from agent.models.offline import OfflineModel
from agent.prompts import mark

ALL_TOOLS = (
    "list_files", "read_file", "search_files", "write_file", "append_file", "move_file", "remove_file", "remember", "recall",
    "run_python",
)  # fmt: skip
MOST_RESPONSES = 16
"""As the worker allows."""


@dataclass
class Reply:
    """What came of one message."""

    text: str
    calls: list[ToolCall]
    pieces: list[str]

    def names(self) -> list[str]:
        return [call.name for call in self.calls]


@dataclass
class Office:
    """Files and memories, and a model at work on them."""

    files: dict[str, str] = field(default_factory=dict)
    memories: list[str] = field(default_factory=list)
    piece: int = 48 * 1024
    tools: Sequence[str] = ALL_TOOLS
    model: Model = field(default_factory=OfflineModel)
    listing: bool = False

    async def ask(
        self, message: str, *, memories: Iterable[str] = (), earlier: Sequence[ChatMessage] = (), sender: str = "Ann"
    ) -> Reply:
        blocks = [mark("memory", memory, source="told") for memory in memories]
        blocks += [mark("workspace", "\n".join(self.files))] if self.listing else []
        turns = [*earlier, ChatMessage(role="user", text="\n".join([*blocks, mark("message", message, sender=sender)]))]
        calls: list[ToolCall] = []
        pieces: list[str] = []
        for _ in range(MOST_RESPONSES):
            response = await self._generate(turns, pieces)
            if not response.calls:
                return Reply(response.text, calls, pieces)
            calls += response.calls
            turns += [response.turn(), ChatMessage(role="tool", results=tuple(map(self._run, response.calls)))]
        raise AssertionError(f"still acting after {MOST_RESPONSES} responses: {[call.name for call in calls]}")

    async def _generate(self, turns: Sequence[ChatMessage], pieces: list[str]) -> ModelResponse:
        tools = tuple(Tool(name=name, description=name, parameters={}) for name in self.tools)
        request = ModelRequest(system="You are Sam, a digital employee.", messages=tuple(turns), tools=tools)
        return await self.model.generate(request, pieces.append)

    def _run(self, call: ToolCall) -> ToolResult:
        try:
            _inside(str(call.arguments.get("path", ".")))
            output = getattr(self, f"_{call.name}")(call.arguments)
        except LookupError as error:
            return ToolResult(call_id=call.call_id, name=call.name, content=str(error.args[0]), is_error=True)
        return ToolResult(call_id=call.call_id, name=call.name, content=json.dumps(output, ensure_ascii=False))

    def _list_files(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        folder = str(arguments.get("path", "."))
        prefix = "" if folder == "." else folder + "/"
        entries: dict[str, JsonValue] = {}
        for path in self.files:
            if path.startswith(prefix):
                first, deeper, _ = path.removeprefix(prefix).partition("/")
                entries[prefix + first] = {"path": prefix + first, "kind": "directory" if deeper else "file", "size": 1}
        return {"entries": list(entries.values()), "truncated": False}

    def _read_file(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        path, offset = str(arguments["path"]), int(str(arguments.get("offset", 0)))
        if path not in self.files:
            raise LookupError(f"not_found: {path}")
        end = offset + min(self.piece, int(str(arguments.get("limit", self.piece))))
        more = end < len(self.files[path])
        content = self.files[path][offset:end]
        return {"path": path, "content": content, "truncated": more, "next_offset": end if more else None}

    def _search_files(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        query = str(arguments["query"]).casefold()
        lines = [(p, n, line) for p, text in self.files.items() for n, line in enumerate(text.splitlines(), 1)]
        found: list[JsonValue] = [
            {"path": p, "line": n, "text": line} for p, n, line in lines if query in line.casefold()
        ]
        return {"matches": found[:100], "truncated": len(found) > 100}

    def _write_file(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        self.files[str(arguments["path"])] = str(arguments["content"])
        return {"path": arguments["path"], "size": len(str(arguments["content"])), "version": "1"}

    def _edit_file(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        path, old = str(arguments["path"]), str(arguments["old"])
        if self.files[path].count(old) != 1:
            raise LookupError(f"the text is in {path} {self.files[path].count(old)} times")
        return self._write_file({"path": path, "content": self.files[path].replace(old, str(arguments["new"]))})

    def _append_file(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        path = str(arguments["path"])
        return self._write_file({"path": path, "content": self.files.get(path, "") + str(arguments["content"])})

    def _move_file(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        self.files[str(arguments["to"])] = self.files.pop(str(arguments["path"]))
        return {"path": arguments["to"], "size": 1, "version": "1"}

    def _remove_file(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        del self.files[str(arguments["path"])]
        return {"removed": 1}

    def _run_python(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        """Run the code where the files are, and take the files that it leaves."""
        with TemporaryDirectory() as place:
            for path, text in self.files.items():
                Path(place, path).parent.mkdir(parents=True, exist_ok=True)
                Path(place, path).write_text(text)
            command = [sys.executable, "-I", "-c", str(arguments["code"])]
            ended = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
            left = [path for path in Path(place).rglob("*") if path.is_file()]
            self.files |= {str(path.relative_to(place)): path.read_text() for path in left}
        end = "raised an exception after 0.01 s" if ended.returncode else "done after 0.01 s"
        return {"end": end, "output": ended.stdout, "error": ended.stderr, "files": []}

    def _remember(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        self.memories.append(str(arguments["text"]))
        return {"memory_id": str(len(self.memories))}

    def _recall(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        wanted = set(str(arguments["query"]).casefold().split())
        fitting = [(n, text) for n, text in enumerate(self.memories) if wanted & set(text.casefold().split())]
        found: list[JsonValue] = [
            {"text": t, "kind": "semantic", "created_at": f"2025-01-01T00:{n:02}"} for n, t in fitting
        ]
        return {"memories": found[::-1][:8]}


def _inside(path: str) -> None:
    if path.startswith("/") or posixpath.normpath(path).startswith(".."):
        raise LookupError(f"PATH_OUTSIDE_WORKSPACE: leads out of the workspace: {path}")
