"""Merge: the drafts of all workers become one reply, in the order of the intents; what failed is said so."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from agent.pipeline.step import Done, Step, Work
from agent.pipeline.units import Place, Unit
from empla import notices
from empla.store.ids import new_id

PARTIAL_NOTICE = "I could not finish one part of this on my own; a person has been asked to look at it."


def outbox_row(work: Work, kind: str, body: str, proposal: str = "send") -> dict[str, Any]:
    """A row for the outbox that answers `work`'s message."""
    return {
        "outbox_id": str(new_id()),
        "conversation_id": str(work.message.conversation_id),
        "kind": kind,
        "part": 0,
        "body": body,
        "proposal": proposal,
    }


def merging(workers: Sequence[Unit]) -> Step:
    """The merge step over the workers of one message, as they ended."""

    async def run(work: Work, _: UUID) -> Done:
        return merge(work, workers)

    return Step("merge", "merge", retries=2, deadline=10, run=run)


def merge(work: Work, workers: Sequence[Unit]) -> Done:
    """One reply of what the workers of a message came to; a notice when none has a draft."""
    done = [unit for unit in workers if unit.place.state == "done"]
    if not done:
        notice = outbox_row(work, "notice", notices.FAILURE)
        return Done(Place("failed", "merge"), reason="no part could be answered", ends=True, outbox=[notice])
    parts = [work.output("draft_generation", unit.unit_id)["text"] for unit in done]
    if len(done) < len(workers):
        parts.append(PARTIAL_NOTICE)
    proposals = {work.output("routing", unit.unit_id)["proposal"] for unit in done}
    reply = outbox_row(work, "reply", "\n\n".join(parts), "review" if "review" in proposals else "send")
    handled = {
        "kind": "message_handled",
        "payload": {
            "message_id": str(work.message.message_id),
            "sender": work.message.sender,
            "asked": work.output("security_filter")["text"][:500],
            "answered": reply["body"][:500],
        },
    }
    output = {"outbox_id": reply["outbox_id"], "parts": len(parts)}
    return Done(Place("sending", "send"), output, outbox=[reply], events=[handled])
