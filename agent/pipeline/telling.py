"""What hooks are told of messages: that one is worked on, and what a committed move has made of it."""

from datetime import UTC, datetime

from agent.moments import MessageAnswered, MessageEnded, MessageReceived, MessageWaits, tell
from agent.pipeline.step import Incoming, Work
from agent.pipeline.units import Move

_ENDS = {"sending": "answered", "withheld": "withheld", "failed": "failed", "collected": "collected"}
_REPLIES = ("reply", "follow_up")
_WAITS = ("waiting", "waiting_for_input")


def tell_of_claim(message: Incoming) -> None:
    """A message is this launch's."""
    tell(
        MessageReceived,
        message_id=message.message_id,
        conversation_id=message.conversation_id,
        sender=message.sender,
        trace=message.trace_context,
        text=message.body,
        received_at=message.received_at,
    )


def tell_of(work: Work, move: Move) -> None:
    """A move of a message, or of a part of it, is on record."""
    message, state = work.message, move.to.state
    message_id, conversation_id, sender = message.message_id, message.conversation_id, message.sender
    for row in move.outbox:
        if row["kind"] in _REPLIES:
            tell(
                MessageAnswered,
                message_id=message_id,
                conversation_id=conversation_id,
                sender=sender,
                trace=message.trace_context,
                reply=row["body"],
                kind=row["kind"],
                proposal=row["proposal"],
                milliseconds=_since(message),
            )
    if state in _WAITS:
        tell(
            MessageWaits,
            message_id=message_id,
            conversation_id=conversation_id,
            sender=sender,
            trace=message.trace_context,
            asked=move.reason,
        )
    elif move.unit.machine == "message" and state in _ENDS:
        tell(
            MessageEnded,
            message_id=message_id,
            conversation_id=conversation_id,
            sender=sender,
            trace=message.trace_context,
            outcome=_ENDS[state],
            milliseconds=_since(message),
            why=move.reason,
        )


def _since(message: Incoming) -> float:
    return (datetime.now(UTC) - message.received_at).total_seconds() * 1000
