"""The kill switch: who may not work, because a person has paused it or a budget is spent.

The tables say who is paused. Streams are told of each change at once where it is made, and in rounds of what was changed
elsewhere, or by the day that turned: what an employee's heartbeat says is compared with the tables.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from controlplane import audit
from controlplane.auth import Operator
from controlplane.employees import EmployeeRecord
from controlplane.errors import Invalid, NotNow
from controlplane.gateway import Streams
from controlplane.rounds import every
from empla.store.connect import AnyConnection, Pool, load_queries, translated

SQL = load_queries("controlplane", "pauses.sql")
ROUND_SECONDS = 2.0
MAX_REASON = 1000


class Pauses:
    """Pauses employees and tenants, and tells the streams. `now` is the time to go by; None means the database's."""

    def __init__(self, pool: Pool, streams: Streams, now: Callable[[], datetime | None] = lambda: None) -> None:
        self._pool, self._streams, self._now = pool, streams, now

    async def pause_employee(self, record: EmployeeRecord, operator: Operator, reason: str) -> int:
        """Pause an employee; returns how many are paused by this: it, or none that was not before."""
        why = _checked(reason)
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(SQL.pause_employee, record.employee_id, operator.name, why):
                    return 0
                about = record.tenant_id, "employee.pause", record.employee_id, {"reason": why}
                await audit.record(connection, *about, actor=operator.name)
        self._streams.pause(record.employee_id, paused=True)
        return 1

    async def pause_tenant(self, tenant_id: UUID, operator: Operator, reason: str) -> int:
        """Pause every employee of a tenant, those that are created later as well."""
        why = _checked(reason)
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(SQL.pause_tenant, tenant_id, operator.name, why):
                    return 0
                about = tenant_id, "tenant.pause", tenant_id, {"reason": why}
                await audit.record(connection, *about, actor=operator.name)
                employees = await _employees_of(connection, tenant_id=tenant_id)
        for employee_id in employees:
            self._streams.pause(employee_id, paused=True)
        return len(employees)

    async def resume_employee(self, record: EmployeeRecord, operator: Operator) -> int:
        """Take back the pause of an employee, and grant its budget of the day once more if that is spent.

        Raises `NotNow` when nothing pauses it, or only what is its tenant's.
        """
        employee_id = record.employee_id
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                resumed = await connection.fetchval(SQL.resume_employee, employee_id)
                granted = await connection.fetchval(SQL.grant_again, employee_id, operator.name)
                still = await connection.fetchval(SQL.pause_of, employee_id)
                if not (resumed or granted):
                    raise _not_resumed(record, still)
                about = record.tenant_id, "employee.resume", employee_id, {"granted": granted}
                await audit.record(connection, *about, actor=operator.name)
                await _employees_of(connection, employee_id=employee_id)
        self._streams.pause(employee_id, paused=still is not None)
        return int(still is None)

    async def resume_tenant(self, tenant_id: UUID, operator: Operator) -> int:
        """The same for a tenant; returns how many of its employees may work now. Raises `NotNow`."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                resumed = await connection.fetchval(SQL.resume_tenant, tenant_id)
                granted = await connection.fetchval(SQL.grant_again, tenant_id, operator.name)
                if not (resumed or granted):
                    raise NotNow("the tenant is not paused", reason="NOT_PAUSED")
                about = tenant_id, "tenant.resume", tenant_id, {"granted": granted}
                await audit.record(connection, *about, actor=operator.name)
                employees = await _employees_of(connection, tenant_id=tenant_id)
                still = {row["employee_id"] for row in await connection.fetch(SQL.paused, None)}
        for employee_id in employees:
            self._streams.pause(employee_id, paused=employee_id in still)
        return len(set(employees) - still)

    async def run(self) -> None:
        """Tell in rounds until cancelled."""
        await every(ROUND_SECONDS, self.tell, name="telling who is paused")

    async def tell(self) -> None:
        """Tell each stream whose employee does not do what the tables say. Raises `StoreUnavailable`."""
        if not (streams := self._streams.all()):
            return
        with translated():
            paused = {row["employee_id"] for row in await self._pool.fetch(SQL.paused, self._now())}
        for stream in streams:
            employee_id = stream.launch.employee_id
            beat = stream.heartbeat
            if beat is not None and beat.state != "draining" and (beat.state == "paused") != (employee_id in paused):
                self._streams.pause(employee_id, paused=employee_id in paused)


async def _employees_of(
    connection: AnyConnection, *, tenant_id: UUID | None = None, employee_id: UUID | None = None
) -> list[UUID]:
    return [row["employee_id"] for row in await connection.fetch(SQL.employees_of, tenant_id, employee_id)]


def _not_resumed(record: EmployeeRecord, still: dict[str, str] | None) -> NotNow:
    if still is None:
        return NotNow(f"{record.name} is not paused", reason="NOT_PAUSED")
    return NotNow(
        f"{record.name} is paused with its tenant, {record.tenant}: resume that (`empla resume --tenant {record.tenant}`)",
        reason="TENANT_PAUSED",
    )


def _checked(reason: str) -> str:
    if len(reason) > MAX_REASON or "\0" in reason:
        raise Invalid(
            "the reason is no reason", fields={"reason": f"at most {MAX_REASON} characters, none of them NUL"}
        )
    return reason.strip()
