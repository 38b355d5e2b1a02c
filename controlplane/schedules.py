"""The table `schedules`, as operators see and change it; `controlplane.firing` runs them."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane import audit
from controlplane.auth import Operator
from controlplane.errors import AlreadyThere, Invalid, NotNow, TooLarge, Unknown
from empla.schedules import MOST_PER_EMPLOYEE, ImpossibleSchedule, check_wording, first_run, timing
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb

SQL = load_queries("controlplane", "schedules.sql")
SHOWN_RUNS = 20
TOO_MANY = "EM003"
"""The SQLSTATE of one schedule too many."""


class Schedules:
    """Makes, shows, pauses and ends schedules; each change is audited."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, employee_id: UUID, channel_id: UUID, wanted: pb.Schedule, operator: Operator) -> pb.Schedule:
        """A schedule that runs in a conversation of its own on that channel.

        Raises `Invalid` when it could never run, `AlreadyThere`, `Unknown`, `TooLarge` when the employee may have no more.
        """
        schedule_id, kind, expression = new_id(), *_when(wanted)
        zone, catch_up = wanted.time_zone or "UTC", wanted.catch_up or "latest"
        try:
            check_wording(wanted.name, wanted.instruction, catch_up)
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    now = await connection.fetchval(SQL.hold_launch, employee_id)
                    if now is None:
                        raise Unknown("the employee has been deleted")
                    anchor = now.replace(microsecond=0)
                    next_at = await _first_run(kind, expression, zone, anchor, now)
                    made = await connection.fetchrow(
                        SQL.create, schedule_id, employee_id, channel_id, operator.name, wanted.name, kind, expression, zone,
                        anchor, wanted.instruction, catch_up, next_at, False,
                    )  # fmt: skip
                    if made is None:
                        raise Unknown("the employee has been deleted")
                    await record(connection, operator.name, "create", made)
        except ImpossibleSchedule as error:
            raise _invalid(error) from error
        except asyncpg.UniqueViolationError as error:
            raise AlreadyThere(f"there is a schedule {wanted.name!r} already", fields={"name": "in use"}) from error
        except asyncpg.PostgresError as error:
            if error.sqlstate != TOO_MANY:
                raise
            raise TooLarge(
                f"an employee has {MOST_PER_EMPLOYEE} schedules at most", reason="TOO_MANY_SCHEDULES"
            ) from error
        return await self.get(schedule_id, operator)

    async def get(self, schedule_id: UUID, operator: Operator) -> pb.Schedule:
        """One schedule with its last runs; raises `Unknown`."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
                row = await connection.fetchrow(SQL.page, operator.tenant_id, None, True, None, 1, schedule_id)
                if row is None:
                    raise _unknown(schedule_id)
                runs = await connection.fetch(SQL.runs, schedule_id, SHOWN_RUNS)
        schedule = _schedule(row)
        schedule.runs.extend(map(_run, runs))
        return schedule

    async def page(
        self, operator: Operator, employee_id: UUID | None, *, ended: bool, size: int, after: UUID | None
    ) -> tuple[list[pb.Schedule], str]:
        """Schedules, the oldest first, and the token of the next page; '' when this was the last."""
        with translated():
            rows = await self._pool.fetch(SQL.page, operator.tenant_id, employee_id, ended, after, size, None)
        return list(map(_schedule, rows)), str(rows[-1]["schedule_id"]) if len(rows) == size else ""

    async def pause(self, schedule_id: UUID, operator: Operator, *, paused: bool) -> pb.Schedule:
        """Pause or resume; raises `Unknown`, `NotNow` when it has ended, `Invalid` when it would never run any more."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await _hold(connection, schedule_id, operator)
                if row["state"] == "ended":
                    raise NotNow(f"the schedule has ended: {row['reason']}")
                if paused != (row["state"] == "paused"):
                    await _pause(connection, row, paused=paused)
                    await record(connection, operator.name, "pause" if paused else "resume", row)
        return await self.get(schedule_id, operator)

    async def delete(self, schedule_id: UUID, operator: Operator) -> None:
        """End a schedule, if it has not ended; raises `Unknown`."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await _hold(connection, schedule_id, operator)
                if row["state"] != "ended":
                    await connection.execute(SQL.delete, schedule_id, f"deleted by {operator.name}")
                    await record(connection, operator.name, "delete", row)


def _when(wanted: pb.Schedule) -> tuple[str, str]:
    match wanted.WhichOneof("when"):
        case "at":
            try:
                return "at", wanted.at.ToDatetime(tzinfo=UTC).isoformat()
            except (ValueError, OverflowError) as error:
                raise Invalid("the time is none", fields={"at": f"no time: {error}"}) from error
        case "every_seconds":
            return "every", str(wanted.every_seconds)
        case "cron":
            return "cron", wanted.cron
    raise Invalid("nothing says when it runs", fields={"when": "at, every_seconds or cron"})


async def _first_run(kind: str, expression: str, zone: str, anchor: datetime, now: datetime) -> datetime:
    # In a thread, for a time zone is read from a file.
    return await asyncio.to_thread(lambda: first_run(timing(kind, expression, zone, anchor=anchor), now))


async def _hold(connection: AnyConnection, schedule_id: UUID, operator: Operator) -> Any:
    row = await connection.fetchrow(SQL.hold, schedule_id, operator.tenant_id)
    if row is None:
        raise _unknown(schedule_id)
    return row


async def _pause(connection: AnyConnection, row: Any, *, paused: bool) -> None:
    if paused:
        await connection.execute(SQL.pause, row["schedule_id"])
        return
    try:
        next_at = await _first_run(row["kind"], row["expression"], row["time_zone"], row["anchor"], row["now"])
    except ImpossibleSchedule as error:
        raise _invalid(error) from error
    await connection.execute(SQL.resume, row["schedule_id"], next_at)


async def record(connection: AnyConnection, actor: str, verb: str, row: Any) -> None:
    """Write into the audit log who did what with a schedule."""
    detail = {name: row[name] for name in ("name", "kind", "expression", "time_zone", "instruction")}
    await audit.record(connection, row["tenant_id"], f"schedule.{verb}", row["schedule_id"], detail, actor=actor)


def _invalid(error: ImpossibleSchedule) -> Invalid:
    field = "every_seconds" if error.field == "every" else error.field
    return Invalid(f"the schedule is impossible: {error}", reason="IMPOSSIBLE_SCHEDULE", fields={field: str(error)})


def _unknown(schedule_id: UUID) -> Unknown:
    return Unknown(f"there is no schedule {schedule_id}", reason="SCHEDULE_UNKNOWN")


def _schedule(row: Any) -> pb.Schedule:
    schedule = pb.Schedule(
        schedule_id=str(row["schedule_id"]),
        employee=row["employee"],
        name=row["name"],
        instruction=row["instruction"],
        time_zone=row["time_zone"],
        catch_up=row["catch_up"],
        next_run_at=_stamp(row["next_at"]),
        last_run_at=_stamp(row["last_at"]),
        state=row["state"],
        reason=row["reason"],
        sender=row["sender"],
        conversation=row["conversation"],
        channel=row["channel"],
        asked_in=str(row["asked_in"] or ""),
        created_at=_stamp(row["created_at"]),
    )
    _tell_when(schedule, row["kind"], row["expression"])
    return schedule


def _tell_when(schedule: pb.Schedule, kind: str, expression: str) -> None:
    """When it runs; of a row that an employee wrote, and that is none, it stays unsaid: it ends at its first run."""
    if kind == "cron":
        schedule.cron = expression
    elif kind == "every":
        if expression.isascii() and expression.isdigit() and len(expression) < 10:
            schedule.every_seconds = int(expression)
    else:
        try:
            moment = datetime.fromisoformat(expression)
        except ValueError:
            return
        if moment.tzinfo is not None:
            schedule.at.FromDatetime(moment)


def _run(row: Any) -> pb.ScheduleRun:
    return pb.ScheduleRun(
        due_at=_stamp(row["due_at"]),
        state=row["state"],
        message_id=str(row["message_id"] or ""),
        reason=row["reason"],
        fired_at=_stamp(row["fired_at"]),
    )


def _stamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
