"""A review for people: what waits, what each decision about it does, and how it was decided."""

import json
from collections.abc import Iterator

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from controlplane.cli.output import dim, local_time, quoted
from controlplane.cli.safe_text import one_line, printable
from empla.v1 import control_pb2

_AFTER = {"edit": " TEXT", "answer": " TEXT", "classify": " CATEGORY", "reject": " --reason TEXT"}
_DOES = {
    ("draft", "approve"): "sends it as it is",
    ("draft", "edit"): "sends TEXT instead of it",
    ("draft", "reject"): "sends nothing: the reply is withheld",
    ("unknown_after_send", "approve"): "sends it again: who gets it may have it twice",
    ("unknown_after_send", "reject"): "takes it for arrived: it is not sent again",
    ("classification", "classify"): "has the employee work on the message, as one of CATEGORY",
    ("classification", "reject"): "gives the message up: nobody works on it",
    ("question", "answer"): "is the answer with which the employee goes on",
    ("question", "reject"): "gives this part of the message up: nothing more is sent about it",
    ("approval", "approve"): "does it, and the employee goes on",
    ("approval", "reject"): "does not do it: the employee hears why, and goes on without",
    ("needs_manual_intervention", "approve"): "tries it again; an action that was cut off is done once more",
    ("needs_manual_intervention", "answer"): "sends TEXT instead of the part that failed",
    ("needs_manual_intervention", "reject"): "gives this part of the message up: nothing more is sent about it",
}
_CLOSES = "closes it: nothing goes on from it any more"
_ABOUT = {
    "draft": ("text", "the draft"),
    "unknown_after_send": ("text", "what perhaps arrived"),
    "question": ("question", "the question"),
}
"""Which field of its payload is the text that a review is about, and what that is called."""


def print_review(item: control_pb2.Review, message: control_pb2.Message | None = None) -> None:
    """Print all of a review, with the message that it is about, and the commands that decide it."""
    click.echo(f"{item.review_id}  {item.kind}  {item.state}")
    rows = {
        "employee": item.employee,
        "message": item.message_id,
        "sender": f"{message.sender} by {message.channel}" if message else "",
        "reason": item.reason,
        "created": local_time(item.created_at),
        "expires": local_time(item.expires_at),
        "resolved": " ".join(filter(None, (local_time(item.resolved_at), decided(item)))),
    }
    for label, value in rows.items():
        if value:
            click.echo(f"  {label:<10}{printable(value)}")
    for line in (*_message(message), *_payload(item), *_decisions(item)):
        click.echo(line)


def _message(message: control_pb2.Message | None) -> Iterator[str]:
    if message:
        yield "\nthe message"
        yield from quoted(message.text)


def _payload(item: control_pb2.Review) -> Iterator[str]:
    """What is to be decided about: its text where it is one, and whatever else the review holds."""
    field, called = _ABOUT.get(item.kind, ("", ""))
    if text := item.payload.fields[field].string_value if field in item.payload.fields else "":
        yield f"\n{called}"
        yield from quoted(text)
    else:
        yield from _document("payload", item.payload)
    yield from _document("decision", item.decision)


def _document(label: str, content: Struct) -> Iterator[str]:
    if content.fields:
        yield f"\n{label}\n" + json.dumps(MessageToDict(content), indent=2, ensure_ascii=False)


def _decisions(item: control_pb2.Review) -> Iterator[str]:
    commands = {verb: f"empla reviews {verb} {item.review_id}{_AFTER.get(verb, '')}" for verb in item.decisions}
    width = max(map(len, commands.values()), default=0)
    if commands:
        yield "\ndecide"
    for verb, command in commands.items():
        alone = list(item.decisions) == ["reject"]
        does = _CLOSES if alone else _DOES.get((item.kind, verb), "")
        yield f"  {command:<{width}}  {dim(does)}".rstrip()


def decided(review: control_pb2.Review) -> str:
    """How a review ended, in one line: `approve by ada`; '' while it is open."""
    if review.state == "open":
        return ""
    verb = review.decision.fields["decision"].string_value if "decision" in review.decision.fields else review.state
    reason = review.decision.fields["reason"].string_value if "reason" in review.decision.fields else ""
    by = f" by {one_line(review.resolved_by)}" if review.resolved_by else ""
    return one_line(f"{verb}{by}" + (f": {reason}" if reason else ""), 200)
