"""The rule that runs what a message wants run, and what it says of how that ended."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from agent.models.offline.commands import Command
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.replies import did_not_work

_TOOK = re.compile(r" after \d+\.\d\d s")
_HINT = re.compile(r"; call it again with [^;]*?\bup to (?P<most>\d+)|; there is no more for it here[^;]*")
_BYTES = re.compile(r"\bused more than (\d+) bytes of memory")
_CUT = re.compile(r"^… .* …$", re.MULTILINE)
_PRINTED = re.compile(
    r"I ran [^\n]+(?:, which exited with code 0| in Python)\.\n```\n(?P<output>.*)\n```\s*\Z", re.DOTALL
)
_LEFT_OUT = re.compile(r"^… \d+ more lines\Z| …\Z", re.MULTILINE)
MOST_SHOWN = 4000
MOST_LINES = 60


@dataclass(frozen=True, slots=True)
class Ran:
    """What the sender is told, and what was printed: None where that is no result, for it failed or is not whole."""

    told: str
    output: str | None = None


def ran(desk: Desk, command: Command) -> Ran:
    """What came of it. The same wherever it ran, for it says no times."""
    tool = "run_python" if command.python else "run_command"
    if not desk.has(tool):
        return Ran("I cannot run that: my profile turns the capability compute off.")
    try:
        output = desk.use(tool, **_arguments(command))
    except ToolFailed as error:
        return Ran(did_not_work(error))
    what = "that" if "\n" in command.text else f"`{command.text}`"
    told = f"I ran {what}{_ended(output, command)}"
    texts = [str(output.get(stream, "")).rstrip("\n") for stream in ("stdout", "output", "stderr", "error")]
    shown = (f"```\n{_shown(text)}\n```" for text in texts if text)
    return Ran("\n".join([told, *shown]), _result(output))


def _shown(text: str) -> str:
    """The beginning of what was printed, and how much more there is."""
    lines = text.split("\n")
    kept = "\n".join(lines[:MOST_LINES])[:MOST_SHOWN]
    left = len(lines) - len(kept.split("\n"))
    if kept == text:
        return text
    return f"{kept}\n… {left} more lines" if left else f"{kept} …"


def printed(reply: str) -> str | None:
    """What a reply of before says that something printed, "" where that is no whole result; None for another reply."""
    if not reply.startswith("I ran "):
        return None
    match = _PRINTED.match(reply)
    return match["output"] if match and not _LEFT_OUT.search(match["output"]) else ""


def _arguments(command: Command) -> dict[str, JsonValue]:
    if command.python:
        return {"code": command.text}
    arguments: dict[str, JsonValue] = {"command": command.text}
    if command.memory_mb:
        arguments["memory_mb"] = command.memory_mb
    if command.repeatable:
        arguments["repeatable"] = True
    return arguments


def _ended(output: Mapping[str, JsonValue], command: Command) -> str:
    """How it ended, for a person: what a model would be told to call instead is said as what to write."""
    end = _TOOK.sub("", str(output.get("end", "")))
    end = _BYTES.sub(lambda used: f"used more than {_memory(int(used[1]) >> 20)} of memory", end)
    hint = _HINT.search(end)
    how = _HINT.sub("", end)
    where = " in Python" if command.python else ""
    ended = f"{where}." if how == "done" else f"{where}, which {how}."
    if hint is None:
        return ended
    if hint["most"] is None or command.python:
        return f"{ended} There is no more memory for it here."
    again = f"run `{command.text}` with {_memory(int(hint['most']))} of memory"
    return f"{ended} I did not run it a second time, as that may do harm. To give it the most there is, write: {again}"


def _memory(megabytes: int) -> str:
    return f"{megabytes / 1024:.3g} GB" if megabytes >= 1024 else f"{megabytes} MB"


def _result(output: Mapping[str, JsonValue]) -> str | None:
    text = str(output.get("stdout") or output.get("output") or "")
    fine = output.get("exit_code") == 0 if "exit_code" in output else not output.get("error")
    return text.rstrip("\n") if fine and not _CUT.search(text) else None
