"""A message as programs get it: the contract's fields, with the reply on top and the attempts below their stages."""

import json
from typing import Any

from controlplane.cli.document import as_document
from controlplane.cli.errors import WAITING, Failure
from controlplane.cli.output import milliseconds
from empla.v1 import control_pb2

STAGES = ("receive", "analyze", "work", "merge", "send")
"""The way of every message."""

ENDED = ("answered", "collected", "withheld", "failed")
"""The states in which nothing more happens; `waiting` ends only by a person."""

_SHORT_WAIT_MS = 1000
"""What is shorter is no person's doing: a part that asks something waits like that until its message is merged."""
_UNSENT = ("held", "withheld", "failed")


def reply_text(message: control_pb2.Message) -> str:
    """What the employee answered, '' while there is no reply that left or is about to leave."""
    asides = ("notice",) if message.state == "collected" else ("notice", "progress")
    replies = [reply for reply in message.replies if reply.kind not in asides]
    return "\n\n".join(reply.text for reply in replies if reply.state not in _UNSENT)


def notice_text(message: control_pb2.Message) -> str:
    """What the sender is told instead of a reply."""
    return "\n\n".join(reply.text for reply in message.replies if reply.kind == "notice")


def exit_code(message: control_pb2.Message) -> int:
    """How a command ends whose message stands like this, and will by itself stand no other way; see docs/cli.md."""
    if message.state in ("failed", "waiting"):
        return WAITING if message.state == "waiting" else Failure.exit_code
    if message.state == "collected" and not reply_text(message):
        if any(reply.state == "held" for reply in message.replies):
            return WAITING
        return Failure.exit_code if notice_text(message) else 0
    return 0


def answered_later(message: control_pb2.Message) -> bool:
    """Whether a message that failed was answered after all, once a person had decided about it."""
    return message.state == "failed" and any(r.kind == "follow_up" and r.state == "sent" for r in message.replies)


def took(message: control_pb2.Message) -> str:
    """How long a message took, and apart from that how long it waited for a person's decision, if that is worth telling."""
    waited = min(message.waited_ms, message.elapsed_ms)
    if waited < _SHORT_WAIT_MS:
        return milliseconds(message.elapsed_ms)
    return f"{milliseconds(message.elapsed_ms - waited)}, waited {milliseconds(waited)} for a person"


def where_to_look(message: control_pb2.Message) -> str:
    """The command that tells more about a message that was not answered: of what waits for a person, if something does.

    Of several reviews that is the one which the message's own reason is about.
    """
    waiting = sorted((r for r in message.reviews if r.decisions), key=lambda review: review.reason != message.reason)
    if waiting:
        return f"empla reviews show {waiting[0].review_id}"
    return f"empla message show {message.collected_into or message.message_id}"


def message_document(message: control_pb2.Message) -> dict[str, Any]:
    """`message` as plain data: `reply` and `notice` as text, `steps` for its attempts and stages, `effects` parsed."""
    document = as_document(message)
    attempts, _ = document.pop("attempts"), document.pop("stages")
    return {
        "reply": reply_text(message),
        "notice": notice_text(message),
        **document,
        "steps": [_stage(message, name, attempts) for name in STAGES],
        "effects": [_effect(effect) for effect in document["effects"]],
    }


def _stage(message: control_pb2.Message, name: str, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    """One stage; one that was not reached has no duration and no steps."""
    reached = next((stage for stage in message.stages if stage.stage == name), None)
    steps = [_without(attempt, "stage") for attempt in attempts if attempt["stage"] == name]
    return {"stage": name, "duration_ms": reached.duration_ms if reached else None, "steps": steps}


def _effect(effect: dict[str, Any]) -> dict[str, Any]:
    parsed = {"arguments": _parsed(effect["arguments_json"]), "result": _parsed(effect["result_json"])}
    for one in effect["sub_agents"]:
        one["effects"] = [_effect(below) for below in one["effects"]]
    return _without(effect, "arguments_json", "result_json") | parsed


def _without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def _parsed(text: str) -> Any:
    """The JSON in `text`; `text` itself where it was left out, None where there is none."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
