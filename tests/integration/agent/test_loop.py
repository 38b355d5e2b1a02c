"""The proactive loop: it perceives stored events, decides, acts, and deals with each event once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from agent.errors import Superseded
from agent.identity import Identity
from agent.local import LocalGateway
from agent.loop import SQL, LoopTimes, ProactiveLoop
from agent.memory import Memories
from agent.mind.agenda import Agenda
from agent.mind.beliefs import Beliefs
from agent.models.offline import OfflineModel
from empla.store.connect import connect
from empla.store.roles import employee_dsn
from empla.v1 import gateway_pb2 as pb
from tests.integration.agent.conftest import Office

HANDLED = {"message_id": "m", "sender": "ada", "asked": "how many deals?", "answered": "two"}


@asynccontextmanager
async def looping(office: Office, **times: Any) -> AsyncIterator[tuple[Identity, ProactiveLoop, Memories]]:
    identity = await office.launch()
    async with connect(
        employee_dsn(office.database.dsn, identity.employee_id, "password"), application_name="tests"
    ) as pool:
        memories = Memories(pool, identity, LocalGateway(pb.EmployeeConfiguration()))
        beliefs = Beliefs(pool, identity)
        loop = ProactiveLoop(pool, identity, memories, beliefs, Agenda(pool, identity))
        loop.times = replace(LoopTimes(), **times)
        yield identity, loop, memories


async def happened(office: Office, kind: str = "message_handled", **payload: str) -> None:
    await office.pool.execute(
        "INSERT INTO employee_events (tenant_id, employee_id, kind, payload) VALUES ($1, $2, $3, $4)",
        office.record.tenant_id, office.record.employee_id, kind, HANDLED | payload,
    )  # fmt: skip


async def cycles(office: Office) -> list[tuple[str, str]]:
    rows = await office.pool.fetch("SELECT phase, outcome FROM cycles ORDER BY started_at")
    return [(row["phase"], row["outcome"]) for row in rows]


async def test_what_happened_becomes_an_episode_that_can_be_recalled(office: Office):
    await happened(office)
    async with looping(office) as (_, loop, memories):
        assert await loop.cycle() == "acted"
        [episode] = await memories.recall("deals", deadline=1)
    assert episode.kind == "episodic"
    assert "two" in episode.content
    assert await cycles(office) == [("done", "acted")]


async def test_an_event_is_dealt_with_once(office: Office):
    await happened(office)
    async with looping(office) as (_, loop, _memories):
        await loop.cycle()
        assert await loop.cycle() == "nothing_to_do"
    assert await office.pool.fetchval("SELECT count(*) FROM memories") == 1


async def test_an_idle_cycle_writes_nothing(office: Office):
    async with looping(office) as (_, loop, _memories):
        await loop.cycle()
    assert await cycles(office) == []


async def test_a_cycle_that_fails_leaves_its_events_for_the_next(office: Office, monkeypatch: pytest.MonkeyPatch):
    await happened(office)
    async with looping(office) as (_, loop, memories):
        with monkeypatch.context() as patch:
            patch.setattr(memories, "remember", _broken)
            with pytest.raises(ValueError, match="broken"):
                await loop.cycle()
        assert await loop.cycle() == "acted"
    assert await cycles(office) == [("done", "failed"), ("done", "acted")]


async def _broken(*_: object, **__: object) -> None:
    raise ValueError("broken")


async def test_a_cycle_that_an_earlier_launch_left_open_is_closed_and_done_again(office: Office):
    await happened(office)
    identity = await office.launch()
    await office.pool.execute(
        "INSERT INTO cycles (cycle_id, tenant_id, employee_id, epoch, phase) VALUES (gen_random_uuid(), $1, $2, $3, 'act')",
        identity.tenant_id, identity.employee_id, identity.epoch,
    )  # fmt: skip
    async with looping(office) as (_, loop, _memories):
        await loop.cycle()
    assert await cycles(office) == [("done", "lost"), ("done", "acted")]


async def test_an_older_launch_does_not_cycle(office: Office):
    await happened(office)
    async with looping(office) as (_, loop, _memories):
        await office.launch()
        with pytest.raises(Superseded):
            await loop.cycle()
    assert await cycles(office) == []


@pytest.mark.parametrize("phase", ["end_perceive", "fail_cycle"])
async def test_an_older_launch_ends_no_phase(office: Office, monkeypatch: pytest.MonkeyPatch, phase: str):
    """The successor is launched between two statements and has closed nothing yet."""
    await happened(office)
    async with looping(office) as (_, loop, memories):
        keep = ProactiveLoop._keep

        async def superseded_before(loop: ProactiveLoop, statement: str, *values: Any, **where: Any) -> None:
            if statement == getattr(SQL, phase):
                await office.launch()
            await keep(loop, statement, *values, **where)

        monkeypatch.setattr(ProactiveLoop, "_keep", superseded_before)
        if phase == "fail_cycle":
            monkeypatch.setattr(memories, "remember", _broken)
        with pytest.raises(Superseded):
            await loop.cycle()
    [(reached, outcome)] = await cycles(office)
    assert (reached != "done", outcome) == (True, "")
    assert await office.pool.fetchval("SELECT count(*) FROM employee_events WHERE cycle_id IS NOT NULL") == 0


@pytest.mark.parametrize("phase", ["_think", "_act"])
async def test_an_older_launch_begins_no_phase(office: Office, monkeypatch: pytest.MonkeyPatch, phase: str):
    """These hold their launch from their first statement on: a successor waits for their end."""
    await happened(office)
    async with looping(office) as (_, loop, _memories):
        begin = getattr(ProactiveLoop, phase)

        async def superseded_before(*arguments: Any) -> Any:
            await office.launch()
            return await begin(*arguments)

        monkeypatch.setattr(ProactiveLoop, phase, superseded_before)
        with pytest.raises(Superseded):
            await loop.cycle()
    [(reached, outcome)] = await cycles(office)
    assert (reached != "done", outcome) == (True, "")
    assert await office.pool.fetchval("SELECT count(*) FROM employee_events WHERE cycle_id IS NOT NULL") == 0


async def test_a_memory_that_is_known_is_told_apart_from_one_that_an_older_launch_may_not_keep(office: Office):
    async with looping(office) as (_, _loop, memories):
        assert await memories.remember("the limit is 15 %", kind="semantic", source="told") is not None
        assert await memories.remember("the limit is 15 %", kind="semantic", source="told") is None
        await office.launch()
        with pytest.raises(Superseded):
            await memories.remember("the limit is 20 %", kind="semantic", source="told")
    assert await office.pool.fetchval("SELECT count(*) FROM memories") == 1


async def test_a_wake_cuts_the_sleep_short(office: Office):
    async with looping(office, cycle=3600) as (_, loop, _memories):
        running = asyncio.create_task(loop.run())
        try:
            async with asyncio.timeout(20):
                while loop.phase != "sleep" or await cycles(office):
                    await asyncio.sleep(0.01)
                await happened(office)
                loop.wake()
                while await cycles(office) != [("done", "acted")]:
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_an_answered_message_is_remembered_by_the_living_employee(office: Office):
    async with office.employee(OfflineModel()) as gateway:
        message_id = await office.store("What is 6 * 7?")
        await office.deliver_all(gateway)
        await gateway.handed_over(message_id)
        async with asyncio.timeout(20):
            while not await office.pool.fetchval("SELECT count(*) FROM memories WHERE kind = 'episodic'"):
                await asyncio.sleep(0.02)


async def test_a_failing_cycle_is_recorded_and_the_loop_goes_on(office: Office, monkeypatch: pytest.MonkeyPatch):
    await happened(office)
    async with looping(office, error_backoff=0.05, cycle=0.05) as (_, loop, memories):
        keep = memories.remember
        monkeypatch.setattr(memories, "remember", _broken)
        running = asyncio.create_task(loop.run())
        try:
            async with asyncio.timeout(20):
                while ("done", "failed") not in await cycles(office):
                    await asyncio.sleep(0.01)
                monkeypatch.setattr(memories, "remember", keep)
                while ("done", "acted") not in await cycles(office):
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
