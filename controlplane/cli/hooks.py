"""What an employee reports of its hooks, for people."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.json_format import MessageToDict

from controlplane.cli.safe_text import one_line
from empla.v1 import control_pb2

MAX_LINE = 240


def hook_lines(health: control_pb2.EmployeeHealth) -> Iterator[str]:
    """A line for each hook, by name. The employee's process wrote it: what makes no sense is left out."""
    hooks = MessageToDict(health.reported).get("hooks")
    for name, counts in sorted(hooks.items()) if isinstance(hooks, dict) else ():
        if isinstance(counts, dict):
            yield one_line(f"{name}: {_said(counts)}", MAX_LINE)


def _said(counts: dict[str, Any]) -> str:
    if missing := counts.get("missing"):
        return f"not loaded: {missing}"
    number = {name: value for name, value in counts.items() if isinstance(value, float) and value}
    told = [f"told {number.get('calls', 0):.0f} times"]
    told += [f"{number[name]:.0f} {word}" for name, word in _WORDS.items() if name in number]
    last = f"; last error: {counts['last_error']}" if counts.get("last_error") else ""
    return ", ".join(told) + last


_WORDS = {
    "failed": "failed",
    "timed_out": "of them too late",
    "dropped": "dropped for want of room",
    "waiting": "waiting",
}
