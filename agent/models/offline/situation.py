"""What a request holds, taken apart: the message, what is remembered, what was said before, which files there are."""

import re
from dataclasses import dataclass

from agent.models.interface import ChatMessage, ModelRequest, ToolCall, ToolResult
from agent.prompts import DataBlock, blocks

_EXCHANGE = re.compile(r"On \d{4}-\d\d-\d\d .{0,200}? wrote: .*\nI answered: ", re.DOTALL)
"""How the proactive loop writes down a conversation turn."""
_EMPLOYEE = re.compile(r"You are (.{1,80}?), a digital employee")


@dataclass(frozen=True, slots=True)
class Situation:
    """One message and everything at hand to answer it.

    `memories` are facts that somebody told; `wrote` is what people wrote in conversations that are remembered; `earlier`
    are the texts of previous turns as (who, text), oldest first; `paths` is
    the workspace listing, None when the request has none; `done` are the calls of this turn with their results, made in
    so many `rounds`; `calls_so_far` counts those of all turns; `employee` is who answers.
    """

    message: str
    memories: tuple[str, ...] = ()
    wrote: tuple[str, ...] = ()
    earlier: tuple[tuple[str, str], ...] = ()
    paths: tuple[str, ...] | None = None
    tools: frozenset[str] = frozenset()
    done: tuple[tuple[ToolCall, ToolResult], ...] = ()
    rounds: int = 0
    calls_so_far: int = 0
    employee: str = ""


def situation(request: ModelRequest) -> Situation:
    """Take `request` apart."""
    last = max((i for i, m in enumerate(request.messages) if m.role == "user"), default=-1)
    before, after = request.messages[: max(last, 0)], request.messages[last + 1 :]
    marked = blocks(request.messages[last].text) if last >= 0 else []
    remembered = [block for block in marked if block.kind == "memory"]
    listing = next((block for block in marked if block.kind == "workspace"), None)
    return Situation(
        _message(marked, request.messages[last].text if last >= 0 else ""),
        tuple(block.text for block in remembered if not _is_episode(block)),
        tuple(written(block.text) for block in remembered if _is_episode(block)),
        tuple((turn.role, _said(turn)) for turn in before if turn.role != "tool" and _said(turn)),
        None if listing is None else tuple(path for line in listing.text.splitlines() if (path := _path(line))),
        frozenset(tool.name for tool in request.tools),
        tuple(_done(after)),
        sum(turn.role == "assistant" for turn in after),
        sum(len(turn.calls) for turn in request.messages),
        named[1] if (named := _EMPLOYEE.match(request.system)) else "",
    )


def is_exchange(text: str) -> bool:
    """Whether a remembered text is a conversation: what the employee answered in it is no fact, only what it once said."""
    return bool(_EXCHANGE.match(text))


def written(exchange: str) -> str:
    """What the other side wrote in a remembered conversation, and when, without the answer."""
    return exchange.partition("\nI answered:")[0]


def _is_episode(block: DataBlock) -> bool:
    source = block.attributes.get("source", "")
    return source == "episodic" or source.startswith("message:") or is_exchange(block.text)


def _message(marked: list[DataBlock], text: str) -> str:
    intents = [block for block in marked if block.kind == "intent"]
    messages = [block for block in marked if block.kind == "message"]
    chosen = intents or messages or marked
    return chosen[-1].text if chosen else text


def _said(turn: ChatMessage) -> str:
    return "\n".join(block.text for block in blocks(turn.text) if block.kind == "message") or turn.text


def _path(line: str) -> str:
    return line.strip().removeprefix("- ").removeprefix("./").partition("\t")[0].strip()


def _done(turns: tuple[ChatMessage, ...]) -> list[tuple[ToolCall, ToolResult]]:
    results = {result.call_id: result for turn in turns for result in turn.results}
    calls = [call for turn in turns for call in turn.calls]
    return [(call, results[call.call_id]) for call in calls if call.call_id in results]
