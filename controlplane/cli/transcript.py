"""What a conversation looks like while it happens."""

from collections.abc import Iterable

import click

from controlplane.cli.answer import notice_text, reply_text, where_to_look
from controlplane.cli.output import dim, milliseconds
from controlplane.cli.pausing import pause_text
from controlplane.cli.safe_text import one_line, printable
from empla.v1 import control_pb2


class Transcript:
    """Shows the events of one message.

    `live` is for a terminal: text as it comes, steps and tool calls as asides. Otherwise only the reply is printed.
    """

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._message_id = ""
        self._streamed = ""  # the text of the deltas that stand
        self._open_line = False

    def show(self, events: Iterable[control_pb2.ConverseEvent]) -> control_pb2.Message | None:
        """Show all of `events`; the message as the last of them tells it."""
        message = None
        for event in events:
            kind = event.WhichOneof("event")
            if kind is None:
                continue
            told = getattr(event, kind)
            getattr(self, f"_{kind}")(told)
            if isinstance(told, control_pb2.Message):
                message = told
        return message

    def leave(self) -> None:
        """Say how to find a message that goes on without us."""
        where = f"; see `empla message show {self._message_id}`" if self._message_id else ""
        self._aside(f"left in work{where}")

    def fresh_line(self) -> None:
        """End the line of text that is being written, if there is one."""
        if self._open_line:
            click.echo()
        self._open_line = False

    def _accepted(self, accepted: control_pb2.Accepted) -> None:
        self._message_id = accepted.message_id
        self._streamed = ""

    def _step(self, step: control_pb2.StepEvent) -> None:
        if step.outcome:
            again = f" #{step.attempt}" if step.attempt > 1 else ""
            self._aside(f"{step.stage}/{step.step}{again} {step.outcome} {milliseconds(step.duration_ms)}")

    def _tool_call(self, call: control_pb2.ToolCallEvent) -> None:
        ended = f"{call.outcome} {milliseconds(call.duration_ms)}" if call.outcome else one_line(call.arguments_json)
        who = f"sub-agent {call.sub_agent}: " if call.sub_agent else ""
        self._aside(f"{who}{call.action} {ended}")

    def _text_delta(self, delta: control_pb2.TextDelta) -> None:
        if delta.restart:
            if self._streamed:
                self._aside("again, from the start")
            self._streamed = ""
        self._streamed += delta.text
        if self._live and delta.text:
            click.echo(printable(delta.text), nl=False)
            self._open_line = not delta.text.endswith("\n")

    def _reply(self, message: control_pb2.Message) -> None:
        text = reply_text(message)
        if not text and message.state == "collected":
            held = any(reply.state == "held" for reply in message.replies)
            told = "a person is asked first" if held else notice_text(message) or "no reply is sent"
            self._outcome(told, message)
            return
        self.fresh_line()
        if not self._live or self._streamed.strip() != text.strip():
            click.echo(printable(text))

    def _waiting(self, message: control_pb2.Message) -> None:
        if message.HasField("pause"):
            self.fresh_line()
            click.echo(printable(f"{pause_text(message.employee, message.pause)}; the message waits"), err=True)
        else:
            self._outcome("a person is asked first", message)

    def _withheld(self, message: control_pb2.Message) -> None:
        self._outcome("no reply is sent", message)

    def _failed(self, message: control_pb2.Message) -> None:
        self._outcome(notice_text(message) or "the message failed", message)

    def _outcome(self, what: str, message: control_pb2.Message) -> None:
        self.fresh_line()
        reason = f": {message.reason}" if message.reason else ""
        click.echo(printable(f"{what}{reason}; see `{where_to_look(message)}`"), err=True)

    def _aside(self, text: str) -> None:
        if self._live:
            self.fresh_line()
            click.echo(dim(f"· {printable(text)}"))
