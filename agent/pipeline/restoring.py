"""What the tables have of a message, as the coordinator goes on with it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agent.pipeline.parts import part_of
from agent.pipeline.resuming import answer_of
from agent.pipeline.step import Answer, Collected, Incoming, Work
from agent.pipeline.transitions import SQL
from agent.pipeline.units import Machine, Place, Unit


@dataclass(frozen=True, slots=True)
class Left:
    """A unit that is gone on with: a message with its workers, or one worker whose message is merged.

    `lost`: the process died while a step of it ran; `answer` is what it was taken up for.
    """

    unit: Unit
    work: Work
    workers: list[Unit]
    lost: bool
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """What the tables have of some messages beside their own rows."""

    workers: list[Any]
    outputs: list[Any]
    answers: list[Any]
    collected: list[Any]


async def rows_of(connection: Any, ids: list[UUID]) -> Rows:
    """Workers, outputs and answers of some messages, and what they are answered for as well."""
    return Rows(
        await connection.fetch(SQL.live_workers, ids),
        await connection.fetch(SQL.outputs, ids),
        await connection.fetch(SQL.answers, ids),
        await connection.fetch(SQL.collected, ids),
    )


def restored(row: Any, rows: Rows) -> Left:
    """A whole message that is not merged yet."""
    work, message_id = _work(row, rows), row["message_id"]
    own = [worker for worker in rows.workers if worker["message_id"] == message_id]
    branches = [_unit("worker", worker["worker_id"], worker) for worker in own]
    return Left(_unit("message", message_id, row), work, branches, any(part["lost"] for part in (row, *own)))


def alone(found: Any, message: Any, rows: Rows) -> Left:
    """One unit of a message: the message itself, or one of its late workers."""
    work, unit_id = _work(message, rows), found["unit_id"]
    key = found.get("question_key", "")
    answer = next((one for one in work.answers.get(unit_id, ()) if one.key == key), None)
    if unit_id == message["message_id"]:
        return Left(_unit("message", unit_id, message), work, [], False, answer)
    work.merged = True
    row = next(worker for worker in rows.workers if worker["worker_id"] == unit_id)
    return Left(_unit("worker", unit_id, row), work, [], row["lost"] and answer is None, answer)


def _work(row: Any, rows: Rows) -> Work:
    message_id = row["message_id"]
    incoming = Incoming(
        message_id=message_id,
        conversation_id=row["conversation_id"],
        sender=row["sender"],
        body=row["body"],
        metadata=row["metadata"],
        trace_context=row["trace_context"],
        received_at=row["received_at"],
    )
    work = Work(
        incoming, {(o["unit_id"], o["step"]): o["output"] for o in rows.outputs if o["message_id"] == message_id}
    )
    work.collected = [collected_of(one) for one in rows.collected if one["leader"] == message_id]
    for worker in rows.workers:
        if worker["message_id"] == message_id:
            work.parts[worker["worker_id"]] = part_of(worker["intent_index"], worker["intent"])
    for answer in rows.answers:
        if answer["message_id"] == message_id:
            work.answers.setdefault(answer["unit_id"], []).append(answer_of(answer))
    return work


def collected_of(row: Any) -> Collected:
    """A row of `collected`."""
    return Collected(row["message_id"], row["sender"], row["body"], row["interrupted"])


def _unit(machine: Machine, unit_id: UUID, row: Any) -> Unit:
    return Unit(
        machine=machine,
        unit_id=unit_id,
        message_id=row["message_id"],
        place=Place(row["state"], row["step"]),
        attempt=row["attempt"],
        failures=row["failures"],
        queued_at=row["queued_at"],
        next_at=row["next_at"],
    )
