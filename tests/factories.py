"""Rows that tests start from, written straight into the tables."""

from typing import Any
from uuid import UUID

from empla.store.connect import Pool
from empla.store.ids import new_id

SECRET = b"a-secret-of-the-tests"


async def add_tenant(pool: Pool, name: str = "default") -> UUID:
    tenant_id = new_id()
    await pool.execute("INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)", tenant_id, name)
    return tenant_id


async def add_employee(
    pool: Pool,
    tenant_id: UUID,
    name: str = "sales-ae",
    *,
    autonomy: str = "autonomous",
    desired_state: str = "stopped",
    profile: dict[str, Any] | None = None,
) -> UUID:
    employee_id = new_id()
    await pool.execute(
        "INSERT INTO employees (employee_id, tenant_id, name, profile, autonomy, desired_state) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        employee_id,
        tenant_id,
        name,
        profile or {"role": "Account executive"},
        autonomy,
        desired_state,
    )
    await pool.execute(
        "INSERT INTO employee_epochs (employee_id, tenant_id) VALUES ($1, $2)",
        employee_id,
        tenant_id,
    )
    return employee_id


async def add_channel(
    pool: Pool,
    tenant_id: UUID,
    employee_id: UUID | None = None,
    name: str = "inbox",
    *,
    kind: str = "webhook",
    secret: bytes | None = SECRET,
    callback_url: str | None = None,
) -> UUID:
    channel_id = new_id()
    await pool.execute(
        "INSERT INTO channels (channel_id, tenant_id, employee_id, kind, name, secret, callback_url) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        channel_id,
        tenant_id,
        employee_id,
        kind,
        name,
        secret,
        callback_url,
    )
    return channel_id
