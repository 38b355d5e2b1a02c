"""Rows that tests start from, written straight into the tables."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from agent.models.interface import ModelRequest
from empla.store.connect import Pool
from empla.store.ids import new_id

SECRET = b"a-secret-of-the-tests"


def said_in(request: ModelRequest) -> str:
    """What a model is asked to answer, without what is remembered, which stands before it."""
    return request.messages[-1].text.rpartition('<data kind="message"')[2]


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


async def add_schedule(
    pool: Pool,
    tenant_id: UUID,
    employee_id: UUID,
    channel_id: UUID,
    *,
    next_at: datetime,
    kind: str = "every",
    expression: str = "3600",
    instruction: str = "what is 1 + 1?",
    catch_up: str = "latest",
    conversation: str = "",
    name: str = "",
) -> UUID:
    """A schedule that ada has asked for, made an hour before its next run, from which `every` counts."""
    schedule_id = new_id()
    conversation_id = await pool.fetchval(
        "INSERT INTO conversations (conversation_id, tenant_id, employee_id, channel_id, external_id) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (channel_id, employee_id, external_id) "
        "DO UPDATE SET external_id = excluded.external_id RETURNING conversation_id",
        new_id(),
        tenant_id,
        employee_id,
        channel_id,
        conversation or schedule_id.hex,
    )
    await pool.execute(
        "INSERT INTO schedules (schedule_id, tenant_id, employee_id, conversation_id, sender, name, kind, expression, "
        "anchor, instruction, catch_up, next_at, created_at) "
        "VALUES ($1, $2, $3, $4, 'ada', $5, $6, $7, $8, $9, $10, $8, $11)",
        schedule_id,
        tenant_id,
        employee_id,
        conversation_id,
        name or schedule_id.hex,
        kind,
        expression,
        next_at,
        instruction,
        catch_up,
        next_at - timedelta(hours=1),
    )
    return schedule_id


async def add_goal(
    pool: Pool, tenant_id: UUID, employee_id: UUID, text: str = "Know every deal.", *, kind: str = "maintain"
) -> UUID:
    goal_id = new_id()
    await pool.execute(
        "INSERT INTO goals (goal_id, tenant_id, employee_id, text, kind, origin) VALUES ($1, $2, $3, $4, $5, 'profile')",
        goal_id,
        tenant_id,
        employee_id,
        text,
        kind,
    )
    return goal_id


async def add_intention(
    pool: Pool,
    tenant_id: UUID,
    employee_id: UUID,
    *instructions: str,
    goal_id: UUID | None = None,
    state: str = "ready",
) -> UUID:
    """A plan that is carried out, with a step for each instruction."""
    intention_id = new_id()
    goal_id = goal_id or await add_goal(pool, tenant_id, employee_id, f"Keep {intention_id}.")
    await pool.execute(
        "INSERT INTO intentions (intention_id, goal_id, tenant_id, employee_id, cycle_id, title, why, state) "
        "VALUES ($1, $2, $3, $4, $5, 'Look at the deals', 'nobody has', 'running')",
        intention_id,
        goal_id,
        tenant_id,
        employee_id,
        new_id(),
    )
    for step, instruction in enumerate(instructions, 1):
        await pool.execute(
            "INSERT INTO intention_steps (intention_id, step, tenant_id, employee_id, name, instruction, state, ready_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())",
            intention_id,
            step,
            tenant_id,
            employee_id,
            f"step {step}",
            instruction,
            state,
        )
    return intention_id
