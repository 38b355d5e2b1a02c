"""`empla chat`: a conversation, told as it happens."""

import sys
import time
import uuid
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress

import click

from controlplane.cli.client import connected
from controlplane.cli.document import enum_word
from controlplane.cli.errors import Failure, Unreachable, report
from controlplane.cli.output import dim
from controlplane.cli.transcript import Transcript
from empla.v1 import control_pb2

_MESSAGE_SECONDS = 3600.0
_RECONNECT_SECONDS = 30.0
"""How long a control plane may be away in the middle of a message: about what a restart takes, and then some."""


@click.command()
@click.argument("employee", default="sales-ae")
@click.option("--conversation", default="", metavar="NAME", help="Continue this conversation.  [default: a new one]")
@click.pass_context
def chat(ctx: click.Context, employee: str, conversation: str) -> None:
    """Talk to EMPLOYEE (default: sales-ae).

    A line is a message. /quit or Ctrl-D leaves; Ctrl-C returns to the prompt, and what is in work goes on. Lines may be
    piped in as well: then only the replies are printed, and the command ends with 1 when a message failed.
    """
    conversation = conversation or f"chat-{uuid.uuid4().hex}"
    interactive = sys.stdin.isatty()
    greeting = _greeting(employee)
    if interactive:
        click.echo(dim(greeting))
    fine = [_exchange(employee, conversation, line, interactive) for line in _messages(interactive)]
    ctx.exit(0 if interactive or all(fine) else 1)


def _greeting(employee: str) -> str:
    """Who is there; raises `Failure` when nobody is, before anything was typed."""
    with connected() as control_plane:
        found = control_plane.GetEmployee(control_pb2.GetEmployeeRequest(employee=employee))
    state = enum_word(control_pb2.ObservedState.DESCRIPTOR, found.observed_state)
    hint = "" if found.desired_state == control_pb2.DESIRED_STATE_RUNNING else "; it answers once it is started"
    return f"{found.name} is {state}{hint}. /quit leaves."


def _messages(interactive: bool) -> Iterator[str]:
    for line in _typed() if interactive else sys.stdin:
        text = line.strip()
        if text == "/quit":
            return
        if text:
            yield text


def _typed() -> Iterator[str]:
    with suppress(ImportError):  # a Python that was built without it: plain lines
        import readline  # noqa: F401, PLC0415 - importing it gives `input` its line editing and history
    while True:
        try:
            yield input("you> ")
        except KeyboardInterrupt:
            click.echo()
        except EOFError:
            click.echo()
            return


def _exchange(employee: str, conversation: str, text: str, interactive: bool) -> bool:
    """Send one message and show what becomes of it; False when it failed."""
    request = control_pb2.ConverseRequest(
        employee=employee, text=text, conversation=conversation, idempotency_key=uuid.uuid4().hex
    )
    transcript = Transcript(live=sys.stdout.isatty())
    try:
        with closing(_events(request)) as events:
            return transcript.show(_watched(events))
    except KeyboardInterrupt:
        if not interactive:
            raise
        transcript.leave()
    except Failure as error:
        if not interactive:
            raise
        transcript.fresh_line()
        report(error)
    return False


def _watched(events: Iterable[control_pb2.ConverseEvent]) -> Iterator[control_pb2.ConverseEvent]:
    ended = False
    for event in events:
        ended = event.WhichOneof("event") in ("reply", "waiting", "failed", "withheld")
        yield event
    if not ended:
        raise Failure("the control plane ended the conversation before the message did; `empla message list` says more")


def _events(request: control_pb2.ConverseRequest) -> Generator[control_pb2.ConverseEvent, None, None]:
    """The message's events, through a restart of the control plane: its idempotency key makes asking again harmless."""
    give_up_at = time.monotonic() + _RECONNECT_SECONDS
    while True:
        try:
            for event in _stream(request):
                give_up_at = time.monotonic() + _RECONNECT_SECONDS
                yield event
        except Unreachable:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.5)
        else:
            return


def _stream(request: control_pb2.ConverseRequest) -> Iterator[control_pb2.ConverseEvent]:
    with connected() as control_plane:
        call = control_plane.Converse(request, timeout=_MESSAGE_SECONDS)
        try:
            yield from call
        finally:
            call.cancel()
