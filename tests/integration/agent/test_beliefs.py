"""Beliefs: formed by the loop from what happened, told when a message is about them, and kept over launches."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.errors import Paused, Superseded
from agent.local import LocalGateway
from agent.loop import LoopTimes, ProactiveLoop
from agent.memory import Memories
from agent.mind.agenda import Agenda
from agent.mind.beliefs import Beliefs
from agent.mind.extraction import MAX_PROPOSED, Proposal
from agent.mind.unread import Unread
from agent.models.interface import (
    ModelError,
    ModelRefused,
    ModelRequest,
    ModelResponse,
    ModelTimeout,
    ModelUnavailable,
    TextSink,
)
from agent.models.offline import OfflineModel
from agent.models.scripted import ScriptedModel, Step
from controlplane.memories import Memories as OperatedMemories
from empla.store.connect import connect
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id
from empla.store.roles import employee_dsn
from empla.v1 import control_pb2
from empla.v1 import gateway_pb2 as pb
from tests.integration.agent.conftest import Office


def proposing(*beliefs: tuple[str, str, float]) -> str:
    """An answer with these subjects, objects and confidences."""
    said = [
        {"event": 1, "subject": subject, "predicate": "budget", "object": text, "confidence": sure, "importance": 0.5}
        for subject, text, sure in beliefs
    ]
    return json.dumps({"beliefs": said})


CUT = ModelResponse(text=proposing(("Acme", "12k", 0.6))[:-40], model="scripted", stop_reason="length")


class Mind:
    """A loop over a model that follows a script."""

    def __init__(self, office: Office, loop: ProactiveLoop, beliefs: Beliefs, memories: Memories) -> None:
        self.office, self.loop, self.beliefs, self.memories = office, loop, beliefs, memories
        self.asked: list[ModelRequest] = []

    async def perceives(self, *script: Step, message_id: str = "") -> str:
        """One cycle over one new event."""
        await self.happens(message_id)
        return await self.again(*script)

    async def happens(self, message_id: str = "") -> None:
        said = {"message_id": message_id or new_id().hex, "sender": "ada", "asked": "news", "answered": "noted"}
        await self.office.pool.execute(
            "INSERT INTO employee_events (tenant_id, employee_id, kind, payload) VALUES ($1, $2, 'message_handled', $3)",
            self.office.record.tenant_id, self.office.record.employee_id, said,
        )  # fmt: skip

    async def again(self, *script: Step) -> str:
        model = ScriptedModel(script)
        self.loop.model = model
        try:
            return await self.loop.cycle()
        finally:
            self.asked += model.requests

    async def held(self) -> list[tuple[str, str, float]]:
        rows = await self.office.pool.fetch("SELECT subject, object, confidence FROM beliefs ORDER BY subject")
        return [(row["subject"], row["object"], round(row["confidence"], 2)) for row in rows]

    async def changes(self) -> list[str]:
        return [
            row["change"]
            for row in await self.office.pool.fetch("SELECT change FROM belief_changes ORDER BY change_id")
        ]

    async def cycles(self) -> list[dict[str, Any]]:
        rows = await self.office.pool.fetch(
            "SELECT outcome, intention, model, tokens_in FROM cycles ORDER BY started_at"
        )
        return [dict(row) for row in rows]


@asynccontextmanager
async def thinking(office: Office) -> AsyncIterator[Mind]:
    identity = await office.launch()
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    async with connect(dsn, application_name="tests") as pool:
        beliefs, memories = Beliefs(pool, identity), Memories(pool, identity, LocalGateway(pb.EmployeeConfiguration()))
        loop = ProactiveLoop(pool, identity, memories, beliefs, Agenda(pool, identity))
        loop.times = LoopTimes(hours=None)  # so that nothing but what happened has the model asked
        yield Mind(office, loop, beliefs, memories)


async def test_beliefs_are_formed_confirmed_and_revised_with_their_history(office: Office):
    async with thinking(office) as mind:
        assert await mind.perceives(proposing(("Acme", "12k", 0.6))) == "acted"
        await mind.perceives(proposing(("ACME", "12k", 0.5), ("Brandt", "5k", 0.7)))
        assert await mind.held() == [("Acme", "12k", 0.8), ("Brandt", "5k", 0.7)]
        await mind.perceives(proposing(("brandt", "9k", 0.8)))
        assert await mind.held() == [("Acme", "12k", 0.8), ("Brandt", "9k", 0.8)]
        assert await mind.changes() == ["formed", "confirmed", "formed", "revised"]
        assert "budget of Acme: 12k" in mind.asked[1].messages[-1].text  # what is known is said to the model
    assert [cycle["intention"]["believe"][0]["change"] for cycle in await mind.cycles()] == [
        "formed",
        "confirmed",
        "revised",
    ]


async def test_an_event_counts_once_however_often_it_is_perceived(office: Office, monkeypatch: pytest.MonkeyPatch):
    async with thinking(office) as mind:
        with monkeypatch.context() as patch:
            patch.setattr(mind.memories, "remember", _broken)
            with pytest.raises(ValueError, match="broken"):
                await mind.perceives(proposing(("Acme", "12k", 0.6)))
        assert await mind.again() == "acted"
        assert len(mind.asked) == 1
        assert await mind.held() == [("Acme", "12k", 0.6)]
        assert len(await mind.memories.recall("news", deadline=0)) == 1


async def _broken(*_: object, **__: object) -> None:
    raise ValueError("broken")


async def test_a_belief_that_is_certain_is_a_fact_until_it_changes(office: Office):
    async with thinking(office) as mind:
        for _ in range(2):
            await mind.perceives(proposing(("Acme", "12k", 0.8)))
        [fact] = [one for one in await mind.memories.recall("Acme budget", deadline=0) if one.kind == "semantic"]
        assert fact.content == "budget of Acme: 12k"
        assert await mind.changes() == ["formed", "confirmed", "promoted"]
        await office.pool.execute("UPDATE beliefs SET supported_at = now() - interval '3 days'")
    async with thinking(office) as mind:  # the next launch reads what the first wrote
        await mind.perceives(proposing(("Acme", "20k", 0.8)))
        assert await mind.held() == [("Acme", "20k", 0.8)]
        assert [one for one in await mind.memories.recall("Acme budget", deadline=0) if one.kind == "semantic"] == []


async def test_what_nobody_confirms_is_dropped_and_told_no_more(office: Office):
    async with thinking(office) as mind:
        await mind.perceives(proposing(("Acme", "12k", 0.8)))
        assert [one.object for one, _ in await mind.beliefs.about("How is Acme?", 5)] == ["12k"]
        assert await mind.beliefs.about("How is Acmeville?", 5) == []
        await office.pool.execute("UPDATE beliefs SET supported_at = now() - interval '8 days'")
    async with thinking(office) as mind:
        assert await mind.beliefs.about("How is Acme?", 5) == []
        await mind.perceives(proposing())
        assert await mind.held() == []
        assert await mind.changes() == ["formed", "dropped"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("no JSON at all", "does not fit"),
        (proposing(("Acme", "12k", 7)), "does not fit"),
        (proposing(("", "12k", 0.5)), "does not fit"),
        (proposing(("Acme", "12k", 0.5)).replace('"event": 1', '"event": 4'), "there is no event 4"),
        (proposing(("A\x00", "12k", 0.5)).replace('"event": 1', '"event": 4'), "there is no event 4"),
        (proposing((" ... ", "12k", 0.5)), "says nothing"),
        (proposing(("🚀", "12k", 0.5)), "says nothing"),  # it would be told with every message
        (ModelRefused("no such model"), "ModelRefused: no such model"),
    ],
)
async def test_a_proposal_that_does_not_fit_is_told_and_the_loop_goes_on(
    office: Office, answer: str | ModelError, why: str
):
    async with thinking(office) as mind:
        assert await mind.perceives(answer) == "acted"
        assert await mind.held() == []
        assert len(await mind.memories.recall("news", deadline=0)) == 1
    [cycle] = await mind.cycles()
    assert why in cycle["intention"]["refused"][0]


async def test_what_a_model_refuses_to_read_is_read_later(office: Office, monkeypatch: pytest.MonkeyPatch):
    async with thinking(office) as mind:
        await mind.perceives(ModelRefused("the key is gone"))
        assert await mind.again() == "nothing_to_do"  # it is remembered, and not asked about at once
        assert len(await mind.memories.recall("news", deadline=0)) == 1
        await mind.perceives(proposing(("Brandt", "5k", 0.7)))
        assert await mind.held() == [("Brandt", "5k", 0.7)]
        monkeypatch.setattr(Unread, "waiting", lambda _: [])
        await mind.again(proposing(("Acme", "12k", 0.6)))
        assert await mind.held() == [("Acme", "12k", 0.6), ("Brandt", "5k", 0.7)]
        assert await mind.again() == "nothing_to_do"


class Pausing(ScriptedModel):
    """The budget of the day is spent."""

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        raise Paused("the budget of the day is spent")


async def test_a_cycle_that_a_pause_ends_has_not_failed_and_leaves_its_events_for_the_next(office: Office):
    async with thinking(office) as mind:
        mind.loop.model = Pausing()
        await mind.happens()
        with pytest.raises(Paused):
            await mind.loop.cycle()
        assert await mind.again(proposing(("Acme", "12k", 0.6))) == "acted"
        assert await mind.held() == [("Acme", "12k", 0.6)]
    assert [cycle["outcome"] for cycle in await mind.cycles()] == ["paused", "acted"]
    assert await office.pool.fetchval("SELECT count(*) FROM cycles WHERE error <> ''") == 0


async def test_what_a_model_refuses_to_read_for_a_day_is_let_be(office: Office):
    async with thinking(office) as mind:
        await mind.perceives(ModelRefused("the key is gone"))
        await office.pool.execute("UPDATE employee_events SET occurred_at = now() - interval '25 hours'")
    async with thinking(office) as mind:
        assert await mind.again(ModelRefused("the key is gone")) == "acted"
        assert await office.pool.fetchval("SELECT count(*) FROM employee_events WHERE cycle_id IS NULL") == 0


async def test_what_is_told_in_an_answer_that_was_cut_is_asked_for_by_halves(office: Office):
    async with thinking(office) as mind:
        for _ in range(2):
            with pytest.raises(ModelUnavailable):
                await mind.perceives(ModelUnavailable("overloaded"))
        await mind.again(CUT, proposing(("Acme", "12k", 0.6)), proposing(("Brandt", "5k", 0.7)))
        assert await mind.held() == [("Acme", "12k", 0.6), ("Brandt", "5k", 0.7)]
        assert await office.pool.fetchval("SELECT count(DISTINCT source) FROM belief_changes") == 2


async def test_halves_have_what_is_left_of_the_time_and_the_one_that_gets_no_answer_is_read_later(office: Office):
    async with thinking(office) as mind:
        for _ in range(3):
            await mind.happens()
        assert await mind.again(CUT, proposing(("Acme", "12k", 0.6)), ModelTimeout("too slow")) == "acted"
        assert await mind.held() == [("Acme", "12k", 0.6)]
        assert await office.pool.fetchval("SELECT count(*) FROM employee_events WHERE cycle_id IS NULL") == 2
    deadlines = [request.deadline for request in mind.asked]
    assert deadlines == sorted(set(deadlines), reverse=True)


async def test_an_answer_that_does_not_fit_is_not_asked_for_by_halves(office: Office):
    async with thinking(office) as mind:
        await mind.happens()
        assert await mind.perceives("no JSON") == "acted"
        assert len(mind.asked) == 1


async def test_of_too_many_proposals_the_first_are_taken(office: Office):
    async with thinking(office) as mind:
        await mind.perceives(proposing(*((f"S{number:02}", "12k", 0.5) for number in range(MAX_PROPOSED + 1))))
        assert len(await mind.held()) == MAX_PROPOSED
    [cycle] = await mind.cycles()
    assert cycle["intention"]["refused"] == [f"S{MAX_PROPOSED} / budget: {MAX_PROPOSED} are before it"]


async def test_what_a_cycle_leaves_is_for_the_next_at_once(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent.loop.MAX_EVENTS", 2)
    async with thinking(office) as mind:
        for _ in range(3):
            await mind.office.pool.execute(
                "INSERT INTO employee_events (tenant_id, employee_id, kind, payload) VALUES ($1, $2, 'operator', '{}')",
                office.record.tenant_id, office.record.employee_id,
            )  # fmt: skip
        running = asyncio.create_task(mind.loop.run())
        async with asyncio.timeout(60):
            while await office.pool.fetchval("SELECT count(*) FROM employee_events WHERE cycle_id IS NULL"):
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.wait([running])
    assert len(await mind.cycles()) == 2


async def test_strange_characters_are_kept_as_what_they_can_be(office: Office):
    async with thinking(office) as mind:
        await mind.perceives(proposing(("A\x00cme", "12\x00k", 0.5)))
        assert await mind.held() == [("A\ufffdcme", "12\ufffdk", 0.5)]


async def test_a_model_that_is_away_is_asked_again_later(office: Office):
    async with thinking(office) as mind:
        with pytest.raises(ModelUnavailable):
            await mind.perceives(ModelUnavailable("overloaded"))
        assert len(await mind.memories.recall("news", deadline=0)) == 1
        assert await mind.again(proposing(("Acme", "12k", 0.6))) == "acted"
        assert await mind.held() == [("Acme", "12k", 0.6)]
    assert [cycle["outcome"] for cycle in await mind.cycles()] == ["failed", "acted"]


async def test_a_model_that_is_away_keeps_no_memory_from_being_tended(office: Office, monkeypatch: pytest.MonkeyPatch):
    async with thinking(office) as mind:
        with pytest.raises(ModelUnavailable):
            await mind.perceives(ModelUnavailable("overloaded"))
        mind.loop.model = ScriptedModel([ModelUnavailable("overloaded")])
        tended = asyncio.Event()

        async def tend() -> bool:
            tended.set()
            return False

        monkeypatch.setattr(mind.memories, "tend", tend)
        running = asyncio.create_task(mind.loop.run())
        async with asyncio.timeout(60):
            await tended.wait()
        running.cancel()
        await asyncio.wait([running])
    assert {cycle["outcome"] for cycle in await mind.cycles()} == {"failed"}


async def test_what_thinking_costs_is_kept_with_the_cycle(office: Office):
    async with thinking(office) as mind:
        await mind.perceives(proposing())
    [cycle] = await mind.cycles()
    assert cycle["model"] == ""  # the script is not metered
    model = ScriptedModel(lambda one: proposing(("Acme", "12k", 0.6)) if one.output is Proposal else "{}")
    async with office.employee(ScriptedModel(), mind=model) as gateway:
        await told(office, gateway, "The budget of Acme is 12k.")
        await until_held(office, 1)
    cycle = (await mind.cycles())[-1]
    assert cycle["model"] == "scripted"
    assert cycle["tokens_in"] > 0


class Relaunched(ScriptedModel):
    """While it reads what happened, the employee is launched anew."""

    def __init__(self, office: Office, answer: str) -> None:
        super().__init__([answer])
        self._office = office

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        await self._office.launch()
        return await super().generate(request, on_text)


async def test_an_older_launch_changes_no_belief(office: Office):
    async with thinking(office) as mind:
        await mind.perceives(proposing(("Acme", "12k", 0.6)))
        await mind.happens()
        mind.loop.model = Relaunched(office, proposing(("Acme", "20k", 0.8)))
        with pytest.raises(Superseded):
            await mind.loop.cycle()
        assert await mind.held() == [("Acme", "12k", 0.6)]
        assert await mind.changes() == ["formed"]


async def test_another_conversation_is_answered_from_what_was_told(office: Office):
    async with office.employee(OfflineModel(), mind=OfflineModel()) as gateway:
        await told(office, gateway, "Note: the renewal date of Acme is 1 May 2027.", conversation="one")
        await until_held(office, 1)
    await office.pool.execute(
        "INSERT INTO memories (memory_id, tenant_id, employee_id, kind, content, source, created_at) "
        "VALUES ($1, $2, $3, 'semantic', 'Acme pays late.', 'told', '2027-01-31 12:00+00')",
        new_id(), office.record.tenant_id, office.record.employee_id,
    )  # fmt: skip
    model = ScriptedModel()
    async with office.employee(model) as gateway:
        await told(office, gateway, "When does Acme renew?", conversation="two")
    [request] = [one for one in model.requests if one.output is None][:1]
    assert "renewal date of Acme: 1 May 2027 (confidence 0.60)" in request.messages[-1].text
    assert '<data kind="memory" source="told" day="2027-01-31">\nAcme pays late.' in request.messages[-1].text


class Forgetful(ScriptedModel):
    """While it reads what happened, an operator has something forgotten."""

    def __init__(self, office: Office, answer: str, **what: str) -> None:
        super().__init__([answer])
        self._office, self._what = office, what

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        await forget(self._office, **self._what)
        return await super().generate(request, on_text)


class Overtaken(ScriptedModel):
    """While it reads what happened, somebody begins to have some of `table` forgotten: the launch is locked first."""

    def __init__(self, office: Office, answer: str, table: str) -> None:
        super().__init__([answer])
        self._office, self._table = office, table

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        first = asyncio.Event()
        self.forgetting = asyncio.create_task(self._forget(first))
        await first.wait()
        return await super().generate(request, on_text)

    async def _forget(self, first: asyncio.Event) -> None:
        async with self._office.pool.acquire() as connection, connection.transaction(), asyncio.timeout(60):
            await connection.execute("SELECT FROM employee_epochs FOR UPDATE")
            first.set()
            while not await self._office.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.05)
            assert len(await connection.fetch(f"SELECT FROM {self._table} FOR UPDATE NOWAIT")) > 0


async def forget(office: Office, **what: str) -> None:
    request = control_pb2.ForgetRequest(employee=office.record.name, **what)
    await OperatedMemories(office.pool).forget(office.record, request, "op")


async def left(office: Office) -> int:
    """How many memories, beliefs and changes of beliefs there are."""
    tables = ("memories", "beliefs", "belief_changes")
    return sum([await office.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables])


async def test_what_is_forgotten_while_a_cycle_reads_it_stays_forgotten(office: Office):
    async with thinking(office) as mind:
        with pytest.raises(ModelUnavailable):
            await mind.perceives(ModelUnavailable("overloaded"))
        mind.loop.model = Forgetful(office, proposing(("Acme", "12k", 0.6)), person="ada")
        await mind.loop.cycle()
    assert await left(office) == 0
    assert (await mind.cycles())[-1]["intention"] == {}


async def test_a_cycle_that_is_overtaken_holds_nothing_that_is_being_forgotten(office: Office):
    async with thinking(office) as mind:
        with pytest.raises(ModelUnavailable):
            await mind.perceives(ModelUnavailable("overloaded"))
        mind.loop.model = model = Overtaken(office, proposing(("Acme", "12k", 0.6)), "employee_events")
        await mind.loop.cycle()
        await model.forgetting


async def test_what_is_forgotten_before_a_cycle_acts_is_not_remembered(office: Office, monkeypatch: pytest.MonkeyPatch):
    async with thinking(office) as mind:
        act = mind.loop._act

        async def late(*arguments: Any) -> None:
            await forget(office, person="ada")
            await act(*arguments)

        monkeypatch.setattr(mind.loop, "_act", late)
        await mind.perceives(proposing(("Acme", "12k", 0.6)))
    assert await office.pool.fetchval("SELECT count(*) FROM memories") == 0


async def test_a_forgotten_belief_is_not_confirmed_from_what_was_kept_warm(office: Office):
    async with thinking(office) as mind:
        await mind.perceives(proposing(("Acme", "12k", 0.6)))
        with pytest.raises(ModelUnavailable):
            await mind.perceives(ModelUnavailable("overloaded"))
        mind.loop.model = Forgetful(office, proposing(("Acme", "12k", 0.6)), subject="Acme")
        await mind.loop.cycle()
        assert await mind.held() == []
        assert await mind.changes() == []
        assert await mind.beliefs.about("How is Acme?", 5) == []


async def test_forgetting_waits_for_a_cycle_that_changes_the_same(office: Office, monkeypatch: pytest.MonkeyPatch):
    async with thinking(office) as mind, asyncio.TaskGroup() as others:
        await mind.perceives(proposing(("Acme", "12k", 0.6)))
        write = mind.beliefs.write

        async def overtaken(*arguments: Any) -> Any:
            kept = await write(*arguments)
            others.create_task(forget(office, subject="Acme"))
            async with asyncio.timeout(60):
                while not await office.pool.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                ):
                    await asyncio.sleep(0.05)
            return kept

        monkeypatch.setattr(mind.beliefs, "write", overtaken)
        await mind.perceives(proposing(("Acme", "12k", 0.6)))
    assert await mind.held() == []
    assert await mind.changes() == []


async def test_a_commit_whose_answer_is_lost_leaves_no_other_beliefs_than_the_table_has(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    async with thinking(office) as mind:
        await mind.perceives(proposing())
        write = mind.beliefs.write

        async def lost(connection: Any, *arguments: Any) -> None:
            await write(connection, *arguments)
            await connection.execute("COMMIT")
            raise StoreUnavailable("lost")

        with monkeypatch.context() as patch:
            patch.setattr(mind.beliefs, "write", lost)
            with pytest.raises(StoreUnavailable):
                await mind.perceives(proposing(("Acme", "12k", 0.6)))
        await mind.perceives(proposing(("Acme", "12k", 0.5)))
        assert await mind.held() == [("Acme", "12k", 0.8)]
        assert await mind.changes() == ["formed", "confirmed"]


async def test_a_run_of_a_schedule_makes_nothing_surer(office: Office):
    mind = ScriptedModel(lambda one: proposing(("Acme", "12k", 0.8)) if one.output is Proposal else "{}")
    async with office.employee(ScriptedModel(), mind=mind) as gateway:
        await told(office, gateway, "The budget of Acme is 12k.")
        await until_held(office, 1)
        await office.store_run("The budget of Acme is 12k.")
        await office.deliver_all(gateway)
        async with asyncio.timeout(60):
            while await office.pool.fetchval("SELECT count(*) FROM memories WHERE kind = 'episodic'") < 2:
                await asyncio.sleep(0.05)
    assert await office.pool.fetchval("SELECT array_agg(change) FROM belief_changes") == ["formed"]
    assert len([one for one in mind.requests if one.output is Proposal]) == 1


async def told(office: Office, gateway: Any, text: str, **where: str) -> None:
    message_id = await office.store(text, **where)
    await office.deliver_all(gateway)
    async with asyncio.timeout(60):
        await gateway.handed_over(message_id)


async def until_held(office: Office, count: int) -> None:
    async with asyncio.timeout(60):
        while await office.pool.fetchval("SELECT count(*) FROM beliefs") < count:
            await asyncio.sleep(0.05)
