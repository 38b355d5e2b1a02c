"""Goals: planned for by the loop, carried out step by step as messages of the employee to itself, and kept over launches."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from agent.hooks import Hooks
from agent.identity import Identity
from agent.local import LocalGateway
from agent.loop import FORGOTTEN, LoopTimes, ProactiveLoop
from agent.loop import SQL as LOOP_SQL
from agent.memory import Memories
from agent.mind.agenda import Agenda
from agent.mind.beliefs import Beliefs
from agent.mind.planning import PlanProposal
from agent.models.interface import ModelRefused, ModelRequest, ModelUnavailable
from agent.models.offline import OfflineModel
from agent.models.scripted import ScriptedModel, Step
from agent.moments import IntentionEnded, IntentionStarted, Moment, PlanningEnded
from controlplane.receiver import Receiver
from controlplane.stepping import Stepping
from controlplane.stopping import Stopping
from empla.hours import ActiveHours
from empla.store.connect import Pool, connect
from empla.store.ids import new_id
from empla.store.roles import employee_dsn
from empla.v1 import gateway_pb2 as pb
from tests.integration.agent.conftest import Office
from tests.integration.agent.test_beliefs import Forgetful, forget

AT_ONCE = LoopTimes(replan=0)


async def set_goal(office: Office, text: str, **fields: Any) -> UUID:
    """A goal as an operator sets it, and no other."""
    await office.pool.execute(
        "UPDATE goals SET state = 'abandoned', ended_at = now() WHERE state = 'active' AND origin = 'profile'"
    )
    goal_id, columns = new_id(), {"kind": "achieve", "origin": "ada"} | fields
    names = ", ".join(columns)
    places = ", ".join(f"${number}" for number in range(5, 5 + len(columns)))
    await office.pool.execute(
        f"INSERT INTO goals (goal_id, tenant_id, employee_id, text, {names}) VALUES ($1, $2, $3, $4, {places})",
        goal_id, office.record.tenant_id, office.record.employee_id, text, *columns.values(),
    )  # fmt: skip
    return goal_id


def a_plan(*steps: str, after: dict[str, list[str]] | None = None, **more: Any) -> str:
    """A plan for the first goal, of steps that come one after the other unless `after` says otherwise."""
    chain = {name: list(steps[at - 1 : at]) if at else [] for at, name in enumerate(steps)} | (after or {})
    told = [{"name": name, "instruction": f"do {name}", "after": chain[name]} for name in steps]
    plan = {"goal": 1, "title": "a plan", "why": "it serves", "steps": told}
    return json.dumps({"plans": [plan] if steps else [], **more})


def believing(subject: str, predicate: str, told: str, confidence: float, importance: float) -> str:
    """What a model reads out of one event."""
    sure = {"confidence": confidence, "importance": importance}
    return json.dumps({"beliefs": [{"event": 1, "subject": subject, "predicate": predicate, "object": told} | sure]})


class Mind:
    """A loop whose steps are begun as the control plane does, and end as they are told to."""

    def __init__(self, office: Office, pool: Pool, identity: Identity) -> None:
        self.office = office
        beliefs = Beliefs(pool, identity)
        memories = Memories(pool, identity, LocalGateway(pb.EmployeeConfiguration()))
        self.loop = ProactiveLoop(pool, identity, memories, beliefs, Agenda(pool, identity))
        self.loop.times = AT_ONCE
        self.asked: list[ModelRequest] = []

    async def cycle(self, *script: Step) -> str:
        """One cycle with a model of that script; the control plane then begins what is ready."""
        model = ScriptedModel(script)
        self.loop.model, before = model, len(self.asked)
        try:
            outcome = await self.loop.cycle()
        finally:
            self.asked += model.requests
        assert len(self.asked) - before == len(script), "the model was asked otherwise"
        await Stepping(
            self.office.pool, Receiver(self.office.pool, lambda *_: None), Stopping(self.office.pool)
        ).begin_ready()
        return outcome

    async def happens(self, asked: str = "news", *, answered: str = "noted", **more: bool) -> None:
        said = {"message_id": new_id().hex, "sender": "ada", "asked": asked, "answered": answered} | more
        await self.office.pool.execute(
            "INSERT INTO employee_events (tenant_id, employee_id, kind, payload) VALUES ($1, $2, 'message_handled', $3)",
            self.office.record.tenant_id, self.office.record.employee_id, said,
        )  # fmt: skip

    async def end_step(self, reply: str, *, state: str = "answered") -> None:
        """The message of the one step that runs ends so."""
        [row] = await self.office.pool.fetch("SELECT message_id FROM intention_steps WHERE state = 'running'")
        await self.office.pool.execute("ALTER TABLE inbound_messages DISABLE TRIGGER legal_edge")
        await self.office.pool.execute(
            "UPDATE inbound_messages SET processing_state = $2, reason = $3, ended_at = now() WHERE message_id = $1",
            row["message_id"], state, reply if state == "failed" else "",
        )  # fmt: skip
        await self.office.pool.execute("ALTER TABLE inbound_messages ENABLE TRIGGER legal_edge")
        if state == "answered":
            await self.office.pool.execute(
                "INSERT INTO outbox"
                " (outbox_id, tenant_id, employee_id, message_id, conversation_id, kind, body, proposal, epoch)"
                " SELECT $2, tenant_id, employee_id, message_id, conversation_id, 'reply', $3, 'send', 1"
                " FROM inbound_messages WHERE message_id = $1",
                row["message_id"], new_id(), reply,
            )  # fmt: skip

    async def goal(self) -> tuple[str, float]:
        [row] = await self.office.pool.fetch("SELECT state, progress FROM goals WHERE origin = 'ada'")
        return row["state"], row["progress"]

    async def plans(self) -> list[tuple[str, list[str]]]:
        return await plans(self.office)

    async def wanted(self) -> str:
        return str(await self.office.pool.fetchval("SELECT wanted FROM planning"))

    async def records(self) -> list[dict[str, Any]]:
        rows = await self.office.pool.fetch("SELECT intention FROM cycles ORDER BY started_at, cycle_id")
        return [row["intention"] for row in rows]


async def plans(office: Office) -> list[tuple[str, list[str]]]:
    """Each plan's state, and those of its steps."""
    rows = await office.pool.fetch(
        "SELECT i.state, array_agg(s.state ORDER BY s.step) AS steps"
        " FROM intentions i JOIN intention_steps s USING (intention_id)"
        " GROUP BY i.intention_id ORDER BY i.created_at, i.intention_id"
    )
    return [(row["state"], row["steps"]) for row in rows]


@asynccontextmanager
async def thinking(office: Office) -> AsyncIterator[Mind]:
    identity = await office.launch()
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    async with connect(dsn, application_name="tests") as pool:
        yield Mind(office, pool, identity)


async def test_a_goal_is_planned_for_and_its_steps_are_done_one_after_the_other(office: Office):
    goal_id = await set_goal(
        office, "Publish the prices. Steps: write prices.md: A costs 10; write index.md: see prices.md"
    )
    told: list[Moment] = []
    hooks = Hooks().on((PlanningEnded, IntentionStarted, IntentionEnded), told.append)
    async with office.employee(OfflineModel(), mind=OfflineModel(), hooks=hooks) as gateway:
        stepping = Stepping(office.pool, Receiver(office.pool, lambda *_: None), Stopping(office.pool))
        async with asyncio.timeout(60):
            while await office.pool.fetchval("SELECT count(*) FROM intentions WHERE state = 'done'") == 0:
                await stepping.begin_ready()
                await office.deliver_all(gateway)
                await asyncio.sleep(0.02)
    assert await plans(office) == [("done", ["done", "done"])]
    planning, started, ended = told[:3]
    assert isinstance(planning, PlanningEnded)
    assert isinstance(started, IntentionStarted)
    assert isinstance(ended, IntentionEnded)
    assert (planning.intentions, ended.outcome) == (1, "done")
    assert (started.intention_id, started.goal_id) == (ended.intention_id, goal_id)
    assert [path.name for path in sorted(office.workspace.glob("*.md"))] == ["index.md", "prices.md"]
    rows = await office.pool.fetch(
        "SELECT v.external_id, s.outcome FROM intention_steps s JOIN inbound_messages m USING (message_id)"
        " JOIN conversations v USING (conversation_id) ORDER BY s.step"
    )
    assert len({row["external_id"] for row in rows}) == 1
    assert "prices.md" in rows[0]["outcome"]
    assert "index.md" in rows[1]["outcome"]


async def test_a_plan_that_is_carried_out_has_its_goal_judged(office: Office):
    await set_goal(office, "Publish the prices")
    async with thinking(office) as mind:
        assert await mind.cycle(a_plan("a", "b")) == "acted"
        assert await mind.plans() == [("running", ["running", "planned"])]
        assert await mind.cycle() == "nothing_to_do"
        await mind.end_step("a is written")
        assert await mind.cycle() == "acted"
        await mind.end_step("b is written")
        await mind.cycle(a_plan(progress=[{"goal": 1, "progress": 1.0, "why": "both are there"}]))
        assert await mind.plans() == [("done", ["done", "done"])]
        assert await mind.goal() == ("achieved", 1.0)
        # What came of the steps is what the model judges by.
        assert "b is written" in mind.asked[-1].messages[-1].text
        assert await mind.cycle() == "nothing_to_do"


async def test_a_step_that_fails_fails_its_plan_and_asks_for_another(office: Office):
    await set_goal(office, "Publish the prices")
    async with thinking(office) as mind:
        await mind.cycle(a_plan("a", "b"))
        await mind.end_step("no part could be answered", state="failed")
        mind.loop.times = LoopTimes()  # not before the last plan is ten minutes old
        await mind.cycle()
        assert await mind.plans() == [("failed", ["failed", "skipped"])]
        assert "step 1, 'a', failed: no part could be answered" in await mind.wanted()
        assert await mind.cycle() == "nothing_to_do"
        mind.loop.times = AT_ONCE
        await mind.cycle(a_plan("c"))
        assert await mind.plans() == [("failed", ["failed", "skipped"]), ("running", ["running"])]
        assert await mind.wanted() == ""


async def test_a_measured_goal_moves_with_its_belief(office: Office):
    await set_goal(office, "Win ten deals", subject="Deals", predicate="won", start=0.0, target=10.0)

    def won(number: str, sure: float) -> str:
        one = {
            "event": 1,
            "subject": "deals",
            "predicate": "won",
            "object": number,
            "confidence": sure,
            "importance": 0.5,
        }
        return json.dumps({"beliefs": [one]})

    async with thinking(office) as mind:
        await mind.happens()
        await mind.cycle(won("4 so far", 0.5), a_plan())
        assert await mind.goal() == ("active", 0.4)
        await mind.happens()
        await mind.cycle(won("3", 0.7), a_plan())  # it has fallen back, which asks for a plan
        assert await mind.goal() == ("active", 0.3)
        await mind.happens()
        await mind.cycle(won("10", 0.8))
        assert await mind.goal() == ("achieved", 1.0)
        rows = await office.pool.fetch(
            "SELECT state, progress FROM goal_changes WHERE cycle_id IS NOT NULL ORDER BY change_id"
        )
        assert [(row["state"], row["progress"]) for row in rows] == [
            ("active", 0.4),
            ("active", 0.3),
            ("achieved", 1.0),
        ]


async def test_what_a_step_finds_out_is_believed(office: Office):
    async with thinking(office) as mind:
        mind.loop.model = OfflineModel()
        await mind.happens("write to Bo", answered="The budget of Acme is 12k.")
        await mind.happens("look up what Acme pays", answered="The budget of Acme is 20k.", step=True, is_run=True)
        await mind.loop.cycle()
    rows = await office.pool.fetch("SELECT object FROM beliefs")
    assert [row["object"] for row in rows] == ["20k"]
    episodes = await office.pool.fetch("SELECT content FROM memories ORDER BY content")
    assert "I did of my own: look up what Acme pays\nWhat came out: The budget" in episodes[0]["content"]


async def test_a_shift_of_what_matters_asks_for_a_plan(office: Office):
    await set_goal(office, "Keep Acme")

    def bad_mood(importance: float) -> str:
        one = {
            "event": 1,
            "subject": "Acme",
            "predicate": "mood",
            "object": "bad",
            "confidence": 0.5,
            "importance": importance,
        }
        return json.dumps({"beliefs": [one]})

    async with thinking(office) as mind:
        await mind.cycle(a_plan())
        await mind.happens()
        await mind.cycle(bad_mood(0.6))
        await office.pool.execute("DELETE FROM beliefs")
        mind.loop.reread()
        await mind.happens()
        await mind.cycle(bad_mood(0.8), a_plan())
        assert '<data kind="why_now">\nit is believed now: mood of Acme: bad' in mind.asked[-1].messages[-1].text


async def test_a_goal_ends_at_its_deadline_and_its_plan_with_it(office: Office):
    await set_goal(office, "Publish the prices", deadline=datetime.now(UTC) + timedelta(days=1))
    async with thinking(office) as mind:
        await mind.cycle(a_plan("a", "b"))
        await office.pool.execute("UPDATE goals SET deadline = now() - interval '1 s' WHERE origin = 'ada'")
        mind.loop.reread()
        await mind.cycle()
        assert await mind.goal() == ("failed", 0.0)
        assert await mind.plans() == [("abandoned", ["running", "skipped"])]
        assert await office.pool.fetchval("SELECT cancelled_by FROM inbound_messages") == "empla"
        await mind.cycle()
        assert await mind.plans() == [("abandoned", ["failed", "skipped"])]
        assert await mind.cycle() == "nothing_to_do"


async def test_nothing_is_begun_outside_the_active_hours(office: Office):
    await set_goal(office, "Publish the prices")
    async with thinking(office) as mind:
        mind.loop.times = LoopTimes(hours=None)
        assert await mind.cycle() == "nothing_to_do"
        now = datetime.now(UTC)
        others = ActiveHours.parse(f"{(now + timedelta(days=2)):%a} 00:00-24:00")
        mind.loop.times = LoopTimes(hours=others)
        assert await mind.cycle() == "nothing_to_do"
        mind.loop.times = LoopTimes(hours=ActiveHours.parse(f"{now:%a},{now + timedelta(days=1):%a} 00:00-24:00"))
        assert await mind.cycle(a_plan("a")) == "acted"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (a_plan("a", "b", after={"a": ["b"], "b": ["a"]}), "wait for each other"),
        (json.dumps({"plans": [{"goal": 1}]}), "the answer does not fit"),
        ("nonsense", "the answer does not fit"),
        (ModelRefused("no"), "ModelRefused: no"),
    ],
)
async def test_a_plan_that_cannot_be_is_refused_and_the_loop_goes_on(office: Office, answer: Step, why: str):
    await set_goal(office, "Publish the prices")
    async with thinking(office) as mind:
        await mind.cycle(answer)
        [record] = await mind.records()
        assert why in record["plan"]["refused"][0]
        mind.loop.times = LoopTimes()
        assert await mind.cycle() == "nothing_to_do"  # it is not asked again at once
        assert await mind.plans() == []


async def test_what_is_forgotten_while_it_is_planned_is_in_no_plan(office: Office):
    await set_goal(office, "Publish the prices")
    async with thinking(office) as mind:
        mind.loop.model = Forgetful(office, a_plan("write to Zanzibar", why="x"), subject="zanzibar")
        await mind.loop.cycle()
        assert await mind.plans() == []
        [record] = await mind.records()
        assert record == {"plan": {"why": FORGOTTEN.refused[0], "refused": list(FORGOTTEN.refused)}}
        assert await mind.cycle(a_plan("a")) == "acted"  # it is planned anew
        assert await mind.plans() == [("running", ["running"])]


async def test_a_plan_that_speaks_of_what_was_forgotten_is_not_begun_from_what_was_kept_warm(office: Office):
    await set_goal(office, "Publish the prices")
    async with thinking(office) as mind:
        await mind.cycle(a_plan("Zanzibar", "b"))
        await mind.end_step("Zanzibar is written")
        await mind.loop._perceive()
        await forget(office, subject="zanzibar")
        await mind.cycle(a_plan())
    kept = await office.pool.fetch(
        "SELECT i::text, s::text FROM intentions i JOIN intention_steps s USING (intention_id)"
    )
    assert "Zanzibar" not in str(kept) + str(await mind.records())


async def test_a_model_that_is_away_is_asked_again(office: Office):
    await set_goal(office, "Publish the prices")
    async with thinking(office) as mind:
        await mind.happens()
        with pytest.raises(ModelUnavailable):
            await mind.cycle(json.dumps({"beliefs": []}), ModelUnavailable("away"))
        assert await mind.cycle(a_plan("a")) == "acted"  # and what happened is not read again
        assert await office.pool.fetchval("SELECT count(*) FROM memories WHERE kind = 'episodic'") == 1


async def test_a_model_that_refuses_is_asked_again_later(office: Office):
    await set_goal(office, "Publish the prices")
    async with thinking(office) as mind:
        await mind.cycle(ModelRefused("the key is gone"))
        mind.loop.times = LoopTimes()
        assert await mind.cycle() == "nothing_to_do"
        await office.pool.execute("UPDATE planning SET planned_at = now() - interval '11 minutes'")
        mind.loop.reread()
        assert await mind.cycle(a_plan("a")) == "acted"


# Where a process dies: as it begins a phase, which is just after the phase before was kept, or before what it did in one is.
DEATHS = {
    "_begin": True, "end_perceive": True, "_think": True, "end_think": True, "_plan": True, "end_plan": True,
    "_act": False, "remember": False, "begin": False, "end_act": False, "tend": False,
}  # fmt: skip
"""With whether the next launch has to plan."""


@pytest.mark.parametrize("place", DEATHS)
async def test_who_dies_in_a_cycle_goes_on_in_the_next_launch(office: Office, place: str):
    await set_goal(office, "Publish the prices")
    async with thinking(office) as mind:
        await mind.happens()
    await dies(office, place)
    async with thinking(office) as mind:
        model = ScriptedModel(answer)
        mind.loop.model = model
        await mind.loop.cycle()
        await Stepping(office.pool, Receiver(office.pool, lambda *_: None), Stopping(office.pool)).begin_ready()
    assert await plans(office) == [("running", ["running", "planned"])]
    assert any(request.output is PlanProposal for request in model.requests) is DEATHS[place]
    count = office.pool.fetchval
    assert await count("SELECT count(*) FROM memories WHERE kind = 'episodic'") == 1
    assert await count("SELECT count(*) FROM employee_events WHERE cycle_id IS NULL") == 0
    assert await count("SELECT count(*) FROM cycles WHERE phase <> 'done'") == 0


def answer(request: ModelRequest) -> Step:
    return a_plan("a", "b") if request.output is PlanProposal else json.dumps({"beliefs": []})


async def dies(office: Office, place: str) -> None:
    """A launch whose process is killed at that place of its first cycle."""
    identity = await office.launch()
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    told = (dsn, str(identity.employee_id), str(identity.tenant_id), str(identity.epoch), place)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.integration.agent.test_goals", *told)
    assert await process.wait() == -signal.SIGKILL


async def _live_until(dsn: str, identity: Identity, place: str) -> None:
    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async with connect(dsn, application_name="tests") as pool:
        memories = Memories(pool, identity, LocalGateway(pb.EmployeeConfiguration()))
        agenda = Agenda(pool, identity)
        loop = ProactiveLoop(pool, identity, memories, Beliefs(pool, identity), agenda)
        loop.times, loop.model = AT_ONCE, ScriptedModel(answer)
        keep = loop._keep

        async def keeping(statement: str, *arguments: Any, **named: Any) -> None:
            if place in LOOP_SQL and statement == LOOP_SQL[place]:
                die()
            await keep(statement, *arguments, **named)

        loop._keep = keeping  # type: ignore[method-assign]
        for one in (loop, memories, agenda):
            if hasattr(one, place):
                setattr(one, place, die)
        await loop.run()


if __name__ == "__main__":
    _dsn, *_ids = sys.argv[1:]
    asyncio.run(_live_until(_dsn, Identity(UUID(_ids[0]), UUID(_ids[1]), int(_ids[2])), _ids[3]))
