"""Finding memories as an employee's database role: through the indexes, in bounds, and its own only."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import pytest

from empla.store.connect import Connection, Pool
from empla.store.ids import new_id
from empla.store.roles import create_employee_role, employee_dsn
from tests.conftest import Database
from tests.factories import add_employee, add_tenant

MANY = 3_000
TALK = "'the office talks of deal ' || n || ' again'"
BY_WORDS = "SELECT memory_id FROM own_memories_by_words($1, $2, 64)"


@dataclass
class Employees:
    """Two employees, and a connection of the first."""

    owner: Pool
    tenant: UUID
    mine: UUID
    other: UUID
    employee: Connection

    async def remember(self, employee_id: UUID, content: str) -> UUID:
        """A new memory."""
        memory_id = new_id()
        await self.owner.execute(
            "INSERT INTO memories (memory_id, tenant_id, employee_id, kind, content) VALUES ($1, $2, $3, 'semantic', $4)",
            memory_id, self.tenant, employee_id, content,
        )  # fmt: skip
        return memory_id

    async def fill(self) -> None:
        """Many memories of both, alike and with a vector each."""
        for employee_id in (self.mine, self.other):
            await self.owner.execute(
                "INSERT INTO memories (memory_id, tenant_id, employee_id, kind, content) "
                f"SELECT uuidv7(), $1, $2, 'semantic', {TALK} FROM generate_series(1, {MANY}) n",
                self.tenant, employee_id,
            )  # fmt: skip
        await self.owner.execute(
            "INSERT INTO memory_vectors (memory_id, tenant_id, employee_id, model, embedding) "
            "SELECT memory_id, tenant_id, employee_id, 'm', array_fill(1::real, ARRAY[384])::vector FROM memories"
        )
        for table in ("memories", "memory_vectors"):
            await self.owner.execute(f"VACUUM (ANALYZE) {table}")

    async def found(self, question: str, *near: UUID) -> list[UUID]:
        return [row["memory_id"] for row in await self.employee.fetch(BY_WORDS, question, near)]


@pytest.fixture
async def employees(database: Database) -> AsyncIterator[Employees]:
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        mine, other = await add_employee(pool, tenant_id, "mine"), await add_employee(pool, tenant_id, "other")
        async with pool.acquire() as connection:
            await create_employee_role(connection, mine, "password")
        employee = await asyncpg.connect(employee_dsn(database.dsn, mine, "password"))
        try:
            yield Employees(pool, tenant_id, mine, other, employee)
        finally:
            await employee.close()


async def _read(connection: Connection) -> tuple[int, int, int]:
    """What this transaction did: scans of the words' index, scans of the whole table, rows of it that were fetched."""
    row = await connection.fetchrow(
        "SELECT pg_stat_get_xact_numscans('memories_by_words'::regclass) AS index, "
        "pg_stat_get_xact_numscans('memories'::regclass) AS table, "
        "pg_stat_get_xact_tuples_fetched('memories'::regclass) AS rows"
    )
    assert row is not None
    return row["index"], row["table"], row["rows"]


async def test_a_rare_word_is_found_through_the_index_and_a_common_one_in_bounds(employees: Employees):
    needle = await employees.remember(employees.mine, "Bo is allergic to peanuts.")
    await employees.fill()
    async with employees.employee.transaction():
        found = await employees.found("Does the office have peanuts?")
        scans, whole, rows = await _read(employees.employee)
    assert found[0] == needle
    assert len(found) == 64
    assert (scans, whole) == (1, 0)
    assert rows < MANY / 2


async def test_signs_are_compared_in_their_index(employees: Employees):
    await employees.fill()
    plan = await employees.employee.fetch(
        "EXPLAIN SELECT memory_id FROM memory_vectors WHERE employee_id = $1 AND model = 'm' "
        "ORDER BY signs <~> (SELECT signs FROM memory_vectors LIMIT 1) LIMIT 4096",
        employees.mine,
    )
    text = "\n".join(row[0] for row in plan)
    assert "Index Only Scan using memory_vectors_by_signs" in text


async def test_no_memory_of_another_employee_is_found(employees: Employees):
    own = await employees.remember(employees.mine, "Ada likes tea.")
    others = await employees.remember(employees.other, "Bo is allergic to peanuts.")
    await employees.fill()
    for question in ("peanuts", f"peanuts {employees.other}", f"'{employees.other}' | peanut", "office"):
        found = await employees.found(question, others, own)
        assert others not in found
        assert own in found
        theirs = await employees.owner.fetchval(
            "SELECT count(*) FROM memories WHERE memory_id = ANY ($1) AND employee_id <> $2", found, employees.mine
        )
        assert theirs == 0


async def test_whoever_is_no_employee_finds_nothing(employees: Employees):
    await employees.remember(employees.mine, "Bo is allergic to peanuts.")
    assert await employees.owner.fetch(BY_WORDS, "peanuts", []) == []


@pytest.mark.parametrize("word", ["o'clock", "back\\slash", "a:b & !c | (d)", "http://x.example/a\\b'c?d=1", "'", ""])
async def test_whatever_is_asked_is_words(employees: Employees, word: str):
    known = await employees.remember(employees.mine, f"peanuts {word}")
    assert await employees.found(f"{word} peanuts") == [known]
