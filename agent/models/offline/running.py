"""The rule that runs a command: one that stands in a message between backticks, and perhaps what it needs."""

import re
from dataclasses import dataclass

from pydantic import JsonValue

from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.replies import closed

_RUN = re.compile(
    r"^(?:please\s+|can you\s+|could you\s+)*(?:run|execute)\s+(?:(?:the|this)\s+)?(?:(?:shell\s+)?command:?\s+)?"
    r"(`{1,3})(?P<command>[^`]{1,4000})\1(?P<rest>[^`]{0,300})$",
    re.IGNORECASE,
)
_MEMORY = re.compile(r"\b(\d{1,7}(?:\.\d)?)\s*([MG])i?B\b", re.IGNORECASE)
_REPEATABLE = re.compile(
    r"\b(?:(?:may|can) be (?:run|done|tried) (?:again|twice)|safe to (?:repeat|run (?:again|twice))|repeatable)\b",
    re.IGNORECASE,
)
_FILLING = re.compile(
    r"\b(?:with|using|in|it|needs?|takes?|at least|up to|about|of|memory|ram|and|is|please|for me|thanks|thank you)\b|\W",
    re.IGNORECASE,
)
_TOOK = re.compile(r" after \d+\.\d\d s")
MOST_SHOWN = 4000


@dataclass(frozen=True, slots=True)
class Command:
    """A command that is to be run, with the megabytes of memory that it needs if that was said."""

    text: str
    memory_mb: int | None = None
    repeatable: bool = False


def command_in(message: str) -> Command | None:
    """The command that a message wants run, if it wants that and nothing else."""
    match = _RUN.match(message.strip())
    if match is None:
        return None
    rest = match["rest"]
    if _FILLING.sub("", _REPEATABLE.sub("", _MEMORY.sub("", rest))):
        return None
    needed = _MEMORY.search(rest)
    unit = 1024 if needed and needed[2].upper() == "G" else 1
    memory = round(float(needed[1]) * unit) if needed else None
    return Command(match["command"].strip(), memory or None, _REPEATABLE.search(rest) is not None)


def ran(desk: Desk, command: Command) -> str:
    """What came of it. The same wherever it ran, for it says no times."""
    if not desk.has("run_command"):
        return "I cannot run that: my profile turns the capability compute off."
    arguments: dict[str, JsonValue] = {"command": command.text}
    if command.memory_mb:
        arguments["memory_mb"] = command.memory_mb
    if command.repeatable:
        arguments["repeatable"] = True
    try:
        output = desk.use("run_command", **arguments)
    except ToolFailed as error:
        return f"That did not work: {closed(str(error))}"
    end = _TOOK.sub("", str(output.get("end", "")))
    texts = (str(output.get(stream, "")).rstrip("\n") for stream in ("stdout", "stderr"))
    shown = (f"```\n{text[:MOST_SHOWN]}{' …' if len(text) > MOST_SHOWN else ''}\n```" for text in texts if text)
    return "\n".join([f"I ran `{command.text}`, which {end}.", *shown])
