"""`empla chat`: a conversation, told as it happens."""

import sys
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

import click

from controlplane.cli.answer import exit_code
from controlplane.cli.client import connected, load_settings
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import enum_word
from controlplane.cli.errors import WAITING, Failure, report
from controlplane.cli.outages import lasting
from controlplane.cli.output import dim
from controlplane.cli.pending import PROMPT, Pending
from controlplane.cli.target import chosen_target
from controlplane.cli.transcript import Transcript
from empla.v1 import control_pb2

_MESSAGE_SECONDS = 3600.0
_HELP = """A line is a message. While one is in work, Ctrl-C returns to the prompt; it goes on, unless you write /stop.
/quit or Ctrl-D leaves."""


@click.command()
@click.argument("employee", type=EMPLOYEE, default="sales-ae")
@click.option("--conversation", default="", metavar="NAME", help="Continue this conversation.  [default: a new one]")
@click.pass_context
def chat(ctx: click.Context, employee: str, conversation: str) -> None:
    """Talk to EMPLOYEE (default: sales-ae).

    A line is a message. /quit or Ctrl-D leaves; Ctrl-C returns to the prompt, and what is in work goes on, unless you
    write /stop. Lines may be piped in as well: then only the replies are printed, and the command ends with 1 when a
    message failed, else with 6 when one waits for a person.
    """
    conversation = conversation or f"chat-{uuid.uuid4().hex}"
    greeting = _greeting(employee)
    if sys.stdin.isatty():
        click.echo(dim(greeting))
        _talk(employee, conversation)
        return
    codes = {_exchange(employee, conversation, line)[0] for line in _lines(sys.stdin)}
    ctx.exit(next((code for code in (Failure.exit_code, WAITING) if code in codes), 0))


def _talk(employee: str, conversation: str) -> None:
    """With a person at a terminal, until the person leaves."""
    pending = Pending(chosen_target(load_settings()), _line_buffer())
    with pending.looking():
        for line in _lines(_typed(pending)):
            if line == "/help":
                click.echo(dim(_HELP))
                continue
            try:
                _, message = _exchange(employee, conversation, line)
            except Failure as error:
                report(error)
            else:
                if message is not None:
                    pending.seen(message)


def _greeting(employee: str) -> str:
    """Who is there; raises `Failure` when nobody is, before anything was typed."""
    with connected() as control_plane:
        found = control_plane.GetEmployee(control_pb2.GetEmployeeRequest(employee=employee))
    state = enum_word(control_pb2.ObservedState.DESCRIPTOR, found.observed_state)
    hint = "" if found.desired_state == control_pb2.DESIRED_STATE_RUNNING else "; it answers once it is started"
    return f"{found.name} is {state}{hint}. /quit leaves, /help says more."


def _lines(given: Iterable[str]) -> Iterator[str]:
    for line in given:
        text = line.strip()
        if text == "/quit":
            return
        if text:
            yield text


def _line_buffer() -> Callable[[], str]:
    """Gives `input` line editing and history, and tells what is typed by now; a Python without them has plain lines."""
    try:
        import readline  # noqa: PLC0415 - importing it is what `input` needs, of a person at a terminal only
    except ImportError:
        return str
    return readline.get_line_buffer


def _typed(pending: Pending) -> Iterator[str]:
    while True:
        try:
            with pending.prompting():
                line = input(PROMPT)
        except KeyboardInterrupt:
            click.echo()
        except EOFError:
            click.echo()
            return
        else:
            yield line


def _exchange(employee: str, conversation: str, text: str) -> tuple[int, control_pb2.Message | None]:
    """Send one message and show what becomes of it: the exit code that it stands for, and how it ended, if it was seen."""
    request = control_pb2.ConverseRequest(
        employee=employee, text=text, conversation=conversation, idempotency_key=uuid.uuid4().hex
    )
    transcript = Transcript(live=sys.stdout.isatty())
    try:
        with closing(_events(request)) as events:
            message = transcript.show(_watched(events))
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise
        transcript.leave()
        return 0, None
    except Failure:
        transcript.fresh_line()
        raise
    return (0, None) if message is None else (exit_code(message), message)


def _watched(events: Iterable[control_pb2.ConverseEvent]) -> Iterator[control_pb2.ConverseEvent]:
    ended = False
    for event in events:
        ended = event.WhichOneof("event") in ("reply", "waiting", "failed", "withheld")
        yield event
    if not ended:
        raise Failure("the control plane ended the conversation before the message did; `empla message list` says more")


def _events(request: control_pb2.ConverseRequest) -> Generator[control_pb2.ConverseEvent]:
    """The message's events, through a restart of the control plane: its idempotency key makes asking again harmless."""
    return lasting(lambda: _stream(request), patient=True)


def _stream(request: control_pb2.ConverseRequest) -> Iterator[control_pb2.ConverseEvent]:
    with connected() as control_plane:
        call = control_plane.Converse(request, timeout=_MESSAGE_SECONDS)
        try:
            yield from call
        finally:
            call.cancel()
