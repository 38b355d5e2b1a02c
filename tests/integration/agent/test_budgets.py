"""What an employee does when a budget is spent: of the day, it waits; of a message, a person has to look."""

import asyncio
from typing import Any

import pytest

from agent.budget import Budget
from agent.errors import Paused
from agent.models.interface import ModelOutputInvalid, ModelRequest, ModelResponse, ModelUnavailable, TextSink, Usage
from agent.models.retry import RetryingModel
from agent.models.scripted import ScriptedModel, Step, echo
from agent.pausing import Pause
from controlplane.employees import Employees
from empla.prices import Price
from empla.store.connect import connect
from empla.store.roles import employee_dsn
from empla.v1 import control_pb2
from tests.integration.agent.conftest import Office
from tests.integration.agent.test_pausing import Held, still_waits

PRICES = {"scripted": Price(input=1, output=1)}


async def limit(office: Office, **budget: float) -> None:
    """Give the employee a budget; it has one capability, so that its calls are small."""
    profile = office.record.profile
    profile.budget.Clear()
    for name, value in budget.items():
        setattr(profile.budget, name, value)
    del profile.capabilities[:]
    profile.capabilities.append("workspace")
    employees = Employees(office.pool)
    await employees.update(office.record.employee_id, profile, control_pb2.AUTONOMY_UNSPECIFIED)
    office.record = await employees.by_id(office.record.employee_id)


async def reviews(office: Office) -> list[tuple[str, str]]:
    rows = await office.pool.fetch("SELECT kind, reason FROM reviews ORDER BY created_at")
    return [(row["kind"], row["reason"]) for row in rows]


async def held(office: Office) -> int:
    count: int = await office.pool.fetchval("SELECT count(*) FROM budget_holds")
    return count


async def spent(office: Office) -> Any:
    return await office.pool.fetchrow("SELECT micros, tokens FROM budget_days")


async def test_without_a_budget_nothing_is_held(office: Office):
    async with office.employee(ScriptedModel()) as gateway:
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        await gateway.handed_over(message_id)
    assert await spent(office) is None


async def test_calls_are_settled_to_what_they_cost(office: Office):
    await limit(office, day_dollars=10, message_dollars=5)

    def counted(request: ModelRequest) -> Step:
        step = echo(request)
        assert isinstance(step, str)
        return ModelResponse(text=step, model="scripted", usage=Usage(input=1000, output=200))

    async with office.employee(ScriptedModel(counted), model_prices=PRICES) as gateway:
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        await gateway.handed_over(message_id)
    row = await office.pool.fetchrow(
        "SELECT d.micros, d.tokens, m.micros AS of_message FROM budget_days d, budget_messages m"
    )
    assert row is not None
    assert tuple(row) == (2400, 2400, 2400)
    assert await held(office) == 0


async def test_when_the_day_is_spent_messages_wait_and_with_the_next_day_they_are_answered(office: Office):
    await limit(office, day_tokens=30_000)
    async with office.employee(ScriptedModel()) as gateway:
        first = await office.store("hello")
        await office.deliver_all(gateway)
        assert await gateway.handed_over(first) == "sending"
        await office.pool.execute("UPDATE budget_days SET tokens = 29999")
        late = [await office.store(f"hello {number}") for number in range(3)]
        await office.deliver_all(gateway)
        assert await still_waits(gateway, late[0])
        [(kind, why)] = await reviews(office)
        assert kind == "budget"
        assert why.startswith("the budget of sales-ae for ")
        assert {(await office.row(one))["processing_state"] for one in late} <= {"received", "analyzing"}
        # The day turns, which is what the control plane tells.
        await office.pool.execute("UPDATE budget_days SET day = day - 1")
        gateway.pause(paused=False)
        for one in late:
            assert await gateway.handed_over(one) == "sending"
    assert {outcome for one in late for _, outcome in await office.attempts(one)} == {"succeeded"}
    assert len(await reviews(office)) == 1


async def test_in_the_middle_of_a_message_the_day_is_spent_and_what_was_done_is_not_done_again(office: Office):
    await limit(office, day_tokens=100_000)
    model = Held()
    async with office.employee(model) as gateway:
        message_id = await office.store("write a note")
        await office.deliver_all(gateway)
        await model.held.wait()
        await office.pool.execute("UPDATE budget_days SET tokens = 99999")
        model.released.set()
        assert await still_waits(gateway, message_id)
        assert await office.pool.fetchval("SELECT state FROM effects") == "succeeded"
        assert await office.pool.fetchval("SELECT reopen_budget(now(), $1, 'op', 1)", office.record.employee_id)
        gateway.pause(paused=False)
        assert await gateway.handed_over(message_id) == "sending"
    assert model.worked == 2
    assert {outcome for _, outcome in await office.attempts(message_id)} == {"succeeded"}


async def test_a_message_whose_budget_is_spent_is_left_to_a_person_with_what_was_done(office: Office):
    await limit(office, message_tokens=100_000)
    model = Held()
    async with office.employee(model) as gateway:
        message_id = await office.store("write a note")
        await office.deliver_all(gateway)
        await model.held.wait()
        await office.pool.execute("UPDATE budget_messages SET tokens = 99999")
        model.released.set()
        assert await gateway.handed_over(message_id) == "failed"
        other = await office.store("hello")
        await office.deliver_all(gateway)
        assert await gateway.handed_over(other) == "sending"
    [(kind, why)] = await reviews(office)
    assert kind == "needs_manual_intervention"
    assert "the budget of this message is spent" in why
    assert await office.pool.fetchval("SELECT state FROM effects") == "succeeded"
    kinds = await office.pool.fetch("SELECT kind FROM outbox WHERE message_id = $1", message_id)
    assert [row["kind"] for row in kinds] == ["notice"]  # the sender is told


async def test_what_was_held_when_the_process_died_is_room_for_the_next(office: Office):
    await limit(office, day_tokens=20_000)
    model = Held()
    async with asyncio.TaskGroup() as life:
        gateway, running = await office.begin(life, model)
        message_id = await office.store("write a note")
        await office.deliver_all(gateway)
        await model.held.wait()
        running.cancel()
    assert await held(office) == 1
    await office.pool.execute("UPDATE budget_holds SET tokens = 20000")
    model.released.set()
    async with office.employee(model) as gateway:
        assert await gateway.handed_over(message_id) == "sending"
    assert await held(office) == 0


class Refusing(ScriptedModel):
    """Fails at the first piece of work."""

    failed = False

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        if request.output is None and not self.failed:
            self.failed = True
            raise ModelUnavailable("overloaded")
        return await super().generate(request, on_text)


async def test_a_call_that_failed_holds_nothing_any_more(office: Office):
    await limit(office, day_tokens=20_000)
    async with office.employee(Refusing()) as gateway:
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        assert await gateway.handed_over(message_id) == "sending"
    assert await held(office) == 0


class Unsettled(ScriptedModel):
    """The database cannot settle what is held for the first piece of work; `worked` counts the pieces."""

    def __init__(self, office: Office) -> None:
        super().__init__(echo)
        self._office, self.worked = office, 0

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        if request.output is None:
            self.worked += 1
            if self.worked == 1:
                await self._office.pool.execute(AWAY)
        return await super().generate(request, on_text)


SETTLES = "SELECT pg_get_functiondef('settle_budget'::regproc)"
AWAY = (
    "CREATE OR REPLACE FUNCTION settle_budget(hold uuid, cost bigint, taken bigint) RETURNS void LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = 'admin_shutdown'; END $$"
)


async def test_what_is_paid_for_is_kept_when_the_database_goes_away_and_settled_before_the_next_call(office: Office):
    await limit(office, day_tokens=100_000)
    settles = await office.pool.fetchval(SETTLES)
    model = Unsettled(office)
    async with office.employee(model) as gateway:
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        assert await gateway.handed_over(message_id) == "sending"
        assert (model.worked, await held(office)) == (1, 1)
        await office.pool.execute(settles)
        other = await office.store("hello")
        await office.deliver_all(gateway)
        assert await gateway.handed_over(other) == "sending"
    assert await held(office) == 0


async def test_who_waits_long_for_what_others_hold_begins_anew_and_pauses_nobody(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("agent.budget.WAIT_SECONDS", 0.1)
    await limit(office, day_tokens=20_000)
    identity, pause = await office.launch(), Pause()
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    async with connect(dsn, application_name="tests") as pool, asyncio.timeout(20):
        budget = Budget(pool, identity, pause)
        first = await budget.hold(None, 0, 15_000, seconds=60)
        with pytest.raises(Paused, match="others hold"):
            await budget.hold(None, 0, 15_000, seconds=60)
        assert not pause.on
        await budget.settle(first, 0, 0)
        await budget.hold(None, 0, 15_000, seconds=60)


class Failing(ScriptedModel):
    """Answers the first piece of work, billed as any other, with what does not fit."""

    def __init__(self) -> None:
        super().__init__(self._step)
        self._failed = False

    def _step(self, request: ModelRequest) -> Step:
        usage, said = Usage(input=1000, output=200), echo(request)
        if request.output is None and not self._failed:
            self._failed = True
            error = ModelOutputInvalid("the arguments of the call are not JSON")
            error.usage = usage
            return error
        return ModelResponse(text=str(said), model="scripted", usage=usage)


async def test_an_attempt_that_is_billed_and_tried_again_is_paid_for_as_well(office: Office):
    await limit(office, day_dollars=10)
    model = RetryingModel(Failing(), jitter=lambda low, high: 0.0)
    async with office.employee(model, model_prices=PRICES) as gateway:
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        assert await gateway.handed_over(message_id) == "sending"
    assert await held(office) == 0
    assert tuple(await spent(office)) == (3600, 3600)
    taken = "SELECT sum(tokens_in), sum(tokens_out), sum(cost_micros) FROM step_attempts WHERE message_id = $1"
    assert tuple(await office.pool.fetchrow(taken, message_id) or ()) == (3000, 600, 3600)
