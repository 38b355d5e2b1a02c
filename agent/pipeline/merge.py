"""Merge: the drafts of all workers become one reply, in the order of the intents; what waits or failed is said so.

A part that is finished after its message was merged leaves on its own, in the very move that finishes it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from agent.pipeline.receive import is_run
from agent.pipeline.step import Done, Step, Work
from agent.pipeline.units import BACKGROUND, Move, Place, Unit
from empla import notices
from empla.goals import STEP
from empla.store.ids import new_id

PARTIAL_NOTICE = "I could not finish one part of this on my own; a person has been asked to look at it."
APPROVAL_NOTICE = "One part of this needs a person's approval first; I will come back to you about it."
MAX_PARTS = 8


def outbox_row(work: Work, kind: str, body: str, proposal: str = "send", part: int = 0) -> dict[str, Any]:
    """A row for the outbox that answers `work`'s message."""
    return {
        "outbox_id": str(new_id()),
        "conversation_id": str(work.message.conversation_id),
        "kind": kind,
        "part": part,
        "body": body,
        "proposal": proposal,
    }


def failure_notice(work: Work) -> dict[str, Any]:
    """The notice that a message failed or waits for a person; one that a person has sorted since has had its first."""
    return outbox_row(work, "notice", notices.FAILURE, part=int(work.message.message_id in work.answers))


def merging(workers: Sequence[Unit]) -> Step:
    """The merge step over the workers of one message, as they ended."""

    async def run(work: Work, _: UUID) -> Done:
        return merge(work, workers)

    return Step("merge", "merge", retries=2, deadline=10, run=run)


def merge(work: Work, workers: Sequence[Unit]) -> Done:
    """One reply of what the workers of a message came to; a notice when all have failed."""
    told = [unit for unit in workers if unit.place.state != "failed"]
    if not told:
        reason = "no part could be answered"
        return Done(Place("failed", "merge"), reason=reason, ends=True, outbox=[failure_notice(work)])
    parts = [said for unit in told if (said := _said(work, unit))]
    if any(_awaits(work, unit) == "approval" for unit in told):
        parts.append(APPROVAL_NOTICE)
    if len(told) < len(workers):
        parts.append(PARTIAL_NOTICE)
    proposals = {_proposal(work, unit) for unit in told}
    reply = outbox_row(work, "reply", "\n\n".join(parts), "review" if "review" in proposals else "send")
    output = {"outbox_id": reply["outbox_id"], "parts": len(parts)}
    return Done(Place("sending", "send"), output, outbox=[reply], events=[_handled(work, reply["body"])])


def _awaits(work: Work, unit: Unit) -> str:
    """What kind of answer a part waits for; '' for a finished one."""
    return work.output("waiting", unit.unit_id)["kind"] if unit.place.state == "waiting_for_input" else ""


def _said(work: Work, unit: Unit) -> str:
    if unit.place == BACKGROUND:
        return notices.TAKES_LONGER
    match _awaits(work, unit):
        case "":
            return work.draft(unit.unit_id)
        case "question":
            question: str = work.output("waiting", unit.unit_id)["asked"]
            return question
        case _:
            return ""


def _proposal(work: Work, unit: Unit) -> str:
    if unit.place == BACKGROUND:
        return "send"
    proposal: str = work.output("waiting" if _awaits(work, unit) else "routing", unit.unit_id)["proposal"]
    return proposal


def _handled(work: Work, answered: str) -> dict[str, Any]:
    return {
        "kind": "message_handled",
        "payload": {
            "message_id": str(work.message.message_id),
            "sender": work.message.sender,
            "asked": work.output("security_filter")["text"][:500],
            "answered": answered[:500],
            "is_run": is_run(work.message.metadata),
            "step": STEP in work.message.metadata,
        },
    }


def with_late_rows(work: Work, move: Move) -> Move:
    """The move of a worker whose message is merged already, with what the sender is told by it."""
    unit, to = move.unit, move.to.state
    if not work.merged or unit.machine != "worker" or move.to == unit.place:
        return move
    if to == "failed":
        return replace(move, outbox=[*move.outbox, *_late_notice(work, unit)])
    if move.to == BACKGROUND:
        longer = outbox_row(work, "progress", notices.TAKES_LONGER, part=work.parts[unit.unit_id].index)
        return replace(move, outbox=[longer])
    if to not in ("done", "waiting_for_input"):
        return move
    ended = replace(unit, place=move.to)
    body = _said(work, ended) or APPROVAL_NOTICE
    row = outbox_row(work, "follow_up", body, _proposal(work, ended), part=_late_part(work, unit.unit_id))
    return replace(move, outbox=[*move.outbox, row], events=[*move.events, _handled(work, body)])


def _late_part(work: Work, unit_id: UUID) -> int:
    """The index of the intent; of what one part says later still, that number in the next block of `MAX_PARTS`."""
    earlier = len(work.answers.get(unit_id, ())) - (not work.goes_on(unit_id))
    return work.parts[unit_id].index + MAX_PARTS * earlier


def _late_notice(work: Work, unit: Unit) -> list[dict[str, Any]]:
    """That a part failed after its message was merged; where it had failed before, its sender knows."""
    last = work.last_answer(unit.unit_id)
    if last is not None and last.kind == "needs_manual_intervention":
        return []
    return [notice_of_part(work, unit, notices.FAILURE)]


def notice_of_part(work: Work, unit: Unit, text: str) -> dict[str, Any]:
    """What the sender of a message is told of one part after its reply, in words that nobody wrote for them."""
    return outbox_row(work, "notice", text, part=_late_part(work, unit.unit_id) + MAX_PARTS)
