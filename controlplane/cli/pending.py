"""Messages of a chat that a person is asked about: what comes of them is told at the prompt, as soon as it is known."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import click

from controlplane.cli.answer import ENDED
from controlplane.cli.client import connected
from controlplane.cli.errors import Failure
from controlplane.cli.output import dim
from controlplane.cli.safe_text import one_line, printable
from controlplane.cli.target import Target
from empla.v1 import control_pb2

_LOOK_SECONDS = 2.0
PROMPT = "you> "


class Pending:
    """Looks after them in a thread of its own; what it tells goes above the prompt, and never into the middle of a reply."""

    def __init__(self, target: Target, typed: Callable[[], str]) -> None:
        self._target, self._typed = target, typed
        self._waiting: set[str] = set()
        self._told: set[str] = set()
        self._at_prompt, self._ended = Event(), Event()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look for the length of the block."""
        thread = Thread(target=self._look, name="messages that wait", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(_LOOK_SECONDS)

    @contextmanager
    def prompting(self) -> Iterator[None]:
        """The block reads a line: something may be told meanwhile."""
        self._at_prompt.set()
        try:
            yield
        finally:
            self._at_prompt.clear()

    def seen(self, message: control_pb2.Message) -> None:
        """Remember what was shown of `message`, and look after it if something may still come of it."""
        self._told |= {reply.outbox_id for reply in message.replies if reply.state == "sent"}
        if not _is_over(message):
            self._waiting.add(message.message_id)

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            for message_id in list(self._waiting):
                message = self._asked(message_id)
                if message is not None and self._at_prompt.wait(_LOOK_SECONDS):
                    self._tell(message)

    def _asked(self, message_id: str) -> control_pb2.Message | None:
        """The message as it stands; None when nobody says, which the next round or message will find out."""
        try:
            with connected(self._target) as control_plane:
                return control_plane.GetMessage(control_pb2.GetMessageRequest(message_id=message_id))
        except Failure:
            return None

    def _tell(self, message: control_pb2.Message) -> None:
        news = [reply for reply in message.replies if reply.state == "sent" and reply.outbox_id not in self._told]
        self._told |= {reply.outbox_id for reply in news}
        said = [reply.text for reply in news if reply.kind != "progress"]
        if _is_over(message):
            self._waiting.discard(message.message_id)
            if not said and message.state in ("failed", "withheld"):
                said = [f"the message is {message.state}" + (f": {message.reason}" if message.reason else "")]
        if said:
            what = "\n\n".join(said)
            where = dim(f"· to “{one_line(message.text, 40)}”, message {message.message_id}")
            click.echo(f"\r\x1b[K{where}\n{printable(what)}\n{PROMPT}{self._typed()}", nl=False)


def _is_over(message: control_pb2.Message) -> bool:
    """Whether nobody is asked about it any more, and nothing is on its way."""
    asked = any(review.state == "open" for review in message.reviews)
    leaving = any(reply.state in ("queued", "held", "sending") for reply in message.replies)
    return message.state in ENDED and not asked and not leaving
