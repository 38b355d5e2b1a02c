"""Holds and budgets as the database keeps them: no room is taken twice, and one notice says that a day is spent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from controlplane.receiver import Arrival, Receiver
from empla.store.connect import Pool, connect
from empla.store.ids import new_id
from empla.store.roles import create_employee_role, employee_dsn
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_tenant

NOON = datetime(2027, 5, 3, 12, tzinfo=UTC)
DOLLAR = 1_000_000


@dataclass
class Till:
    """Two employees of one tenant, each at its first launch."""

    database: Database
    pool: Pool
    tenant_id: UUID
    ann: UUID
    bob: UUID

    async def limit(self, employee_id: UUID, **budget: float) -> None:
        profile = {"role": "Clerk", "budget": budget}
        await self.pool.execute("UPDATE employees SET profile = $2 WHERE employee_id = $1", employee_id, profile)

    async def limit_tenant(self, micros: int | None, tokens: int | None = None) -> None:
        await self.pool.execute("UPDATE tenants SET day_micros = $1, day_tokens = $2", micros, tokens)

    async def hold(
        self, employee_id: UUID, micros: int, tokens: int = 0, *, at: datetime = NOON, epoch: int = 1, **more: Any
    ) -> str:
        """What comes of holding so much."""
        hold_id, message_id = more.get("hold_id", new_id()), more.get("message_id")
        came: str = await self.pool.fetchval(
            "SELECT budget_hold($1, $2, $3, $4, $5, $6, $7, 60)",
            at, employee_id, epoch, hold_id, message_id, micros, tokens,
        )  # fmt: skip
        return came

    async def paused(self, at: datetime = NOON) -> set[UUID]:
        return {row["e"] for row in await self.pool.fetch("SELECT paused_employees($1) AS e", at)}

    async def notices(self) -> list[str]:
        rows = await self.pool.fetch("SELECT reason FROM reviews WHERE kind = 'budget' AND state = 'open'")
        return [row["reason"] for row in rows]

    @asynccontextmanager
    async def employee(self, employee_id: UUID) -> AsyncIterator[Pool]:
        """Connections with the role of the employee."""
        async with self.pool.acquire() as connection:
            await create_employee_role(connection, employee_id, "password")
        async with connect(
            employee_dsn(self.database.dsn, employee_id, "password"), application_name="till", max_size=8
        ) as pool:
            yield pool


@pytest.fixture
async def till(database: Database) -> AsyncIterator[Till]:
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        ann, bob = await add_employee(pool, tenant_id, "ann"), await add_employee(pool, tenant_id, "bob")
        await pool.execute("UPDATE employee_epochs SET epoch = 1")
        yield Till(database, pool, tenant_id, ann, bob)


async def _calls(pool: Pool, price: int, done: list[str]) -> None:
    """Hold and settle until there is no room."""
    while True:
        hold_id = new_id()
        came = await pool.fetchval("SELECT hold_budget(1, $1, NULL, $2, 0, 60)", hold_id, price)
        if came == "wait":
            await asyncio.sleep(0)
        elif came == "held":
            await pool.execute("SELECT settle_budget($1, $2, 1)", hold_id, price)
            done.append(came)
        else:
            done.append(came)
            return


async def test_many_calls_at_once_of_two_employees_spend_what_there_is_and_no_more(till: Till):
    await till.limit(till.ann, day_dollars=0.5)
    await till.limit_tenant(DOLLAR)
    done: list[str] = []
    async with till.employee(till.ann) as ann, till.employee(till.bob) as bob, asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(_calls(ann, 10_000, done))
            group.create_task(_calls(bob, 10_000, done))
    spent = {
        row["owner_id"]: row["micros"] for row in await till.pool.fetch("SELECT owner_id, micros FROM budget_days")
    }
    assert (done.count("held"), done.count("paused")) == (100, 16)
    assert spent[till.tenant_id] == DOLLAR
    assert spent[till.ann] <= DOLLAR // 2
    assert await till.pool.fetchval("SELECT count(*) FROM budget_holds") == 0
    actions = await till.pool.fetch("SELECT action FROM audit_log WHERE actor = 'budget'")
    assert (
        len(await till.notices())
        == len(actions)
        == await till.pool.fetchval("SELECT count(*) FROM budget_days WHERE spent_at IS NOT NULL")
    )


async def test_what_others_hold_is_waited_for_and_what_they_spent_is_not(till: Till):
    await till.limit(till.ann, day_dollars=1)
    first = new_id()
    assert await till.hold(till.ann, 600_000, hold_id=first) == "held"
    assert await till.hold(till.ann, 600_000) == "wait"
    assert await till.paused() == set()
    await till.pool.execute("UPDATE budget_days SET micros = 600000")
    assert await till.hold(till.ann, 600_000) == "paused"
    [why] = await till.notices()
    assert why == "the budget of ann for 2027-05-03 is spent: $0.6000 of $1.00, and the next call may cost $0.6000"
    assert await till.hold(till.ann, 1) == "paused"  # what is paused is paused, also for what there would be room for
    assert len(await till.notices()) == 1
    assert await till.paused() == {till.ann}


async def test_what_a_dead_process_held_is_room_again(till: Till):
    for one in (till.ann, till.bob):
        await till.limit(one, day_dollars=1)
    await till.limit_tenant(DOLLAR)
    assert await till.hold(till.ann, DOLLAR) == "held"
    assert await till.hold(till.bob, DOLLAR) == "wait"
    await till.pool.execute("UPDATE employee_epochs SET ended_at = now() WHERE employee_id = $1", till.ann)
    other = new_id()
    assert await till.hold(till.bob, DOLLAR, hold_id=other) == "held"
    await till.pool.execute("DELETE FROM budget_holds WHERE hold_id = $1", other)
    await till.pool.execute("UPDATE employee_epochs SET epoch = 2, ended_at = NULL WHERE employee_id = $1", till.ann)
    assert await till.hold(till.ann, DOLLAR) == "superseded"
    assert await till.hold(till.ann, DOLLAR, epoch=2) == "held"
    assert await till.pool.fetchval("SELECT array_agg(epoch) FROM budget_holds") == [2]


async def test_a_call_that_nobody_settles_holds_its_room_for_its_time(till: Till):
    await till.limit(till.ann, day_tokens=100)
    assert await till.hold(till.ann, 0, 80) == "held"
    assert await till.hold(till.ann, 0, 80, at=NOON + timedelta(seconds=59)) == "wait"
    assert await till.hold(till.ann, 0, 80, at=NOON + timedelta(seconds=61)) == "held"


async def test_with_the_day_the_pause_is_over(till: Till):
    for one in (till.ann, till.bob):
        await till.limit(one, day_tokens=1000)
    await till.limit_tenant(None, 100)
    midnight = datetime(2027, 5, 4, tzinfo=UTC)
    late = midnight - timedelta(seconds=1)
    assert await till.hold(till.ann, 0, 101, at=late) == "paused"
    assert await till.paused(late) == {till.ann, till.bob}
    assert await till.hold(till.bob, 0, 1, at=late) == "paused"
    assert await till.paused(midnight) == set()
    assert await till.hold(till.bob, 0, 100, at=midnight) == "held"
    await till.pool.execute("UPDATE employees SET paused = true, paused_at = $2 WHERE employee_id = $1", till.ann, late)
    assert await till.paused(midnight) == {till.ann}


async def test_another_budget_is_judged_anew_and_a_grant_is_as_much_again(till: Till):
    today = datetime.now(UTC)
    await till.limit(till.ann, day_tokens=100)
    assert await till.hold(till.ann, 0, 150, at=today) == "paused"
    await till.limit(till.ann, day_tokens=100, message_tokens=99)
    assert await till.paused(today) == {till.ann}
    await till.limit(till.ann, day_tokens=200)
    assert (await till.paused(today), await till.notices()) == (set(), [])
    assert await till.hold(till.ann, 0, 150, at=today) == "held"
    assert await till.hold(till.ann, 0, 350, at=today) == "paused"
    assert await till.pool.fetchval("SELECT reopen_budget($1, $2, 'op', 1)", today, till.ann)
    assert not await till.pool.fetchval("SELECT reopen_budget($1, $2, 'op', 1)", today, till.ann)
    assert await till.hold(till.ann, 0, 250, at=today) == "held"


async def test_what_was_spent_before_there_was_a_budget_counts(till: Till):
    await till.pool.execute(
        "INSERT INTO cycles (cycle_id, tenant_id, employee_id, epoch, phase, started_at, tokens_in, cost_micros) "
        "VALUES ($1, $2, $3, 1, 'done', $4, 70, 5)",
        new_id(), till.tenant_id, till.ann, NOON,
    )  # fmt: skip
    await till.limit(till.ann, day_tokens=100)
    assert await till.hold(till.ann, 0, 31) == "paused"


async def test_an_employee_can_neither_read_nor_change_what_is_kept_of_budgets(till: Till):
    await till.limit(till.bob, day_tokens=100)
    theirs = new_id()
    now = datetime.now(UTC)
    assert await till.hold(till.bob, 0, 60, at=now, hold_id=theirs) == "held"
    async with till.employee(till.ann) as ann:
        for statement in (
            "SELECT * FROM budget_days",
            "UPDATE budget_days SET granted = 9",
            "DELETE FROM budget_holds",
            "UPDATE employees SET profile = '{}'",
            "SELECT reopen_budget(now(), gen_random_uuid(), '', 1)",
            "SELECT budget_hold(now(), gen_random_uuid(), 1, gen_random_uuid(), NULL, 1, 1, 1)",
            "SELECT paused_employees(now())",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await ann.execute(statement)
        await ann.execute("SELECT settle_budget($1, -5, -5)", theirs)
    assert await till.pool.fetchval("SELECT tokens FROM budget_holds") == 60
    async with till.employee(till.bob) as bob:
        await bob.execute("SELECT settle_budget($1, -5, -5)", theirs)
    row = await till.pool.fetchrow("SELECT micros, tokens FROM budget_days")
    assert row is not None
    assert tuple(row) == (0, 0)


async def test_what_an_employee_says_falsely_pauses_itself_alone(till: Till):
    """Without a budget of its own it has three quarters of its tenant's, whichever way it takes them."""
    await till.limit_tenant(DOLLAR)
    async with till.employee(till.ann) as ann:
        assert await ann.fetchval("SELECT hold_budget(1, $1, NULL, $2, 0, 60)", new_id(), 10**15) == "paused"
    now = datetime.now(UTC)
    assert await till.paused(now) == {till.ann}
    [why] = await till.notices()
    assert why.startswith("the budget of ann (three quarters of its tenant's, for it has none of its own) for ")
    assert await till.hold(till.bob, DOLLAR // 2, at=now) == "held"


@pytest.mark.parametrize("seconds", [60, 0])
async def test_what_is_settled_falsely_leaves_the_others_their_part(till: Till, seconds: int):
    """Nor does it help to settle what holds nothing any more."""
    await till.limit_tenant(DOLLAR)
    async with till.employee(till.ann) as ann:
        holds = [new_id() for _ in range(5)]
        for hold_id in holds:
            came = await ann.fetchval("SELECT hold_budget(1, $1, NULL, 150000, 0, $2)", hold_id, seconds)
            assert came == "held"
        for hold_id in holds:
            await ann.execute("SELECT settle_budget($1, $2, $2)", hold_id, 2**62)
        assert await ann.fetchval("SELECT hold_budget(1, $1, NULL, 1, 0, 60)", new_id()) == "paused"
    spent = await till.pool.fetchval("SELECT micros FROM budget_days WHERE owner_id = $1", till.tenant_id)
    assert 0 < spent <= DOLLAR * 3 // 4
    assert await till.hold(till.bob, DOLLAR // 4, at=datetime.now(UTC)) == "held"


async def test_what_is_recorded_falsely_counts_up_to_the_employees_own_budget(till: Till):
    await till.limit(till.bob, day_dollars=0.5)
    for owner, micros in ((till.ann, -(10**15)), (till.bob, 10**15)):
        await till.pool.execute(
            "INSERT INTO cycles (cycle_id, tenant_id, employee_id, epoch, phase, started_at, tokens_in, cost_micros) "
            "VALUES ($1, $2, $3, 1, 'done', $4, 0, $5)",
            new_id(), till.tenant_id, owner, NOON, micros,
        )  # fmt: skip
    await till.limit_tenant(DOLLAR)
    assert await till.hold(till.ann, DOLLAR // 2) == "held"
    spent = await till.pool.fetchval("SELECT micros FROM budget_days WHERE owner_id = $1", till.tenant_id)
    assert spent == DOLLAR // 2


async def test_an_employee_with_a_budget_of_its_own_or_alone_may_spend_what_its_tenant_has(till: Till):
    await till.limit_tenant(DOLLAR)
    await till.limit(till.ann, day_dollars=5)
    assert await till.hold(till.ann, DOLLAR) == "held"
    await till.pool.execute("DELETE FROM budget_holds")
    await till.pool.execute("UPDATE employees SET deleted_at = now() WHERE employee_id = $1", till.ann)
    assert await till.hold(till.bob, DOLLAR) == "held"


async def test_with_the_budget_of_the_tenant_its_parts_are_judged_anew(till: Till):
    today = datetime.now(UTC)
    await till.limit_tenant(DOLLAR)
    assert await till.hold(till.ann, DOLLAR, at=today) == "paused"
    await till.limit_tenant(2 * DOLLAR)
    assert (await till.paused(today), await till.notices()) == (set(), [])
    assert await till.hold(till.ann, DOLLAR, at=today) == "held"


async def test_who_names_anothers_message_does_not_lock_it(till: Till):
    channel_id = await add_channel(till.pool, till.tenant_id, till.bob)
    receiver = Receiver(till.pool, lambda *_: None)
    theirs = Arrival(
        tenant_id=till.tenant_id, channel_id=channel_id, employee_id=till.bob, event_id="1", sender="eve", text="hello"
    )
    message_id = (await receiver.store(theirs)).message_id
    for one in (till.ann, till.bob):
        await till.limit(one, message_tokens=100)
    async with till.employee(till.ann) as ann, till.employee(till.bob) as bob:
        hold = "SELECT hold_budget(1, $1, $2, 0, 1, 60)"
        assert await bob.fetchval(hold, new_id(), message_id) == "held"
        async with ann.acquire() as connection, connection.transaction():
            await connection.fetchval(hold, new_id(), message_id)
            assert await bob.fetchval(hold, new_id(), message_id, timeout=10) == "held"
