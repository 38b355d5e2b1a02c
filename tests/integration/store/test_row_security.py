"""An employee's database role sees its own rows and nothing else, in every table there is."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import pytest

from empla.store.connect import Connection, Pool
from empla.store.ids import new_id
from empla.store.roles import create_employee_role, employee_dsn
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_goal, add_intention, add_tenant

OWN_ROWS_ONLY = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
FOR_EVERYBODY = {"state_edges"}
OWN_DELETES = {
    "beliefs": "belief_id",
    "memories": "memory_id",
    "procedure_runs": "unit_id",
    "procedures": "procedure_id",
    "working_notes": "note_id",
}
"""Tables of which employees delete rows by a function, and how it knows them."""


@dataclass
class Neighbours:
    """Two employees, each with a row in every table that has employees' rows; and the first one's connection."""

    owner: Pool
    mine: UUID
    other: UUID
    employee: Connection


async def _fill(pool: Pool, tenant_id: UUID, employee_id: UUID, channel_id: UUID) -> None:
    named = ("conversation", "message", "worker", "outbox", "review", "memory", "schedule")
    ids = {name: new_id() for name in named}
    me = (tenant_id, employee_id)
    await pool.execute(
        "INSERT INTO conversations VALUES ($1, $2, $3, $4, $5)", ids["conversation"], *me, channel_id, str(employee_id)
    )
    await pool.execute(
        "INSERT INTO inbound_messages (message_id, tenant_id, employee_id, channel_id, conversation_id, event_id, sender, "
        "epoch, attempt, started_at) VALUES ($1, $2, $3, $4, $5, $6, 'ada', 1, 1, now())",
        ids["message"], *me, channel_id, ids["conversation"], new_id().hex,
    )  # fmt: skip
    message = (ids["message"], *me)
    for statement, *values in (
        ("INSERT INTO message_bodies (message_id, tenant_id, employee_id, body) VALUES ($1, $2, $3, 'secret')",),
        ("INSERT INTO message_workers (worker_id, message_id, tenant_id, employee_id, intent_index, intent) "
         "VALUES ($4, $1, $2, $3, 0, '{}')", ids["worker"]),
        ("INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, queued_at, "
         "started_at, duration_ms, outcome) VALUES ($1, 'x', 1, $1, $2, $3, 'receive', now(), now(), 1, 'succeeded')",),
        ("INSERT INTO model_responses VALUES ($1, 0, $1, $2, $3, 1, '{}')",),
        ("INSERT INTO effects (unit_id, response_index, call_index, message_id, tenant_id, employee_id, epoch, capability, "
         "action, arguments, repeatable) VALUES ($1, 0, 0, $1, $2, $3, 1, 'c', 'a', '{}', true)",),
        ("INSERT INTO sub_agents (sub_agent_id, worker_id, response_index, call_index, task_index, message_id, tenant_id, "
         "employee_id, epoch, instruction) VALUES ($4, $1, 0, 0, 0, $1, $2, $3, 1, 'x')", new_id()),
        ("INSERT INTO outbox (outbox_id, message_id, tenant_id, employee_id, kind, body, epoch) "
         "VALUES ($4, $1, $2, $3, 'reply', 'text', 1)", ids["outbox"]),
        ("INSERT INTO reviews (review_id, message_id, tenant_id, employee_id, kind) "
         "VALUES ($4, $1, $2, $3, 'draft')", new_id()),
        ("INSERT INTO reviews (review_id, message_id, tenant_id, employee_id, kind) "
         "VALUES ($4, $1, $2, $3, 'classification')", ids["review"]),
        ("INSERT INTO unit_answers VALUES ($1, $4, $1, $2, $3, '{\"decision\": \"reject\"}', 'op')", str(ids["review"])),
    ):  # fmt: skip
        await pool.execute(statement, *message, *values)
    await pool.execute("INSERT INTO employee_events (tenant_id, employee_id, kind) VALUES ($1, $2, 'x')", *me)
    await pool.execute(
        "INSERT INTO cycles (cycle_id, tenant_id, employee_id, epoch, phase) VALUES ($3, $1, $2, 1, 'act')",
        *me,
        new_id(),
    )
    await pool.execute(
        "INSERT INTO beliefs (belief_id, tenant_id, employee_id, subject_key, predicate_key, subject, predicate, object, "
        "confidence, importance, supported_at) VALUES ($3, $1, $2, 'acme', 'budget', 'Acme', 'budget', '12k', 1, 1, now())",
        *me, new_id(),
    )  # fmt: skip
    await pool.execute(
        "INSERT INTO belief_changes (belief_id, tenant_id, employee_id, cycle_id, change, subject, predicate, object, "
        "confidence, why) VALUES ($3, $1, $2, $3, 'formed', 'Acme', 'budget', '12k', 1, 'said')",
        *me, new_id(),
    )  # fmt: skip
    await pool.execute(
        "INSERT INTO sidecars VALUES ($3, $1, $2, 1, 'compute', 'leased', 'process', '{}', 'unix:/x', $4, 1, 0, 60, "
        "now(), now())",
        *me, new_id(), b"k" * 32,
    )  # fmt: skip
    await pool.execute("INSERT INTO employee_presence VALUES ($2, $1, 1, 'here', 'x', '', now())", *me)
    await pool.execute("INSERT INTO employee_failures VALUES ($2, $1, 1, 1, 1, 'x', now(), now())", *me)
    await pool.execute(
        "INSERT INTO schedules (schedule_id, tenant_id, employee_id, conversation_id, sender, asked_in, name, kind, "
        "expression, anchor, instruction, next_at) "
        "VALUES ($3, $1, $2, $4, 'ada', $5, 'x', 'every', '60', now(), 'x', now())",
        *me, ids["schedule"], ids["conversation"], ids["message"],
    )  # fmt: skip
    await pool.execute(
        "INSERT INTO schedule_runs VALUES ($3, now(), $1, $2, 'missed')", *me, ids["schedule"]
    )  # fmt: skip
    goal_id = await add_goal(pool, *me)
    await add_intention(pool, *me, "One", goal_id=goal_id)
    await pool.execute(
        "INSERT INTO goal_changes (goal_id, tenant_id, employee_id, state, progress, reason) "
        "VALUES ($3, $1, $2, 'active', 0, '')",
        *me, goal_id,
    )  # fmt: skip
    await pool.execute(
        "WITH alert AS (INSERT INTO alerts (alert_id, kind, tenant_id, employee_id, detail) "
        "VALUES ($3, 'x', $1, $2, 'x') RETURNING alert_id) INSERT INTO alert_notices (notice_id, alert_id, tenant_id, "
        "event, target) SELECT alert_id, alert_id, $1, 'fired', 'slack' FROM alert",
        *me, new_id(),
    )  # fmt: skip
    await pool.execute("INSERT INTO planning (tenant_id, employee_id) VALUES ($1, $2)", *me)
    await pool.execute(
        "INSERT INTO memories (memory_id, tenant_id, employee_id, kind, content) VALUES ($3, $1, $2, 'semantic', 'x')",
        *me, ids["memory"],
    )  # fmt: skip
    await pool.execute(
        "INSERT INTO memory_vectors VALUES ($3, $1, $2, 'm', array_fill(1::real, ARRAY[384])::vector)",
        *me,
        ids["memory"],
    )
    await pool.execute("INSERT INTO memory_evidence VALUES ($3, 'message:x', $1, $2)", *me, ids["memory"])
    await pool.execute(
        "INSERT INTO procedures (procedure_id, tenant_id, employee_id, trigger, steps, actions, words, state, learnt_in) "
        "VALUES ($3, $1, $2, 'x', '[]', '{}', '{}', 'learnt', '{}')",
        *me, new_id(),
    )  # fmt: skip
    await pool.execute(
        "INSERT INTO procedure_runs VALUES ($3, $4, 1, $1, $2, 'x', '{}', '{}', true, now())",
        *me, ids["worker"], ids["message"],
    )  # fmt: skip
    await pool.execute(
        "INSERT INTO budget_days (owner_id, day, tenant_id, employee_id, micros, tokens) VALUES ($2, now(), $1, $2, 1, 1)",
        *me,
    )
    await pool.execute("INSERT INTO budget_messages VALUES ($3, $1, $2)", *me, ids["message"])
    await pool.execute("INSERT INTO budget_holds VALUES ($3, $1, $2, 1, now(), NULL, 1, 1, now())", *me, new_id())
    await pool.execute(
        "INSERT INTO working_notes VALUES ($3, $1, $2, $4, $5, 'x', now(), now() + interval '1 day')",
        *me, new_id(), ids["conversation"], ids["message"],
    )  # fmt: skip


@pytest.fixture
async def neighbours(database: Database) -> AsyncIterator[Neighbours]:
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        mine, other = await add_employee(pool, tenant_id, "mine"), await add_employee(pool, tenant_id, "other")
        channel_id = await add_channel(pool, tenant_id, other)
        await pool.execute(
            "INSERT INTO routing_rules VALUES ($1, $2, $3, 0, '{}', $4)", new_id(), tenant_id, channel_id, other
        )
        await pool.execute("UPDATE employee_epochs SET epoch = 1")
        for employee_id in (mine, other):
            await _fill(pool, tenant_id, employee_id, channel_id)
        async with pool.acquire() as connection:
            await create_employee_role(connection, mine, "password")
        employee = await asyncpg.connect(employee_dsn(database.dsn, mine, "password"))
        try:
            yield Neighbours(pool, mine, other, employee)
        finally:
            await employee.close()


async def _tables(neighbours: Neighbours) -> list[str]:
    return [row["relname"] for row in await neighbours.owner.fetch(OWN_ROWS_ONLY)]


async def test_no_table_shows_a_neighbours_row(neighbours: Neighbours):
    seen = set()
    for table in await _tables(neighbours):
        columns = await neighbours.owner.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped", table
        )
        if table in FOR_EVERYBODY:
            continue
        if "employee_id" not in {c["attname"] for c in columns}:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await neighbours.employee.fetch(f"SELECT * FROM {table}")
            continue
        assert (
            await neighbours.owner.fetchval(f"SELECT count(*) FROM {table} WHERE employee_id = $1", neighbours.other)
            > 0
        )
        try:
            rows = await neighbours.employee.fetch(f"SELECT employee_id FROM {table}")
        except asyncpg.InsufficientPrivilegeError:
            continue
        assert {row["employee_id"] for row in rows} == {neighbours.mine}, table
        seen.add(table)
    assert {
        "inbound_messages",
        "message_bodies",
        "outbox",
        "memories",
        "memory_vectors",
        "effects",
        "employee_epochs",
    } <= seen


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {}"])
async def test_no_statement_removes_a_neighbours_row(neighbours: Neighbours, statement: str):
    for table in await _tables(neighbours):
        before = await neighbours.owner.fetch(f"SELECT * FROM {table}")
        mine_only = [row for row in before if row.get("employee_id") != neighbours.mine]
        with suppress(
            asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedColumnError, asyncpg.FeatureNotSupportedError
        ):
            await neighbours.employee.execute(statement.format(table))
        after = await neighbours.owner.fetch(f"SELECT * FROM {table}")
        assert [row for row in after if row.get("employee_id") != neighbours.mine] == mine_only, table


async def test_a_function_deletes_the_employees_own_rows_only(neighbours: Neighbours):
    for table, key in OWN_DELETES.items():
        before = await neighbours.owner.fetch(f"SELECT {key} AS id, employee_id FROM {table}")
        mine = {row["id"] for row in before if row["employee_id"] == neighbours.mine}
        ids = [row["id"] for row in before]
        assert mine < set(ids)
        gone = await neighbours.employee.fetch(f"SELECT delete_own_{table}($1) AS id", ids)
        assert {row["id"] for row in gone} == mine
        left = await neighbours.owner.fetch(f"SELECT {key} AS id FROM {table}")
        assert {row["id"] for row in left} == set(ids) - mine


@pytest.mark.parametrize(
    "mode", ["SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"]
)
async def test_no_table_can_be_locked_so_that_others_wait(neighbours: Neighbours, mode: str):
    for table in await _tables(neighbours):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with neighbours.employee.transaction():
                await neighbours.employee.execute(f"LOCK TABLE {table} IN {mode} MODE NOWAIT")


async def test_an_update_reaches_the_employees_own_rows_only(neighbours: Neighbours):
    """Each column that employees may write at all, in each table."""
    granted = await neighbours.owner.fetch("""
        SELECT table_name, string_agg(format('%1$I = %2$s', column_name,
          CASE WHEN has_column_privilege(grantee, table_name::text, column_name::text, 'SELECT')
            THEN format('%I', column_name) ELSE 'DEFAULT' END), ', ') AS as_it_is
        FROM information_schema.column_privileges
        WHERE grantee = 'empla_employee' AND privilege_type = 'UPDATE' GROUP BY table_name
    """)
    assert {"inbound_messages", "message_workers", "effects", "memories"} <= {row["table_name"] for row in granted}
    for table, as_it_is in granted:
        before = await _written_by(neighbours.owner, table)
        await neighbours.employee.execute(f"UPDATE {table} SET {as_it_is}")
        after = await _written_by(neighbours.owner, table)
        assert before[neighbours.other] == after[neighbours.other], table
        assert before[neighbours.mine].isdisjoint(after[neighbours.mine]), table


async def _written_by(pool: Pool, table: str) -> dict[UUID, set[str]]:
    """By employee the transactions that wrote the table's rows, for an update shows there even when it changes no value."""
    rows = await pool.fetch(f"SELECT employee_id, array_agg(xmin::text) AS written FROM {table} GROUP BY employee_id")
    return {row["employee_id"]: set(row["written"]) for row in rows}


async def test_nothing_can_be_inserted_for_a_neighbour(neighbours: Neighbours):
    tenant_id = await neighbours.owner.fetchval(
        "SELECT tenant_id FROM employees WHERE employee_id = $1", neighbours.other
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await neighbours.employee.execute(
            "INSERT INTO memories (memory_id, tenant_id, employee_id, kind, content) VALUES ($1, $2, $3, 'semantic', 'x')",
            new_id(), tenant_id, neighbours.other,
        )  # fmt: skip
    message_id = await neighbours.owner.fetchval(
        "SELECT message_id FROM inbound_messages WHERE employee_id = $1", neighbours.other
    )
    with pytest.raises(asyncpg.PostgresError):  # its own employee id, but the neighbour's message
        await neighbours.employee.execute(
            "INSERT INTO model_responses VALUES ($1, 1, $1, $2, $3, 1, '{}')", message_id, tenant_id, neighbours.mine
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE outbox SET state = 'sent'",
        "UPDATE outbox SET body = 'other text'",
        "UPDATE employee_epochs SET epoch = 99",
        "UPDATE inbound_messages SET sender = 'somebody'",
        "UPDATE reviews SET state = 'resolved'",
        "INSERT INTO unit_answers SELECT * FROM unit_answers",
        "SET ROLE empla",
        "CREATE TABLE mine (x int)",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY memories TO PROGRAM 'true'",
    ],
)
async def test_what_belongs_to_the_control_plane_is_refused(neighbours: Neighbours, statement: str):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await neighbours.employee.execute(statement)


async def test_an_edge_that_is_not_in_the_table_is_refused_to_everybody(neighbours: Neighbours):
    jump = "UPDATE inbound_messages SET processing_state = 'answered', step = '' WHERE employee_id = $1"
    for connection in (neighbours.employee, neighbours.owner):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(jump, neighbours.mine)
        assert refused.value.sqlstate == "EM001"


async def test_the_sides_cannot_make_each_others_moves(neighbours: Neighbours):
    mine = (
        "UPDATE inbound_messages SET processing_state = 'analyzing', step = 'context_retrieval' WHERE employee_id = $1"
    )
    with pytest.raises(asyncpg.PostgresError) as refused:
        await neighbours.owner.execute(mine, neighbours.mine)
    assert refused.value.sqlstate == "EM001"
    await neighbours.employee.execute(mine, neighbours.mine)


async def test_a_neighbours_unit_cannot_be_occupied(neighbours: Neighbours):
    """Whoever knows a foreign unit's id writes rows of its own with it, and stops none of the owner's."""
    unit_id, mine, other = new_id(), neighbours.mine, neighbours.other
    tenant_id = await neighbours.owner.fetchval("SELECT tenant_id FROM employees LIMIT 1")
    for connection, employee_id in ((neighbours.employee, mine), (neighbours.owner, other)):
        message_id = await neighbours.owner.fetchval(
            "SELECT message_id FROM inbound_messages WHERE employee_id = $1", employee_id
        )
        row = (unit_id, message_id, tenant_id, employee_id)
        for statement in (
            "INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, queued_at, "
            "started_at, duration_ms, outcome) VALUES ($1, 'x', 1, $2, $3, $4, 'work', now(), now(), 1, 'succeeded')",
            "INSERT INTO model_responses VALUES ($1, 0, $2, $3, $4, 1, '{}')",
            "INSERT INTO effects (unit_id, response_index, call_index, message_id, tenant_id, employee_id, epoch, "
            "capability, action, arguments, repeatable) VALUES ($1, 0, 0, $2, $3, $4, 1, 'c', 'a', '{}', true)",
        ):
            await connection.execute(statement, *row)


async def test_every_right_an_employee_has_is_bound_to_its_rows(neighbours: Neighbours):
    """Whatever later migrations bring: rights of PUBLIC count, and so do views, sequences, functions and foreign keys."""
    open_to_all = await neighbours.employee.fetch(
        """
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname <> ALL ($1)
          AND (has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
            OR has_table_privilege(c.oid, 'DELETE, TRUNCATE, TRIGGER'))
          AND NOT (c.relrowsecurity AND row_security_active(c.oid) AND c.relkind IN ('r', 'p')
            AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'employee_id' AND a.attnotnull))
        """,
        list(FOR_EVERYBODY),
    )
    assert [row["relname"] for row in open_to_all] == []
    loose = await neighbours.employee.fetch(
        """
        SELECT polrelid::regclass::text AS name, polname FROM pg_policy
        WHERE polpermissive AND (polcmd <> '*' OR pg_get_expr(polqual, polrelid) <> '(employee_id = current_employee())'
          OR pg_get_expr(polwithcheck, polrelid) <> '(employee_id = current_employee())')
        """
    )
    assert [tuple(row) for row in loose] == []
    assert await neighbours.employee.fetch("SELECT * FROM state_edges LIMIT 1")
    changes = "has_table_privilege(x, 'DELETE, TRUNCATE, TRIGGER') OR has_any_column_privilege(x, 'INSERT, UPDATE')"
    for name in FOR_EVERYBODY:
        assert not await neighbours.employee.fetchval(f"SELECT {changes} FROM to_regclass($1) x", name)
    others_power = await neighbours.employee.fetch(
        "SELECT proname, proconfig::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef "
        "AND has_function_privilege(oid, 'EXECUTE')"
    )
    # What they may not give away or change is tried in test_recall.py and test_budgets.py.
    path = '{"search_path=public, pg_temp"}'
    known = (*(f"delete_own_{table}" for table in OWN_DELETES), "hold_budget", "own_memories_by_words", "settle_budget")
    assert sorted(tuple(row) for row in others_power) == [(name, path) for name in known]
    assert not await neighbours.employee.fetchval(
        "SELECT bool_or(has_sequence_privilege(oid, 'USAGE, SELECT, UPDATE')) FROM pg_class "
        "WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
    )


async def test_no_row_of_an_employee_can_refer_to_a_neighbours(neighbours: Neighbours):
    """A foreign key is checked past row-level security: it names the employee too, or a policy looks whose row it is."""
    loose = await neighbours.employee.fetch(
        """
        SELECT conrelid::regclass::text AS name, a.attname FROM pg_constraint k
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
        WHERE contype = 'f' AND a.attname NOT IN ('employee_id', 'tenant_id')
          AND has_column_privilege(k.conrelid, a.attnum, 'INSERT, UPDATE')
          AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = k.confrelid AND o.attname = 'employee_id')
          AND NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = k.confrelid AND o.attname = 'employee_id'
            AND o.attnum = ANY (k.confkey))
          AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = k.conrelid AND NOT p.polpermissive AND p.polcmd = 'a'
            AND NOT has_column_privilege(k.conrelid, a.attnum, 'UPDATE')
            AND strpos(pg_get_expr(p.polwithcheck, p.polrelid), a.attname) > 0)
        """
    )
    assert [tuple(row) for row in loose] == []
    of_both = (
        "SELECT * FROM message_workers JOIN inbound_messages USING (message_id, employee_id, tenant_id) "
        "WHERE employee_id = $1"
    )
    mine, other = [await neighbours.owner.fetchrow(of_both, one) for one in (neighbours.mine, neighbours.other)]
    assert mine
    assert other
    for statement, reference in (
        ("INSERT INTO outbox (outbox_id, tenant_id, employee_id, kind, body, epoch, conversation_id) "
         "VALUES ($1, $2, $3, 'proactive', 'x', 1, $4)", "conversation_id"),
        ("INSERT INTO reviews (review_id, tenant_id, employee_id, kind, worker_id) VALUES ($1, $2, $3, 'question', $4)",
         "worker_id"),
    ):  # fmt: skip
        own = (new_id(), mine["tenant_id"], neighbours.mine)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await neighbours.employee.execute(statement, *own, other[reference])
        await neighbours.employee.execute(statement, *own, mine[reference])
