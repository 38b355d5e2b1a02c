"""`empla send`: one message, one reply."""

import uuid

import click

from controlplane.cli.answer import ENDED, exit_code, message_document, notice_text, reply_text, where_to_look
from controlplane.cli.client import DEADLINE, UNREACHABLE, connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.errors import STILL_IN_WORK, Aborted, Failure, InvalidInput, Unreachable
from controlplane.cli.given import given_text
from controlplane.cli.output import json_option, print_json
from controlplane.cli.pausing import pause_text
from controlplane.cli.progress import working
from controlplane.cli.safe_text import printable
from empla.v1 import control_pb2, control_pb2_grpc


@click.command()
@click.argument("employee", type=EMPLOYEE)
@click.argument("text")
@click.option("--conversation", default="", metavar="NAME", help="Continue this conversation.  [default: a new one]")
@click.option("--key", default="", help="Idempotency key: the same key is the same message.  [default: a new one]")
@click.option("--sender", default="", help="Who writes.  [default: the token's name]")
@click.option(
    "--wait",
    type=click.FloatRange(0, 600),
    default=120.0,
    metavar="SECONDS",
    show_default=True,
    help="Wait at most so long for the reply.",
)
@click.option("--no-wait", is_flag=True, help="Only store the message.")
@json_option
@click.pass_context
def send(
    ctx: click.Context,
    *,
    employee: str,
    text: str,
    conversation: str,
    key: str,
    sender: str,
    wait: float,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Send TEXT to EMPLOYEE and print the reply; TEXT `-` is read from standard input.

    Ends with 1 when the message failed, with 6 when it waits for a person, with 7 when it is still in work after the wait.
    Sending again with the same --key asks for the same message: it is never worked on twice.
    """
    if not (given := given_text(text)).strip():
        raise InvalidInput("there is no text to send", fields={"text": "some text"})
    request = control_pb2.SendMessageRequest(
        employee=employee,
        text=given,
        conversation=conversation,
        idempotency_key=key or uuid.uuid4().hex,
        sender=sender,
        wait_ms=0 if no_wait else round(wait * 1000),
    )
    message = _sent(request)
    if as_json:
        print_json(message_document(message))
    else:
        _show(message, no_wait=no_wait)
    if not no_wait and _in_work(message) and not message.HasField("pause") and _is_stopped(employee):
        start = f"`empla employee start {employee}`"
        click.echo(
            printable(f"empla: {employee} is stopped: the message waits until you start it with {start}"), err=True
        )
    ctx.exit(_exit_code(message, no_wait=no_wait))


def _sent(request: control_pb2.SendMessageRequest) -> control_pb2.Message:
    again = f"to ask for the same message again, add --key {request.idempotency_key}"
    try:
        with working(f"{request.employee} is at work"), connected() as control_plane:
            message = control_plane.SendMessage(request, timeout=DEADLINE + request.wait_ms / 1000)
            return _traced(control_plane, message)
    except Unreachable as error:
        if error.reason != UNREACHABLE:  # nothing was sent yet
            raise
        raise Unreachable(f"{error.message}; {again}", reason=error.reason) from error
    except KeyboardInterrupt as error:
        where = "`empla message list` shows it, and `empla message cancel ID` stops it"
        raise Aborted(f"the message goes on without us: {where}; {again}") from error


def _traced(control_plane: control_pb2_grpc.ControlPlaneStub, message: control_pb2.Message) -> control_pb2.Message:
    if message.stages or message.state not in ENDED:
        return message
    return control_plane.GetMessage(control_pb2.GetMessageRequest(message_id=message.message_id))


def _show(message: control_pb2.Message, *, no_wait: bool) -> None:
    if no_wait:
        click.echo(message.message_id)
    elif message.state == "answered" or (message.state == "collected" and reply_text(message)):
        click.echo(printable(reply_text(message)))
    else:
        click.echo(_explained(message), err=True)


def _explained(message: control_pb2.Message) -> str:
    """Why there is no reply, and where to look."""
    if not _in_work(message):
        why = (message.state == "collected" and notice_text(message)) or message.reason or notice_text(message)
        what = f"the message is {message.state}" + (f": {why}" if why else "")
    elif message.HasField("pause"):
        what = f"the message waits: {pause_text(message.employee, message.pause)}"
    else:
        what = f"the message is still in work ({message.state})"
    return printable(f"empla: {what}; see `{where_to_look(message)}`")


def _in_work(message: control_pb2.Message) -> bool:
    return message.state not in ENDED and message.state != "waiting"


def _is_stopped(employee: str) -> bool:
    """Whether nobody is there to work on a message; False where that cannot be told."""
    try:
        with connected() as control_plane:
            found = control_plane.GetEmployee(control_pb2.GetEmployeeRequest(employee=employee))
    except Failure:
        return False
    return found.observed_state == control_pb2.OBSERVED_STATE_STOPPED


def _exit_code(message: control_pb2.Message, *, no_wait: bool) -> int:
    if _in_work(message):
        return 0 if no_wait else STILL_IN_WORK
    return exit_code(message)
