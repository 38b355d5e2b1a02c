"""What a message wants done side by side: "in parallel: count the deals in a.csv; summarise notes.md"."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from agent.models.offline import wording
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.replies import did_not_work
from agent.prompts import blocks

_PARALLEL = re.compile(
    r"(?:(?:do|work on|see to|look into) (?:these|this|both|all of (?:this|these)|the following) )?"
    r"(?:in parallel|side by side)\s*[:,]\s*(?P<tasks>.+)",
    re.IGNORECASE | re.DOTALL,
)
_PIECE = re.compile(r"(?:`[^`]*`|[^;\n`]|`(?![^`]*`))+")
_BEFORE = re.compile(r"^\s*(?:[-*•]\s+|\d{1,2}[.)]\s+|and\s+)*", re.IGNORECASE)
_MOST = 8
_MOST_CHARACTERS = 16_000


def side_by_side(message: str) -> tuple[str, ...]:
    """The tasks that `message` wants done side by side; none when it wants nothing of the kind, or more than can be."""
    match = _PARALLEL.fullmatch(wording.LEAD.sub("", message.strip()[:_MOST_CHARACTERS]))
    pieces = [_BEFORE.sub("", piece).strip() for piece in _PIECE.findall(match["tasks"])] if match else []
    tasks = tuple(filter(None, pieces))
    return tasks if 2 <= len(tasks) <= _MOST else ()


def delegated(tasks: Sequence[str], desk: Desk) -> str:
    """What came of tasks that others worked on, each under its number; raises `Wanted` while that is missing."""
    try:
        output = desk.use("delegate", tasks=[{"instruction": task} for task in tasks])
    except ToolFailed as error:
        return did_not_work(error)
    ends, answers = _read(output)
    return numbered(_told(end, answers.get(str(number), "")) for number, end in enumerate(ends, 1))


def numbered(answers: Iterable[str]) -> str:
    """The answers to several tasks as one."""
    return "\n\n".join(f"{number}. {answer}" for number, answer in enumerate(answers, 1))


def _told(end: dict[str, Any], answer: str) -> str:
    if end.get("outcome") == "answered":
        return answer
    return "\n".join(filter(None, [f"I did not get to the end of this: {end.get('reason', '')}.", answer]))


def _read(output: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """How each task ended, and the answers by the number of their tasks."""
    first, _, rest = str(output.get("content", "")).partition("\n")
    ends = output["tasks"] if "tasks" in output else json.loads(first)["tasks"]
    return ends, {block.attributes.get("task", ""): block.text for block in blocks(rest)}
