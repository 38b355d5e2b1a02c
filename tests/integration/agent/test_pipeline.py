"""A message on its way: every step durable, the reply in the outbox, nothing done twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from agent.capabilities.base import EffectKey, RecordedEffect
from agent.capabilities.workspace import WorkspaceCapability
from agent.models.interface import ModelRateLimited, ModelRequest, ModelResponse, ModelUnavailable, ToolCall, Usage
from agent.models.offline import OfflineModel
from agent.models.scripted import ScriptedModel, Step, echo
from agent.pipeline import stepper
from agent.pipeline.effects import StoredEffects
from agent.pipeline.step import Unrecorded
from agent.pipeline.work import Worker
from empla import notices
from empla.prices import Price
from empla.store.connect import connect
from empla.store.errors import StoreUnavailable
from empla.store.roles import employee_dsn
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import sorted_as

WHOLE_WAY = [
    "security_filter",
    "context_retrieval",
    "classification",
    "action_planning",
    "draft_generation",
    "routing",
    "merge",
]


async def answered(office: Office, gateway, text: str, **fields) -> tuple[UUID, str]:
    message_id = await office.store(text, **fields)
    await office.deliver_all(gateway)
    async with asyncio.timeout(20):
        return message_id, await gateway.handed_over(message_id)


async def test_a_message_goes_through_every_step_to_the_outbox(office: Office):
    (office.workspace / "notes.md").write_text("# Deals\n\n- Acme - open\n- Brandt - closed\n- Corte - open\n")
    async with office.employee(OfflineModel()) as gateway:
        message_id, state = await answered(office, gateway, "How many open deals does notes.md list?")
        assert state == "sending"
        assert message_id in gateway.acknowledged
    assert await office.attempts(message_id) == [(step, "succeeded") for step in WHOLE_WAY]
    [reply] = await office.replies(message_id)
    assert "2" in reply
    row = await office.row(message_id)
    assert set(row["step_timings"]) >= {"security_filter", "context_retrieval", "classification", "merge"}


async def test_what_it_was_told_is_remembered_in_another_conversation(office: Office):
    async with office.employee(OfflineModel()) as gateway:
        await answered(office, gateway, "Remember that our discount limit is 15 %.")
        message_id, _ = await answered(office, gateway, "What is our discount limit?")
    [reply] = await office.replies(message_id)
    assert "15" in reply


async def test_a_failing_model_is_retried_and_then_a_person_is_asked(office: Office):
    def down(_: ModelRequest) -> ModelResponse:
        raise ModelUnavailable("overloaded")

    async with office.employee(ScriptedModel(down)) as gateway:
        message_id, state = await answered(office, gateway, "Hello?")
    assert (state, (await office.row(message_id))["step"]) == ("waiting", "classification")
    outcomes = await office.attempts(message_id)
    assert outcomes.count(("classification", "failed")) == 3
    reviews = await office.pool.fetch("SELECT kind, state FROM reviews WHERE message_id = $1", message_id)
    assert [(r["kind"], r["state"]) for r in reviews] == [("classification", "open")]
    [notice] = await office.replies(message_id)
    assert "person" in notice


async def test_a_retry_that_a_clock_ahead_of_this_one_has_planned_waits_no_longer_than_any(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    def down(_: ModelRequest) -> ModelResponse:
        raise ModelRateLimited("slow down", retry_after=30.0)

    async with office.employee(ScriptedModel(down)) as gateway:
        message_id = await office.store("Hello?")
        await office.deliver_all(gateway)
        async with asyncio.timeout(20):
            while (await office.row(message_id))["next_at"] is None:
                await asyncio.sleep(0.01)
    await office.pool.execute("UPDATE inbound_messages SET next_at = next_at + interval '1 hour'")
    monkeypatch.setattr(stepper, "MAX_BACKOFF_SECONDS", 0.2)
    async with office.employee(OfflineModel()) as gateway, asyncio.timeout(20):
        assert await gateway.handed_over(message_id) == "sending"


async def test_every_attempt_says_what_it_cost_also_one_that_failed(office: Office):
    paid = Usage(input=1000, cached=400, output=10)
    asked: list[ModelRequest] = []

    def script(request: ModelRequest) -> Step:
        if request.output is not None:
            return ModelResponse(text=sorted_as("Look", "Look"), model="free-1", usage=paid)
        asked.append(request)
        if len(asked) == 1:
            call = ToolCall(call_id="1", name="list_files", arguments={})
            return ModelResponse(calls=(call,), model="big-2026", usage=paid, stop_reason="calls")
        if len(asked) == 2:
            raise ModelUnavailable("overloaded")
        return ModelResponse(text="Done.", model="big-2026", usage=paid)

    prices = {"big": Price(input=3, output=15, cached=0.5)}
    async with office.employee(ScriptedModel(script), model_prices=prices) as gateway:
        message_id, _ = await answered(office, gateway, "Look")
    rows = await office.pool.fetch(
        "SELECT step, outcome, model, tokens_in, tokens_out, cost_micros FROM step_attempts "
        "WHERE message_id = $1 AND step IN ('security_filter', 'classification', 'action_planning') ORDER BY finished_at",
        message_id,
    )
    once = 600 * 3 + 400 * 0.5 + 10 * 15
    assert [tuple(row) for row in rows] == [
        ("security_filter", "succeeded", "", 0, 0, 0),
        ("classification", "succeeded", "free-1", 1000, 10, None),
        ("action_planning", "failed", "big-2026", 1000, 10, once),
        ("action_planning", "succeeded", "big-2026", 1000, 10, once),
    ]


async def test_an_auto_responder_gets_no_answer(office: Office):
    async with office.employee(OfflineModel()) as gateway:
        message_id, state = await answered(office, gateway, "I am out of office", auto_submitted="auto-replied")
    assert state == "withheld"
    assert (await office.row(message_id))["reason"] == "auto-responder"
    assert await office.replies(message_id) == []


async def test_messages_of_one_conversation_are_answered_in_order(office: Office):
    async with office.employee(ScriptedModel(delay=0.05)) as gateway:
        ids = [await office.store(f"message {n}", conversation="thread") for n in range(5)]
        await office.deliver_all(gateway)
        for message_id in ids:
            await gateway.handed_over(message_id)
    rows = await office.pool.fetch("SELECT message_id FROM outbox ORDER BY queued_at")
    assert [row["message_id"] for row in rows] == ids


async def test_a_launch_takes_over_what_an_earlier_one_left(office: Office):
    begun = asyncio.Event()

    class Stuck(ScriptedModel):
        async def generate(self, request, on_text=None):
            begun.set()
            await asyncio.Event().wait()

    message_id = await office.store("Hello?")
    first = office.employee(Stuck())
    gateway = await first.__aenter__()
    await office.deliver_all(gateway)
    await asyncio.wait_for(begun.wait(), 10)
    # A successor exists: the first may not write any more, whatever it still does.
    async with office.employee(OfflineModel()) as second:
        assert await asyncio.wait_for(second.handed_over(message_id), 10) == "sending"
    assert len(await office.replies(message_id)) == 1
    assert ("classification", "lost") in await office.attempts(message_id)
    gateway.drain(0)
    await first.__aexit__(None, None, None)
    assert len(await office.replies(message_id)) == 1


async def test_a_replayed_call_is_not_done_again(office: Office):
    """The process dies after the tool ran: the next launch replays the response and reads the recorded result."""
    asked = 0

    def script(request: ModelRequest) -> Step:
        nonlocal asked
        if request.output is not None:
            return echo(request)
        asked += 1
        if not any(message.results for message in request.messages):
            call = ToolCall(call_id="1", name="append_file", arguments={"path": "log.txt", "content": "once\n"})
            return ModelResponse(calls=(call,), model="scripted", stop_reason="calls")
        if asked == 2:
            raise ModelUnavailable("broke off")
        return ModelResponse(text="done", model="scripted")

    async with office.employee(ScriptedModel(script)) as gateway:
        message_id, state = await answered(office, gateway, "Write it down")
    assert state == "sending"
    assert (office.workspace / "log.txt").read_text() == "once\n"
    assert asked == 3
    assert ("action_planning", "failed") in await office.attempts(message_id)


def scripted(*answers: Step) -> ScriptedModel:
    """A model that classifies by rules and then answers so."""
    left = list(answers)
    return ScriptedModel(lambda request: echo(request) if request.output is not None else left.pop(0))


async def test_what_no_database_takes_is_replaced_in_what_a_model_says(office: Office):
    async with office.employee(scripted("a\0b")) as gateway:
        message_id, state = await answered(office, gateway, "Hello?")
    assert state == "sending"
    assert await office.replies(message_id) == ["a\ufffdb"]


async def test_an_output_that_cannot_be_stored_fails_its_message_alone(office: Office):
    """Whatever the database refuses fails the step of that message, and nothing else."""
    async with office.employee(scripted("fine", "fine")) as gateway:
        _, state = await answered(office, gateway, "Hello?")
        assert state == "sending"
        broken = await office.store("Hello again?")
        await office.pool.execute("ALTER TABLE step_attempts ADD CHECK (output ->> 'text' <> 'Hello again?')")
        await office.deliver_all(gateway)
        assert await asyncio.wait_for(gateway.handed_over(broken), 20) == "failed"
        _, later = await answered(office, gateway, "And now?")
        assert later == "sending"
    assert await office.attempts(broken) == [("security_filter", "failed")] * 3


@pytest.mark.parametrize(
    ("refused", "state"), [("outcome = 'failed'", "failed"), ("outcome IN ('failed', 'succeeded')", "received")]
)
async def test_a_failure_that_cannot_be_recorded_is_its_messages_alone(office: Office, refused: str, state: str):
    """The last thing that is tried is a bare end; what does not even take that is left for the next launch."""
    async with office.employee(ScriptedModel()) as gateway:
        broken = await office.store("Hello?", conversation="thread")
        await office.pool.execute(f"ALTER TABLE step_attempts ADD CHECK (message_id <> '{broken}' OR NOT {refused})")
        if state == "received":
            await office.pool.execute("ALTER TABLE reviews ADD CHECK (kind <> 'needs_manual_intervention')")
        else:
            await office.pool.execute("ALTER TABLE step_attempts ADD CHECK (output ->> 'text' <> 'Hello?')")
        await office.deliver_all(gateway)
        _, later = await answered(office, gateway, "And now?", conversation="thread")
        assert later == "sending"
        assert (await office.row(broken))["processing_state"] == state
    assert {outcome for _, outcome in await office.attempts(broken)} <= {"drained"}
    reviews = await office.pool.fetchval("SELECT count(*) FROM reviews WHERE message_id = $1", broken)
    assert reviews == (state == "failed")


async def test_a_silent_model_is_asked_once_for_words(office: Office):
    async with office.employee(scripted(ModelResponse(text=" ", model="m"), "here they are")) as gateway:
        message_id, state = await answered(office, gateway, "Hello?")
    assert (state, await office.replies(message_id)) == ("sending", ["here they are"])


async def test_a_model_that_stays_silent_is_a_case_for_a_person(office: Office):
    async with office.employee(scripted("", "")) as gateway:
        message_id, state = await answered(office, gateway, "Hello?")
    assert state == "failed"
    [notice] = await office.replies(message_id)
    assert notice == notices.FAILURE


async def test_a_run_that_was_cut_off_is_a_case_for_a_person_and_its_sender_reads_no_details(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    begin = StoredEffects.begin

    async def begun_before(*arguments: Any, **about: Any) -> RecordedEffect:
        await begin(*arguments, **about)
        return RecordedEffect("intended")

    monkeypatch.setattr(StoredEffects, "begin", begun_before)
    call = ToolCall(call_id="1", name="run_python", arguments={"code": "open('x', 'a').write('once')"})
    async with office.employee(scripted(ModelResponse(calls=(call,), model="m", stop_reason="calls"))) as gateway:
        message_id, state = await answered(office, gateway, "Run it")
    assert state == "failed"
    assert await office.replies(message_id) == [notices.FAILURE]
    assert await office.pool.fetchval("SELECT state FROM effects") == "ambiguous"
    assert "run_python was begun before" in await office.pool.fetchval("SELECT reason FROM reviews")


async def test_an_answer_that_was_cut_off_is_shown_to_a_person_first(office: Office):
    async with office.employee(scripted(ModelResponse(text="It costs 1", model="m", stop_reason="length"))) as gateway:
        message_id, _ = await answered(office, gateway, "Hello?")
    [row] = await office.pool.fetch("SELECT body, proposal FROM outbox WHERE message_id = $1", message_id)
    assert (row["body"], row["proposal"]) == ("It costs 1 …", "review")


async def test_a_database_that_goes_away_while_an_action_runs_leaves_no_doubt_about_it(office: Office):
    """The connections break between the action and its record; the result is recorded all the same."""
    identity = await office.launch()
    message_id = await office.store("Hello?")
    key, action = EffectKey(message_id, message_id, 0, 0), WorkspaceCapability.actions[4]
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    async with connect(dsn, application_name="tests") as pool:
        effects = StoredEffects(pool, identity, unrecorded := Unrecorded())
        assert await effects.begin(key, capability="workspace", action=action, arguments={}) is None
        async with without_database(office):
            with pytest.raises(StoreUnavailable):
                await effects.end(key, state="succeeded", result={"done": True})
        next_attempt = StoredEffects(pool, identity, unrecorded)
        again = await next_attempt.begin(key, capability="workspace", action=action, arguments={})
    assert again == RecordedEffect("succeeded", {"done": True}, "")
    assert unrecorded == Unrecorded()


async def test_an_intent_whose_answer_was_lost_is_told_apart_from_an_action_that_was_begun(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    identity = await office.launch()
    message_id = await office.store("Hello?")
    key, action = EffectKey(message_id, message_id, 0, 0), WorkspaceCapability.actions[4]
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    async with connect(dsn, application_name="tests") as pool:
        effects, write = StoredEffects(pool, identity, Unrecorded()), StoredEffects._write

        async def committed_and_lost(*arguments: Any) -> None:
            await write(*arguments)
            raise StoreUnavailable("the connection broke")

        with monkeypatch.context() as patch:
            patch.setattr(StoredEffects, "_write", committed_and_lost)
            with pytest.raises(StoreUnavailable):
                await effects.begin(key, capability="workspace", action=action, arguments={})
        assert await effects.begin(key, capability="workspace", action=action, arguments={}) is None


@asynccontextmanager
async def without_database(office: Office) -> AsyncIterator[None]:
    """For the length of the block, the employee's connections break and it gets no others."""
    role = f"empla_e_{office.record.employee_id.hex}"
    async with connect(office.database.superuser_dsn, application_name="tests") as superuser:
        limit = await superuser.fetchval("SELECT rolconnlimit FROM pg_roles WHERE rolname = $1", role)
        await superuser.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
        await superuser.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1", role)
        try:
            yield
        finally:
            await superuser.execute(f"ALTER ROLE {role} CONNECTION LIMIT {limit}")


async def test_an_outage_longer_than_a_deadline_costs_neither_a_retry_nor_a_known_result(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The database goes away while an action runs, for longer than its step may take."""
    acted, back, steps, act = asyncio.Event(), asyncio.Event(), Worker.steps, WorkspaceCapability._execute_action_impl

    async def acting(*arguments: Any) -> Any:
        done = await act(*arguments)
        acted.set()
        await back.wait()
        return done

    monkeypatch.setattr(Worker, "steps", lambda worker: tuple(replace(step, deadline=1) for step in steps(worker)))
    monkeypatch.setattr(WorkspaceCapability, "_execute_action_impl", acting)
    call = ToolCall(call_id="1", name="append_file", arguments={"path": "log.txt", "content": "once\n"})
    wanted = ModelResponse(calls=(call,), model="scripted", stop_reason="calls")
    async with office.employee(scripted(wanted, "done")) as gateway, asyncio.timeout(20):
        message_id = await office.store("Write it down")
        await office.deliver_all(gateway)
        await acted.wait()
        async with without_database(office):
            back.set()
            await asyncio.sleep(2)
        assert await gateway.handed_over(message_id) == "sending"
    assert (office.workspace / "log.txt").read_text() == "once\n"
    assert await office.attempts(message_id) == [(step, "succeeded") for step in WHOLE_WAY]
    assert await office.pool.fetchval("SELECT state FROM effects") == "succeeded"
    assert caplog.text.count("the database is away, step action_planning waits") == 1


async def test_an_intent_of_another_attempt_is_told_apart_from_ones_own(office: Office):
    identity = await office.launch()
    message_id = await office.store("Hello?")
    key, action = EffectKey(message_id, message_id, 0, 0), WorkspaceCapability.actions[4]
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    async with connect(dsn, application_name="tests") as pool:
        effects = StoredEffects(pool, identity, Unrecorded())
        assert await effects.begin(key, capability="workspace", action=action, arguments={}) is None
        assert await effects.begin(key, capability="workspace", action=action, arguments={}) == RecordedEffect(
            "intended"
        )
