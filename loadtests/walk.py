"""Messages walked through the pipeline's legal moves by the product's own `Transitions`, without any work in the steps."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from uuid import UUID

from agent.identity import Identity
from agent.pipeline.transitions import SQL, Transitions
from agent.pipeline.units import Move, Place, Record, Unit
from empla.store.connect import Pool
from empla.store.ids import new_id

MOVES = 8
"""Transitions of one message: three of its own, three of its worker, then two of its own again."""

_ANSWER = "The notes list three open deals: Acme, Globex and Initech."


async def claim(pool: Pool, identity: Identity, messages: Sequence[UUID]) -> None:
    """Give the messages to this launch, as the coordinator does one by one."""
    await pool.execute(SQL.claim, messages, identity.employee_id, identity.epoch)


async def walk(
    transitions: Transitions, messages: Sequence[tuple[UUID, UUID]], *, in_flight: int, seconds: float
) -> list[float]:
    """Walk claimed messages, `in_flight` at a time, until they or `seconds` are over.

    Returns how long each transition took, in milliseconds. The next one begins the moment the one before it is durable.
    """
    waiting = iter(messages)
    deadline = time.perf_counter() + seconds
    taken: list[float] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(_keep_walking(transitions, waiting, deadline, taken))
    return taken


async def _keep_walking(
    transitions: Transitions, waiting: Iterator[tuple[UUID, UUID]], deadline: float, taken: list[float]
) -> None:
    for message_id, conversation_id in waiting:
        if time.perf_counter() > deadline:
            return
        await _walk_one(transitions, message_id, conversation_id, taken)


async def _walk_one(transitions: Transitions, message_id: UUID, conversation_id: UUID, taken: list[float]) -> None:
    async def commit(move: Move) -> Unit:
        before = time.perf_counter()
        unit = await transitions.commit(move)
        taken.append((time.perf_counter() - before) * 1000)
        return unit

    unit = _unit("message", message_id, message_id, Place("received", "security_filter"))
    for place, stage, output in _ANALYSIS:
        unit = await commit(Move(unit=unit, to=place, begins=True, record=_record(stage, output)))
    worker_id = new_id()
    fork = {"worker_id": str(worker_id), "intent_index": 0, "intent": {"summary": "count the open deals"}}
    record = _record("analyze", _CLASSIFIED)
    unit = await commit(Move(unit=unit, to=Place("working"), begins=False, record=record, workers=[fork]))
    worker = _unit("worker", worker_id, message_id, Place("running", "action_planning"))
    for place, output in _WORK:
        worker = await commit(Move(unit=worker, to=place, begins=bool(place.step), record=_record("work", output)))
    unit = await commit(Move(unit=unit, to=Place("merging", "merge"), begins=True))
    await commit(_sending(unit, conversation_id))


def _sending(unit: Unit, conversation_id: UUID) -> Move:
    reply = {
        "outbox_id": str(new_id()),
        "conversation_id": str(conversation_id),
        "kind": "reply",
        "part": 0,
        "body": _ANSWER,
        "proposal": "send",
    }
    handled = {"kind": "message_handled", "payload": {"message_id": str(unit.message_id), "answered": _ANSWER}}
    return Move(
        unit=unit,
        to=Place("sending", "send"),
        begins=False,
        record=_record("merge", {"outbox_id": reply["outbox_id"], "parts": 1}),
        outbox=[reply],
        events=[handled],
    )


def _unit(machine: str, unit_id: UUID, message_id: UUID, place: Place) -> Unit:
    return Unit(
        machine="worker" if machine == "worker" else "message",
        unit_id=unit_id,
        message_id=message_id,
        place=place,
        attempt=1,
        started_at=time.time(),
    )


def _record(stage: str, output: object) -> Record:
    return Record(stage=stage, outcome="succeeded", duration_ms=1.0, output=output, span_id="00f067aa0ba902b7")


_CLASSIFIED = {
    "category": "question",
    "priority": "normal",
    "sentiment": "neutral",
    "language": "en",
    "confidence": 0.9,
}
_ANALYSIS: tuple[tuple[Place, str, object], ...] = (
    (Place("analyzing", "context_retrieval"), "receive", {"text": "How many open deals do the notes list?", "cut": 0}),
    (Place("analyzing", "classification"), "analyze", {"turns": [], "memories": []}),
)
_WORK: tuple[tuple[Place, object], ...] = (
    (Place("running", "draft_generation"), {"answer": _ANSWER, "responses": 2, "calls": 1}),
    (Place("running", "routing"), {"text": _ANSWER, "cut": False}),
    (Place("done"), {"proposal": "send", "suspicious": False}),
)
