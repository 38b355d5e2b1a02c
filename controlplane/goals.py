"""The goals of employees, with what they intend for them: set and given up here, pursued by the employees themselves."""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from google.protobuf.json_format import ParseDict

from controlplane import audit
from controlplane.auth import Operator
from controlplane.errors import AlreadyThere, Invalid, NotNow, TooLarge, Unknown
from controlplane.messages import fitting
from empla.goals import KINDS, MAX_GOAL, MOST_ACTIVE_GOALS, USUAL_PRIORITY
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb

SQL = load_queries("controlplane", "goals.sql")
PROFILE = "profile"
"""The origin of a goal that an employee's profile names."""
MAX_MEASURE = 200
LISTED_CHARACTERS = 200
_WHOLE = 1_000_000
_NOTHING_MEASURED = (None, None, None, None)


class Goals:
    """The table `goals`, as operators see and change it; each change is audited."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def set(self, employee_id: UUID, wanted: pb.Goal, operator: Operator) -> pb.Goal:
        """A new goal, for which the employee plans with its next cycle.

        Raises `Invalid`, `AlreadyThere`, `Unknown`, and `TooLarge` when the employee may have no more.
        """
        if wrong := dict(_wrong(wanted)):
            raise Invalid("; ".join(f"{name}: {why}" for name, why in wrong.items()), fields=wrong)
        goal_id, text = new_id(), wanted.text.strip()
        fields = (
            wanted.kind or KINDS[0],
            wanted.priority or USUAL_PRIORITY,
            wanted.deadline.ToDatetime(tzinfo=UTC) if wanted.HasField("deadline") else None,
            *_measured(wanted),
        )
        try:
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    await connection.execute(SQL.hold_launch, employee_id)
                    _bound(1, await connection.fetch(SQL.known, employee_id))
                    why = f"a goal was set: {text}"
                    if not await connection.fetch(SQL.set, employee_id, [goal_id], [text], *fields, operator.name, why):
                        raise Unknown("the employee has been deleted")
                    await _record(connection, operator, "set", await _found(connection, goal_id, operator))
        except asyncpg.UniqueViolationError as error:
            raise AlreadyThere("the employee has this goal already", fields={"text": "in use"}) from error
        return await self.get(goal_id, operator)

    async def get(self, goal_id: UUID, operator: Operator) -> pb.Goal:
        """One goal with its last changes and plans, none of whose texts is cut; raises `Unknown`."""
        with translated():
            row = await self._pool.fetchrow(SQL.page, operator.tenant_id, None, True, None, 1, goal_id, _WHOLE)
        if row is None:
            raise _unknown(goal_id)
        return _goal(row)

    async def page(
        self, operator: Operator, employee_id: UUID | None, *, ended: bool, size: int, after: UUID | None
    ) -> tuple[list[pb.Goal], str]:
        """Goals in the order in which they were set, and the token of the next page; '' when this was the last."""
        about = operator.tenant_id, employee_id, ended, after, size, None
        with translated():
            rows = await self._pool.fetch(SQL.page, *about, LISTED_CHARACTERS)
        page = fitting(map(_goal, rows))
        return page, page[-1].goal_id if len(page) < len(rows) or len(rows) == size else ""

    async def abandon(self, goal_id: UUID, operator: Operator, reason: str) -> UUID:
        """Have a goal given up; whose it was. Again is the same as once.

        Raises `Unknown`, and `NotNow` when it was achieved or has failed.
        """
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                found = await _found(connection, goal_id, operator)
                await connection.execute(SQL.hold_launch, found["employee_id"])
                goal = await _found(connection, goal_id, operator)  # as it is now that its employee cannot move it
                if goal["state"] not in ("active", "abandoned"):
                    raise NotNow(f"the goal is {goal['state']}: {goal['reason']}", reason="GOAL_ENDED")
                if goal["state"] == "active":
                    why = f"abandoned by {operator.name}" + (f": {reason}" if reason else "")
                    await _abandon(connection, [goal_id], why)
                    await _record(connection, operator, "abandon", goal, reason=reason)
                employee_id: UUID = goal["employee_id"]
                return employee_id


async def hold_launch(connection: AnyConnection, employee_id: UUID) -> None:
    """Let no write of the employee's process come between until the transaction ends."""
    await connection.execute(SQL.hold_launch, employee_id)


async def set_of_profile(connection: AnyConnection, employee_id: UUID, texts: Iterable[str], why: str) -> None:
    """Set an employee goals to maintain, because its profile names them; `why` it has to plan now, if it has."""
    wanted = _texts(texts)
    await connection.execute(
        SQL.set, employee_id, [new_id() for _ in wanted], wanted, "maintain", USUAL_PRIORITY, None, *_NOTHING_MEASURED,
        PROFILE, why,
    )  # fmt: skip


async def follow_profile(
    connection: AnyConnection, employee_id: UUID, before: Iterable[str], now: Iterable[str]
) -> None:
    """Set what is new in a profile's goals and give up what it names no more; the caller holds the employee's launch.

    One that has ended stays so as long as the profile goes on to name it. Raises `TooLarge` when that are too many.
    """
    known, wanted, named = await connection.fetch(SQL.known, employee_id), _texts(now), set(_texts(before))
    active = {row["text"]: row for row in known if row["state"] == "active"}
    ended = {row["text"] for row in known if row["origin"] == PROFILE and row["text"] in named}
    added = [text for text in wanted if text not in active and text not in ended]
    gone = [row["goal_id"] for text, row in active.items() if row["origin"] == PROFILE and text not in set(wanted)]
    _bound(len(added), [row for row in known if row["goal_id"] not in gone])
    await _abandon(connection, gone, "no longer in the profile")
    if added:
        await set_of_profile(connection, employee_id, added, "the goals of the profile have changed")


async def end_all(connection: AnyConnection, employee_id: UUID, why: str) -> None:
    """Give up every goal of an employee, with its plans; the caller holds the employee's launch."""
    known = await connection.fetch(SQL.known, employee_id)
    await _abandon(connection, [row["goal_id"] for row in known], why)


def _texts(written: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text.strip() for text in written))


def _bound(more: int, known: Iterable[Any]) -> None:
    if more and sum(row["state"] == "active" for row in known) + more > MOST_ACTIVE_GOALS:
        raise TooLarge(f"an employee has {MOST_ACTIVE_GOALS} active goals at most", reason="TOO_MANY_GOALS")


async def _found(connection: AnyConnection, goal_id: UUID, operator: Operator) -> Any:
    row = await connection.fetchrow(SQL.found, goal_id, operator.tenant_id)
    if row is None:
        raise _unknown(goal_id)
    return row


async def _abandon(connection: AnyConnection, goal_ids: Sequence[UUID], why: str) -> None:
    await connection.execute(SQL.abandon, goal_ids, why)
    await connection.execute(SQL.abandon_plans, goal_ids)
    await connection.execute(SQL.skip_steps, goal_ids)


async def _record(connection: AnyConnection, operator: Operator, verb: str, row: Any, **detail: str) -> None:
    about = row["tenant_id"], f"goal.{verb}", row["goal_id"], {"text": row["text"], **detail}
    await audit.record(connection, *about, actor=operator.name)


def _unknown(goal_id: UUID) -> Unknown:
    return Unknown(f"there is no goal {goal_id}", reason="GOAL_UNKNOWN")


def _wrong(wanted: pb.Goal) -> Iterator[tuple[str, str]]:
    if why := _wrong_text(wanted.text, MAX_GOAL):
        yield "text", why
    if wanted.kind not in ("", *KINDS):
        yield "kind", f"one of {', '.join(KINDS)}"
    if wanted.priority > 10:
        yield "priority", "from 1 to 10; 0 for the usual one"
    if wanted.HasField("deadline"):
        try:
            past = wanted.deadline.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)
        except (ValueError, OverflowError) as error:
            yield "deadline", f"no time: {error}"
        else:
            if past:
                yield "deadline", "in the future"
    if wanted.HasField("measure"):
        yield from _wrong_measure(wanted.measure)


def _wrong_measure(measure: pb.GoalMeasure) -> Iterator[tuple[str, str]]:
    for name in ("subject", "predicate"):
        if why := _wrong_text(getattr(measure, name), MAX_MEASURE):
            yield f"measure.{name}", why
    for name in ("start", "target"):
        if not math.isfinite(getattr(measure, name)):
            yield f"measure.{name}", "a finite number"
    if measure.start == measure.target:
        yield "measure.target", "another number than the start"


def _wrong_text(text: str, most: int) -> str:
    """Why that is not 1 to `most` characters to go by; '' when it is."""
    return "" if 1 <= len(text.strip()) <= most and "\0" not in text else f"1 to {most} characters, none of them NUL"


def _measured(wanted: pb.Goal) -> tuple[Any, ...]:
    measure = wanted.measure
    if not wanted.HasField("measure"):
        return _NOTHING_MEASURED
    return measure.subject.strip(), measure.predicate.strip(), measure.start, measure.target


def _goal(row: Any) -> pb.Goal:
    plain = ("employee", "text", "kind", "priority", "origin", "state", "progress", "reason")
    goal = pb.Goal(
        goal_id=str(row["goal_id"]),
        steps_done=row["done"],
        steps_open=row["open"],
        changes=[ParseDict(change, pb.GoalChange()) for change in row["changes"]],
        intentions=[ParseDict(intention, pb.Intention()) for intention in row["intentions"]],
        **{name: row[name] for name in plain},
    )
    for name in ("deadline", "assessed_at", "created_at", "ended_at"):
        if row[name] is not None:
            getattr(goal, name).FromDatetime(row[name])
    if row["subject"] is not None:
        measure = {name: row[name] for name in ("subject", "predicate", "start", "target")}
        goal.measure.CopyFrom(pb.GoalMeasure(**measure))
    return goal
