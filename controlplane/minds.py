"""What employees think: the cycles of their proactive loops, and what they believe, as they recorded it."""

import json
from typing import Any
from uuid import UUID

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from controlplane.errors import Invalid
from controlplane.messages import fitting
from empla.beliefs import DROPPED_BELOW, confidence_left
from empla.store.connect import Pool, load_queries, translated
from empla.v1 import control_pb2

SQL = load_queries("controlplane", "minds.sql")


class Minds:
    """The tables `cycles` and `beliefs`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def cycles(self, employee_id: UUID, *, size: int, before: UUID | None) -> tuple[list[control_pb2.Cycle], str]:
        """A page of an employee's cycles, newest first; and the token of the next page."""
        with translated():
            rows = await self._pool.fetch(SQL.cycles_of, employee_id, before, size)
        page = fitting(map(_cycle, rows))
        return page, page[-1].cycle_id if len(page) < len(rows) or len(rows) == size else ""

    async def beliefs(self, employee_id: UUID, *, size: int, token: str) -> tuple[list[control_pb2.Belief], str]:
        """A page of what an employee believes, by subject and predicate; and the token of the next page."""
        with translated():
            rows = await self._pool.fetch(SQL.beliefs_of, employee_id, *_after(token), size)
        told = [
            row for row in rows if confidence_left(row["confidence"], row["supported_at"], row["now"]) >= DROPPED_BELOW
        ]
        page = fitting(map(_belief, told))
        cut, full = len(page) < len(told), len(rows) == size
        last = told[len(page) - 1] if cut else rows[-1] if full else None
        return page, json.dumps([last["subject_key"], last["predicate_key"]]) if last is not None else ""


def _after(token: str) -> tuple[str, str]:
    """The subject and predicate that a page token names."""
    try:
        subject, predicate = json.loads(token) if token else ("", "")
    except (ValueError, TypeError) as error:
        raise _unknown_token() from error
    if not (isinstance(subject, str) and isinstance(predicate, str)) or "\0" in subject + predicate:
        raise _unknown_token()
    return subject, predicate


def _unknown_token() -> Invalid:
    return Invalid("the page token is none of ours", fields={"page_token": "unknown"})


def _belief(row: Any) -> control_pb2.Belief:
    belief = control_pb2.Belief(
        belief_id=str(row["belief_id"]),
        subject=row["subject"],
        predicate=row["predicate"],
        object=row["object"],
        confidence=confidence_left(row["confidence"], row["supported_at"], row["now"]),
        importance=row["importance"],
        promoted=row["promoted"],
        changes=[ParseDict(change, control_pb2.BeliefChange()) for change in row["changes"]],
    )
    belief.supported_at.FromDatetime(row["supported_at"])
    return belief


def _cycle(row: Any) -> control_pb2.Cycle:
    cycle = control_pb2.Cycle(
        cycle_id=str(row["cycle_id"]),
        epoch=row["epoch"],
        phase=row["phase"],
        outcome=row["outcome"],
        error=row["error"],
        perceived=row["perceived"],
        intention=ParseDict(row["intention"] or {}, Struct()),
        model=row["model"],
        tokens_in=row["tokens_in"],
        tokens_out=row["tokens_out"],
        cost_micros=row["cost_micros"],
    )
    cycle.started_at.FromDatetime(row["started_at"])
    if row["finished_at"] is not None:
        cycle.finished_at.FromDatetime(row["finished_at"])
    return cycle
