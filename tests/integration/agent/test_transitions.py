"""The one writer of states: legal edges, compare-and-set, fence, group commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agent.errors import IllegalTransition, Superseded, TransitionRefused
from agent.identity import Identity
from agent.pipeline.transitions import SQL, Transitions
from agent.pipeline.units import Move, Place, Record, Unit
from empla.store.connect import Pool, connect
from empla.store.ids import new_id
from empla.store.roles import employee_dsn
from tests.integration.agent.conftest import Office

RETRIEVAL = Place("analyzing", "context_retrieval")
SUCCEEDED = Record(stage="receive", outcome="succeeded", duration_ms=1.5, output={"text": "x"})


@asynccontextmanager
async def writing(
    office: Office, identity: Identity | None = None
) -> AsyncIterator[tuple[Identity, Pool, Transitions]]:
    identity = identity or await office.launch()
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    async with connect(dsn, application_name="tests") as pool:
        yield identity, pool, await Transitions.load(pool, identity)


async def claimed(office: Office, pool: Pool, identity: Identity) -> Unit:
    message_id = await office.store("hello")
    [row] = await pool.fetch(SQL.claim, [message_id], identity.employee_id, identity.epoch)
    return Unit(
        machine="message",
        unit_id=message_id,
        message_id=message_id,
        place=Place("received", "security_filter"),
        attempt=1,
        queued_at=row["queued_at"],
    )


async def test_a_move_and_its_record_are_one(office: Office):
    async with writing(office) as (identity, pool, transitions):
        unit = await claimed(office, pool, identity)
        after = await transitions.commit(Move(unit=unit, to=RETRIEVAL, begins=True, record=SUCCEEDED))
    assert (after.place, after.attempt, after.failures) == (RETRIEVAL, 1, 0)
    row = await office.row(unit.unit_id)
    assert (row["processing_state"], row["step"], row["epoch"]) == ("analyzing", "context_retrieval", identity.epoch)
    assert row["started_at"] is not None
    assert row["step_timings"] == {"security_filter": 1.5}
    assert await office.attempts(unit.unit_id) == [("security_filter", "succeeded")]


async def test_the_same_move_twice_is_refused_and_writes_nothing(office: Office):
    async with writing(office) as (identity, pool, transitions):
        unit = await claimed(office, pool, identity)
        move = Move(unit=unit, to=RETRIEVAL, begins=True, record=SUCCEEDED)
        await transitions.commit(move)
        with pytest.raises(TransitionRefused):
            await transitions.commit(move)
    assert len(await office.attempts(unit.unit_id)) == 1


async def test_an_older_launch_writes_nothing(office: Office):
    async with writing(office) as (identity, pool, transitions):
        unit = await claimed(office, pool, identity)
        await office.launch()
        with pytest.raises(Superseded):
            await transitions.commit(Move(unit=unit, to=RETRIEVAL, begins=True, record=SUCCEEDED))
    assert (await office.row(unit.unit_id))["processing_state"] == "received"
    assert await office.attempts(unit.unit_id) == []


async def test_an_edge_that_is_not_in_the_table_is_not_even_tried(office: Office):
    async with writing(office) as (identity, pool, transitions):
        unit = await claimed(office, pool, identity)
        with pytest.raises(IllegalTransition):
            await transitions.commit(Move(unit=unit, to=Place("answered"), begins=False, record=SUCCEEDED))
    assert (await office.row(unit.unit_id))["processing_state"] == "received"


async def test_a_failure_counts_and_keeps_the_step(office: Office):
    failed = replace(SUCCEEDED, outcome="failed", error_class="ModelTimeout", error="late")
    async with writing(office) as (identity, pool, transitions):
        unit = await claimed(office, pool, identity)
        again = await transitions.commit(Move(unit=unit, to=unit.place, begins=False, record=failed, next_at=2e9))
        begun = await transitions.commit(Move(unit=again, to=again.place, begins=True))
    assert (begun.attempt, begun.failures) == (2, 1)
    row = await office.row(unit.unit_id)
    assert (row["attempt"], row["failures"], row["retry_count"]) == (2, 1, 1)


async def test_moves_that_meet_are_all_written_and_one_that_is_refused_fails_alone(office: Office):
    async with writing(office) as (identity, pool, transitions):
        units = [await claimed(office, pool, identity) for _ in range(50)]
        units[7] = replace(units[7], attempt=9)  # somebody else moved it
        moves = [Move(unit=unit, to=RETRIEVAL, begins=True, record=SUCCEEDED) for unit in units]
        results = await asyncio.gather(*map(transitions.commit, moves), return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, TransitionRefused)] == [7]
    moved = await office.pool.fetchval("SELECT count(*) FROM inbound_messages WHERE processing_state = 'analyzing'")
    assert moved == 49
    assert await office.pool.fetchval("SELECT count(*) FROM step_attempts") == 49


async def test_a_move_that_breaks_a_constraint_does_not_fail_its_neighbours(office: Office):
    bad_row = {
        "outbox_id": str(new_id()),
        "conversation_id": None,
        "kind": "nonsense",
        "part": 0,
        "body": "",
        "proposal": "send",
    }
    async with writing(office) as (identity, pool, transitions):
        units = [await claimed(office, pool, identity) for _ in range(5)]
        moves = [Move(unit=unit, to=RETRIEVAL, begins=True, record=SUCCEEDED) for unit in units]
        moves[2] = replace(moves[2], outbox=[bad_row])
        results = await asyncio.gather(*map(transitions.commit, moves), return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, Exception)] == [2]


async def test_a_cancelled_writer_leaves_nobody_waiting(office: Office):
    async with writing(office) as (identity, pool, transitions):
        units = [await claimed(office, pool, identity) for _ in range(20)]
        moves = [Move(unit=unit, to=RETRIEVAL, begins=True, record=SUCCEEDED) for unit in units]
        tasks = [asyncio.create_task(transitions.commit(move)) for move in moves]
        await asyncio.sleep(0)
        tasks[0].cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert all(isinstance(result, Unit) for result in results[1:])


async def test_a_database_that_goes_away_for_a_while_is_waited_for(office: Office):
    async with writing(office) as (identity, pool, transitions):
        unit = await claimed(office, pool, identity)
        role = f"empla_e_{identity.employee_id.hex}"
        async with connect(office.database.superuser_dsn, application_name="tests") as superuser:
            await superuser.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
        after = await transitions.commit(Move(unit=unit, to=RETRIEVAL, begins=True, record=SUCCEEDED))
    assert after.place == RETRIEVAL
    assert await office.attempts(unit.unit_id) == [("security_filter", "succeeded")]
