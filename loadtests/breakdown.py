"""Where the milliseconds between webhook and reply go, from the traces that the product keeps."""

from collections.abc import Sequence
from typing import Protocol

from controlplane.cli.client import connected
from controlplane.cli.target import local_target
from empla.v1 import control_pb2
from loadtests.report import Figure, percentile
from loadtests.system import System

MOST_READ = 300
"""Traces that are read, evenly spread over the run."""


class Answered(Protocol):
    """A message whose reply came; times are seconds, `posted_at` Unix time."""

    message_id: str
    posted_at: float

    @property
    def reply_ms(self) -> float: ...


def breakdown(system: System, answered: Sequence[Answered]) -> list[Figure]:
    """The median of each part of the way; the parts of one message add up to its whole."""
    parts: dict[str, list[float]] = {}
    with connected(local_target(system.settings)) as stub:
        for one in answered[:: -(-len(answered) // MOST_READ)]:
            message = stub.GetMessage(control_pb2.GetMessageRequest(message_id=one.message_id))
            for name, milliseconds in _parts(message, one).items():
                parts.setdefault(name, []).append(milliseconds)
    return [Figure(f"  of which {name}, p50", percentile(taken, 50), "ms") for name, taken in parts.items()]


def _parts(message: control_pb2.Message, one: Answered) -> dict[str, float]:
    steps = [attempt for attempt in message.attempts if attempt.stage != "send"]
    sending = next(attempt for attempt in message.attempts if attempt.stage == "send")
    begun, send_begun = _ms(steps[0]), _ms(sending)
    queued = send_begun - sending.queued_ms
    work = sum(step.duration_ms for step in steps)
    received = message.received_at.ToNanoseconds() / 1e6
    return {
        "taken, verified, until the insert": received - one.posted_at * 1000,
        "stored, delivered, claimed": begun - received,
        f"the {len(steps)} steps' own work": work,
        "the 8 transitions between them": queued - begun - work,
        "until the Sender takes it": sending.queued_ms,
        "posted to the callback": one.posted_at * 1000 + one.reply_ms - send_begun,
    }


def _ms(attempt: control_pb2.Attempt) -> float:
    return attempt.started_at.ToNanoseconds() / 1e6
