"""The employees on record: what they are, what they should be doing, and which launch is theirs."""

import asyncio
import re
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from itertools import batched
from typing import Any
from uuid import UUID

from google.protobuf.json_format import MessageToDict, ParseDict

from controlplane import audit
from controlplane.errors import AlreadyThere, Invalid, NotNow, Unknown
from controlplane.failures import SQL as FAILURES_SQL
from controlplane.failures import Failures
from controlplane.goals import end_all, follow_profile, hold_launch, set_of_profile
from controlplane.profile_schedules import follow
from controlplane.profiles import checked_profile
from empla.capabilities import WHEN_BUSY
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id
from empla.store.roles import drop_employee_role
from empla.v1 import control_pb2

SQL = load_queries("controlplane", "employees.sql")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
AUTONOMY = {
    "shadow": control_pb2.AUTONOMY_SHADOW,
    "supervised": control_pb2.AUTONOMY_SUPERVISED,
    "autonomous": control_pb2.AUTONOMY_AUTONOMOUS,
}
_AUTONOMY_NAMES = {value: name for name, value in AUTONOMY.items()}
DEFAULT_TENANT = "default"
DELETED = "the employee was deleted"
MAX_NAMED = 500
"""Messages that one review names."""
_NO_ID = UUID(int=0)
_LONGEST_NAME = 63
_PAGE = 1000


@dataclass(frozen=True)  # without slots, for what is cached
class EmployeeRecord:
    """A row of `employees` with its tenant's name and its launch."""

    employee_id: UUID
    tenant_id: UUID
    tenant: str
    name: str
    kept_profile: dict[str, Any]
    autonomy: str
    desired_state: str
    pause: dict[str, Any] | None
    """Why it is paused: `cause`, `by`, `reason`, `since`."""
    limits_dollars: bool
    limits_tokens: bool
    epoch: int
    created_at: datetime
    launched_at: datetime | None
    attached_at: datetime | None
    """When the process of its last launch first attached."""
    process: dict[str, Any] | None = None
    """How its launcher knows the process; None: there is none, or that is not on record yet."""
    draining: float | None = None
    """Seconds in which the launch is to finish, if somebody wants it ended."""
    failures: Failures = field(default_factory=Failures)
    launcher: str | None = None
    """The name of who launched it last."""

    @cached_property
    def profile(self) -> control_pb2.Profile:
        """Its profile, made when first asked for: it takes longest of all here, and rounds over everybody never ask."""
        return _profile(self.kept_profile)

    @property
    def paused(self) -> bool:
        """Whether it may not work."""
        return self.pause is not None


class Employees:
    """The tables `tenants`, `employees` and `employee_epochs`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ensure_tenant(self, name: str) -> UUID:
        """The tenant of that name, made when it is not there."""
        with translated():
            tenant_id: UUID = await self._pool.fetchval(SQL.ensure_tenant, new_id(), name)
        return tenant_id

    async def tenant(self, name: str) -> UUID:
        """The tenant of that name; raises `Unknown`."""
        with translated():
            tenant_id: UUID | None = await self._pool.fetchval(SQL.tenant, name)
        if tenant_id is None:
            raise Unknown(f"there is no tenant {name!r}")
        return tenant_id

    async def create(
        self, tenant_id: UUID, name: str, profile: control_pb2.Profile, *, running: bool
    ) -> EmployeeRecord:
        """A new employee, with the schedules of its profile; raises `Invalid` and `AlreadyThere`."""
        if not NAME.fullmatch(name) or is_id(name):
            wanted = "a-z, 0-9 and -, 1 to 63 characters that are no id"
            raise Invalid(f"{name!r} is no name", fields={"name": wanted})
        autonomy = _AUTONOMY_NAMES.get(profile.autonomy, "supervised")
        fields = await _fields(profile)
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                created: UUID | None = await connection.fetchval(
                    SQL.create, new_id(), tenant_id, name, fields, autonomy, "running" if running else "stopped"
                )
                if created is None:
                    raise AlreadyThere(f"there is an employee {name!r} already", fields={"name": "in use"})
                await set_of_profile(connection, created, profile.goals, "")
                await follow(connection, tenant_id, created, control_pb2.Profile(), profile)
                await audit.record(connection, tenant_id, "employee.create", created, {"name": name})
        return await self.by_id(created)

    async def find(self, tenant_id: UUID, reference: str) -> EmployeeRecord:
        """The live employee of that name or id, if it is of that tenant; raises `Unknown`, which tells the nearest name."""
        known = NAME.fullmatch(reference) or is_id(reference)
        found = await self._find(tenant_id, reference, _as_id(reference)) if known else None
        if found is None or found.tenant_id != tenant_id:
            nearest = await self._nearest(tenant_id, reference)
            hint = f", but there is {nearest[0]!r}" if nearest else ""
            raise Unknown(f"there is no employee {reference!r}{hint}", reason="EMPLOYEE_UNKNOWN")
        return found

    async def _nearest(self, tenant_id: UUID, reference: str) -> list[str]:
        """The one name of that tenant that is most like `reference`, if one is."""
        wanted = reference.lower()[:_LONGEST_NAME]
        if not wanted.isprintable():
            return []
        with translated():
            names = [row["name"] for row in await self._pool.fetch(SQL.names_like, tenant_id, wanted)]
        return await asyncio.to_thread(get_close_matches, wanted, names, n=1)

    async def by_id(self, employee_id: UUID) -> EmployeeRecord:
        """The live employee with that id; raises `Unknown`."""
        found = await self._find(None, "", employee_id)
        if found is None:
            raise Unknown(f"there is no employee {employee_id}", reason="EMPLOYEE_UNKNOWN")
        return found

    async def _find(self, tenant_id: UUID | None, name: str, employee_id: UUID | None) -> EmployeeRecord | None:
        with translated():
            row = await self._pool.fetchrow(SQL.find, tenant_id, name, employee_id)
        return None if row is None else _record(row)

    async def list_of(
        self, tenant_id: UUID | None, *, after: tuple[str, UUID] = ("", _NO_ID), limit: int = 1000
    ) -> list[EmployeeRecord]:
        """Live employees of a tenant (None: of all), by name and id, those that come after one."""
        with translated():
            return [_record(row) for row in await self._pool.fetch(SQL.all, tenant_id, *after, limit)]

    async def want(self, employee_id: UUID, state: str, action: str = "") -> None:
        """Set the desired state, running or stopped, and forgive what failed before.

        `action` is what the audit log calls that, if not start or stop.
        """
        action = action or {"running": "start", "stopped": "stop"}[state]
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(SQL.set_desired_state, employee_id, state)
                if row is not None:
                    await connection.execute(FAILURES_SQL.forgive, employee_id)
                    about = row["tenant_id"], f"employee.{action}", employee_id, {"name": row["name"]}
                    await audit.record(connection, *about)

    async def update(
        self,
        employee_id: UUID,
        profile: control_pb2.Profile | None,
        autonomy: control_pb2.Autonomy.ValueType,
        when_busy: str = "",
    ) -> None:
        """Replace the profile with its goals and schedules, the autonomy, or what the profile says of further messages.

        Raises `Invalid`, `Unknown`, `TooLarge`, and `AlreadyThere` when a schedule has the name of one that is none of the
        profile's.
        """
        if when_busy not in ("", *WHEN_BUSY):
            raise Invalid(f"{when_busy[:80]!r} is no policy", fields={"when_busy": f"one of {', '.join(WHEN_BUSY)}"})
        fields = None if profile is None else await _fields(profile)
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await hold_launch(connection, employee_id)
                held = await connection.fetchrow(SQL.hold_profile, employee_id)
                if held is None:
                    raise Unknown(f"there is no employee {employee_id}", reason="EMPLOYEE_UNKNOWN")
                row = await connection.fetchrow(
                    SQL.update, employee_id, fields, _AUTONOMY_NAMES.get(autonomy), when_busy
                )
                assert row is not None  # it is held
                detail = {"name": row["name"], "changed": _changed(held, row)}
                await audit.record(connection, row["tenant_id"], "employee.update", employee_id, detail)
                if profile is not None:
                    before = _profile(held["profile"])
                    await follow_profile(connection, employee_id, before.goals, profile.goals)
                    await follow(connection, held["tenant_id"], employee_id, before, profile)

    async def delete(self, employee_id: UUID, *, force: bool) -> list[UUID]:
        """Make the name free, end schedules and give up goals; raises `NotNow` while messages are in work, unless `force`.

        With `force` its process is superseded and its messages fail; they are returned, and an open review names them. What
        waits in the outbox is withheld, except notices; a reply on its way is left to the Sender, who ends its message.
        """
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await hold_launch(connection, employee_id)
                # Before the employee's row: whoever begins a step or fires a schedule waits for that with it in hand.
                await end_all(connection, employee_id, DELETED)
                await connection.execute(SQL.end_schedules, employee_id, DELETED)
                await connection.execute(SQL.hold_outbox, employee_id)
                held = await connection.fetchrow(SQL.hold_employee, employee_id)
                if held is None:
                    return []
                live = await connection.fetchval(SQL.live_messages, employee_id)
                if live and not force:
                    raise NotNow(f"{live} messages have not ended; use force to delete the employee all the same")
                ended = await _end_work(connection, employee_id) if force else []
                await connection.execute(SQL.delete, employee_id)
                detail = {"name": held["name"], "force": force}
                await audit.record(connection, held["tenant_id"], "employee.delete", employee_id, detail)
                return ended

    async def everybody(self) -> list[EmployeeRecord]:
        """All of all tenants, by their names."""
        records = page = await self.list_of(None, limit=_PAGE)
        while len(page) == _PAGE:
            page = await self.list_of(None, after=(page[-1].name, page[-1].employee_id), limit=_PAGE)
            records = records + page
        return records

    async def left_roles(self) -> list[UUID]:
        """Deleted employees that still have a database role."""
        with translated():
            return [row["employee_id"] for row in await self._pool.fetch(SQL.left_roles)]

    async def drop_role(self, employee_id: UUID) -> None:
        """Remove the database role of an employee that is deleted and stopped."""
        with translated():
            async with self._pool.acquire() as connection:
                await drop_employee_role(connection, employee_id)


async def _fields(profile: control_pb2.Profile) -> dict[str, Any]:
    """The profile as it is kept, checked: in a thread, for a time zone is read from a file."""
    return MessageToDict(await asyncio.to_thread(checked_profile, profile), preserving_proto_field_name=True)


async def _end_work(connection: AnyConnection, employee_id: UUID) -> list[UUID]:
    await connection.execute(SQL.supersede, employee_id)
    await connection.execute(SQL.withhold_outbox, employee_id, DELETED)
    ended = [row["message_id"] for row in await connection.fetch(SQL.end_messages, employee_id, DELETED)]
    await connection.execute(SQL.expire_reviews, employee_id, ended)
    for named in batched(ended, MAX_NAMED):
        await connection.execute(SQL.open_review, new_id(), list(named), DELETED)
    return ended


def _changed(before: Any, after: Any) -> list[str]:
    """The fields of the profile that an update changed, and `autonomy` if it did."""
    old, new = before["profile"], after["profile"]
    fields = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    return sorted(fields | ({"autonomy"} if before["autonomy"] != after["autonomy"] else set()))


def is_id(reference: str) -> bool:
    """Whether `reference` is an employee's id and no name."""
    return _as_id(reference) is not None


def _as_id(reference: str) -> UUID | None:
    try:
        return UUID(reference)
    except ValueError:
        return None


def _profile(kept: dict[str, Any]) -> control_pb2.Profile:
    return ParseDict(kept, control_pb2.Profile(), ignore_unknown_fields=True)


def _record(row: Any) -> EmployeeRecord:
    return EmployeeRecord(
        row["employee_id"],
        row["tenant_id"],
        row["tenant"],
        row["name"],
        row["profile"],
        row["autonomy"],
        row["desired_state"],
        row["pause"],
        row["limits_dollars"],
        row["limits_tokens"],
        row["epoch"],
        row["created_at"],
        row["launched_at"],
        row["attached_at"],
        row["process"],
        row["draining"],
        _failures(row),
        row["launcher"],
    )


def _failures(row: Any) -> Failures:
    if row["failures"] is None:
        return Failures()
    names = "restarts", "failures", "own", "reason", "ended_at", "next_at", "wait"
    return Failures(*(row[name] for name in names))
