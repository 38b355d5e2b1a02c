"""`empla message`: what became of messages."""

from typing import Any

import click

from controlplane.cli.answer import answered_later, message_document, took
from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document
from controlplane.cli.output import age, json_option, print_json
from controlplane.cli.pages import listed
from controlplane.cli.timeline import timeline
from controlplane.cli.watch import Listing, show_list, watch_option
from empla.v1 import control_pb2

_STATES = (
    "received", "analyzing", "working", "merging", "sending", "waiting", "answered", "collected", "withheld", "failed",
)  # fmt: skip
_HEADER = ("MESSAGE", "AGE", "EMPLOYEE", "STATE", "TOOK", "SENDER", "TEXT")
_TRACE = ("attempts", "effects", "stages", "reviews", "classification")


@click.group()
def message() -> None:
    """See what became of messages."""


@message.command()
@click.argument("message_id", metavar="ID")
@json_option
def show(message_id: str, as_json: bool) -> None:
    """Show the message ID: its stages and attempts with their timings, effects, replies and reviews."""
    with connected() as control_plane:
        found = control_plane.GetMessage(control_pb2.GetMessageRequest(message_id=message_id))
    if as_json:
        print_json(message_document(found))
    else:
        click.echo(timeline(found))


@message.command()
@click.argument("message_id", metavar="ID")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
@json_option
def cancel(message_id: str, reason: str, as_json: bool) -> None:
    """Stop all that goes on for the message ID: what waits, is in work, or is not sent yet. What was done stays done."""
    with connected() as control_plane:
        found = control_plane.CancelMessage(control_pb2.CancelMessageRequest(message_id=message_id, reason=reason))
    if as_json:
        print_json(message_document(found))
        return
    click.echo(f"{message_id} {'is stopped' if found.state == 'withheld' else 'stops as soon as its employee knows'}")


@message.command(name="list")
@click.option("--employee", type=EMPLOYEE, default="", metavar="NAME", help="Only this employee's.")
@click.option(
    "--state", type=click.Choice(_STATES), metavar="STATE", help=f"Only those in this state: {', '.join(_STATES)}."
)
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@watch_option
@json_option
def list_(*, employee: str, state: str | None, limit: int, watch: bool, as_json: bool) -> None:
    """List messages, newest first."""

    def look() -> Listing:
        request = control_pb2.ListMessagesRequest(employee=employee, state=state or "")
        with connected() as control_plane:
            messages = listed(control_plane.ListMessages, request, "messages", limit)
        return Listing(list(map(_glance, messages)), _HEADER, list(map(_row, messages)), "no messages")

    show_list(look, as_json=as_json, watch=watch)


def _glance(item: control_pb2.Message) -> dict[str, Any]:
    return {name: value for name, value in as_document(item).items() if name not in _TRACE}


def _row(item: control_pb2.Message) -> tuple[str, ...]:
    state = "answered later" if answered_later(item) else item.state
    return (item.message_id, age(item.received_at), item.employee, state, took(item), item.sender, item.text)
