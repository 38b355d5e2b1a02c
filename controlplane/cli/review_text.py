"""A review for people: what waits, how it is decided, and how it was."""

import json

import click
from google.protobuf.json_format import MessageToDict

from controlplane.cli.output import local_time
from controlplane.cli.safe_text import one_line, printable
from empla.v1 import control_pb2

_AFTER = {"edit": " TEXT", "answer": " TEXT", "classify": " CATEGORY", "reject": " --reason TEXT"}


def print_review(item: control_pb2.Review) -> None:
    """Print all of a review, and the commands that decide it."""
    click.echo(f"{item.review_id}  {item.kind}  {item.state}")
    rows = {
        "employee": item.employee,
        "message": item.message_id,
        "reason": item.reason,
        "created": local_time(item.created_at),
        "expires": local_time(item.expires_at),
        "resolved": " ".join(filter(None, (local_time(item.resolved_at), decided(item)))),
        "decide": ", ".join(f"empla reviews {verb} {item.review_id}{_AFTER.get(verb, '')}" for verb in item.decisions),
    }
    for label, value in rows.items():
        if value:
            click.echo(f"  {label:<10}{printable(value)}")
    for label, content in (("payload", item.payload), ("decision", item.decision)):
        if content.fields:
            click.echo(f"\n{label}\n" + json.dumps(MessageToDict(content), indent=2, ensure_ascii=False))


def decided(review: control_pb2.Review) -> str:
    """How a review ended, in one line: `approve by ada`; '' while it is open."""
    if review.state == "open":
        return ""
    verb = review.decision.fields["decision"].string_value if "decision" in review.decision.fields else review.state
    reason = review.decision.fields["reason"].string_value if "reason" in review.decision.fields else ""
    by = f" by {one_line(review.resolved_by)}" if review.resolved_by else ""
    return one_line(f"{verb}{by}" + (f": {reason}" if reason else ""), 200)
