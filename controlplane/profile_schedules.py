"""The schedules that a profile brings: made, changed and ended as the profile is, in the same transaction.

They are known by their names. One that stands in the profile as it did before stays as it is, also paused or deleted; what
people asked for, or an operator made, stays in any case.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import asyncpg

from controlplane.channels import SQL as CHANNELS_SQL
from controlplane.errors import AlreadyThere, Invalid, TooLarge
from controlplane.profiles.fields import field_name
from controlplane.profiles.schedules import place_of, timing_of
from controlplane.schedules import SQL, TOO_MANY, record
from empla.schedules import CATCH_UP, MOST_PER_EMPLOYEE, At, Every, ImpossibleSchedule, Timing, first_run
from empla.store.connect import AnyConnection
from empla.store.ids import new_id
from empla.v1 import control_pb2

SENDER = "profile"
"""Who the runs are from, and who changed the schedule."""
GONE = "the profile has it no more"


async def follow(
    connection: AnyConnection,
    tenant_id: UUID,
    employee_id: UUID,
    before: control_pb2.Profile,
    profile: control_pb2.Profile,
) -> None:
    """Have the schedules of `profile` after those of `before`, in the caller's transaction, which may hold the employee.

    Raises `Invalid` for one that would never run, `AlreadyThere` for a name that another schedule has, `TooLarge`.
    """
    had, has = ({one.name: one for one in each.schedules} for each in (before, profile))
    changed = [(i, one) for i, one in enumerate(profile.schedules) if one != had.get(one.name)]
    gone = [name for name in had if name not in has]
    if not changed and not gone:
        return
    now = await connection.fetchval(SQL.hold_launch, employee_id)
    for row in await connection.fetch(SQL.end_of_profile, employee_id, gone, GONE):
        await record(connection, SENDER, "delete", row)
    for i, one in changed:
        with _refused(i, one.name):
            await _have(connection, tenant_id, employee_id, one, now)


async def _have(
    connection: AnyConnection,
    tenant_id: UUID,
    employee_id: UUID,
    written: control_pb2.ProfileSchedule,
    now: datetime,
) -> None:
    """Change the schedule of that name, or make it."""
    zone, catch_up, anchor = written.time_zone or "UTC", written.catch_up or CATCH_UP[0], now.replace(microsecond=0)
    # In a thread, for a time zone is read from a file.
    when, next_at = await asyncio.to_thread(_runs, written, anchor, now)
    values = (written.name, *_as_kept(when), zone, anchor, written.instruction, catch_up, next_at)
    row = await connection.fetchrow(SQL.change_of_profile, employee_id, *values)
    verb = "update" if row is not None else "create"
    if row is None:
        channel_id = await connection.fetchval(CHANNELS_SQL.api_channel, new_id(), tenant_id)
        row = await connection.fetchrow(SQL.create, new_id(), employee_id, channel_id, SENDER, *values, True)
    if row is not None:  # or the employee is deleted
        await record(connection, SENDER, verb, row)


def _runs(written: control_pb2.ProfileSchedule, anchor: datetime, now: datetime) -> tuple[Timing, datetime]:
    when = timing_of(written, anchor)
    return when, first_run(when, now)


def _as_kept(when: Timing) -> tuple[str, str]:
    match when:
        case At():
            return "at", when.moment.isoformat()
        case Every():
            return "every", str(when.seconds)
        case _:
            return "cron", when.expression


@contextmanager
def _refused(i: int, name: str) -> Iterator[None]:
    try:
        yield
    except ImpossibleSchedule as error:
        place = f"profile.{field_name(place_of(i, error))}"
        raise Invalid(f"the profile does not fit: {place}: {error}", fields={place: str(error)}) from error
    except asyncpg.UniqueViolationError as error:
        place = f"profile.schedules[{i}].name"
        raise AlreadyThere(
            f"there is a schedule {name!r} already, which is none of the profile's", fields={place: "in use"}
        ) from error
    except asyncpg.PostgresError as error:
        if error.sqlstate != TOO_MANY:
            raise
        raise TooLarge(f"an employee has {MOST_PER_EMPLOYEE} schedules at most", reason="TOO_MANY_SCHEDULES") from error
