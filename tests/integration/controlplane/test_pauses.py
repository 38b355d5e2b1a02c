"""The kill switch and budgets over the wire, with real employee processes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from controlplane.firing import Firing
from controlplane.receiver import Receiver
from controlplane.stepping import SQL as STEPS
from empla.store.connect import Pool
from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_intention, add_schedule, add_tenant
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.test_schedules import refused


async def show(plane: Plane, name: str = "sales-ae") -> pb.Employee:
    employee: pb.Employee = await plane.stub.GetEmployee(pb.GetEmployeeRequest(employee=name), timeout=10)
    return employee


async def send(plane: Plane, text: str, name: str = "sales-ae", key: str = "", wait_ms: int = 60_000) -> pb.Message:
    request = pb.SendMessageRequest(employee=name, text=text, wait_ms=wait_ms, idempotency_key=key)
    message: pb.Message = await plane.stub.SendMessage(request, timeout=90)
    return message


async def pause(plane: Plane, **fields: Any) -> int:
    answer: pb.PauseResponse = await plane.stub.Pause(pb.PauseRequest(**fields), timeout=10)
    return answer.employees


async def resume(plane: Plane, **fields: Any) -> int:
    answer: pb.ResumeResponse = await plane.stub.Resume(pb.ResumeRequest(**fields), timeout=10)
    return answer.employees


async def until_state(plane: Plane, state: str, name: str = "sales-ae") -> None:
    async with asyncio.timeout(30):
        while (await show(plane, name)).health.state != state:
            await asyncio.sleep(0.05)


async def test_a_paused_employee_says_so_and_answers_once_it_is_resumed(plane: Plane):
    await plane.attached()
    assert await pause(plane, employee="sales-ae", reason="too loud") == 1
    assert await pause(plane, employee="sales-ae") == 0
    await until_state(plane, "paused")
    message = await send(plane, "what is 1 + 1?", key="one")
    assert (message.state, message.pause.cause, message.pause.by, message.pause.reason) == (
        "received", "employee", "local operator", "too loud",
    )  # fmt: skip
    events = [
        event async for event in plane.stub.Converse(pb.ConverseRequest(employee="sales-ae", text="2 + 2"), timeout=60)
    ]
    assert [event.WhichOneof("event") for event in events] == ["accepted", "waiting"]
    assert events[-1].waiting.HasField("pause")
    restarted = await plane.stub.RestartEmployee(
        pb.RestartEmployeeRequest(employee="sales-ae", drain_seconds=1), timeout=60
    )
    assert (restarted.paused, restarted.pause.reason) == (True, "too loud")
    await until_state(plane, "paused")
    assert (await send(plane, "what is 1 + 1?", key="one")).state == "received"
    assert await resume(plane, employee="sales-ae") == 1
    answered = await send(plane, "what is 1 + 1?", key="one")
    assert (answered.message_id, answered.state) == (message.message_id, "answered")
    assert not answered.HasField("pause")
    assert not (await show(plane)).paused
    audit = await plane.pool.fetch(
        "SELECT actor, action, detail FROM audit_log WHERE action IN ('employee.pause', 'employee.resume') ORDER BY entry_id"
    )
    assert [tuple(row) for row in audit] == [
        ("local operator", "employee.pause", {"reason": "too loud"}),
        ("local operator", "employee.resume", {"granted": False}),
    ]
    code, _ = await refused(resume(plane, employee="sales-ae"))
    assert code == grpc.StatusCode.FAILED_PRECONDITION


async def test_when_the_budget_of_a_tenant_is_spent_all_its_employees_wait(plane: Plane):
    await plane.attached()
    await plane.attached("other")
    own = {
        "budget": {"day_tokens": 1_000_000}
    }  # or each would have three quarters of the tenant's, and pause by itself
    await plane.pool.execute("UPDATE employees SET profile = profile || $1", own)
    status = await plane.stub.SetBudget(pb.SetBudgetRequest(day_tokens=100), timeout=10)
    assert (status.owner, status.budget.day_tokens, status.spent) == ("default", 100, False)
    messages = await asyncio.gather(send(plane, "hello", key="a"), send(plane, "hello", "other", key="b"))
    assert {message.pause.cause for message in messages} == {"tenant_budget"}
    await until_state(plane, "paused")
    await until_state(plane, "paused", "other")
    reviews = await plane.stub.ListReviews(pb.ListReviewsRequest(), timeout=10)
    [notice] = reviews.reviews
    assert (notice.kind, notice.message_id) == ("budget", "")
    code, _ = await refused(resume(plane, employee="sales-ae"))  # what pauses it is its tenant's
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert await pause(plane, tenant="default") == 2
    # A day later what the budget paused goes on, and not what a person paused.
    await plane.pool.execute("UPDATE budget_days SET day = day - 1")
    await plane.stub.SetBudget(pb.SetBudgetRequest(day_tokens=1_000_000), timeout=10)
    assert (await show(plane)).pause.cause == "tenant"
    await plane.pool.execute("UPDATE tenants SET paused = false")  # as another control plane does
    await until_state(plane, "idle")
    await until_state(plane, "idle", "other")
    answered = await asyncio.gather(send(plane, "hello", key="a"), send(plane, "hello", "other", key="b"))
    assert {message.state for message in answered} == {"answered"}
    status = await plane.stub.GetBudget(pb.GetBudgetRequest(tenant=""), timeout=10)
    assert (status.spent, status.granted) == (False, 1)
    assert status.spent_tokens > 0
    costs = (await plane.stub.GetCosts(pb.GetCostsRequest(employee="other"), timeout=10)).costs
    assert {(cost.employee, cost.model, cost.day) for cost in costs} == {
        ("other", "offline", datetime.now(UTC).date().isoformat())
    }
    assert sum(cost.tokens_in for cost in costs) > 0
    yesterday = pb.GetCostsRequest(employee="other")
    yesterday.until.FromDatetime(datetime.now(UTC) - timedelta(days=1))
    assert not (await plane.stub.GetCosts(yesterday, timeout=10)).costs


@pytest.fixture
async def pool(database: Database) -> Any:
    async with database.connect() as pool:
        yield pool


async def test_a_paused_employee_runs_no_schedule_and_does_what_its_policy_says_later(pool: Pool):
    tenant_id = await add_tenant(pool)
    employee_id = await add_employee(pool, tenant_id)
    channel_id = await add_channel(pool, tenant_id, employee_id, kind="api", secret=None)
    noon = datetime(2027, 5, 3, 12, tzinfo=UTC)
    await add_schedule(pool, tenant_id, employee_id, channel_id, next_at=noon, catch_up="latest")
    now = [noon]
    firing = Firing(pool, Receiver(pool, lambda *_: None), lambda: now[0])
    await pool.execute("UPDATE employees SET paused = true")
    await firing.fire_due()
    assert await pool.fetchval("SELECT count(*) FROM schedule_runs") == 0
    now[0] = noon + timedelta(hours=2)
    await pool.execute("UPDATE employees SET paused = false")
    await firing.fire_due()
    runs = await pool.fetch("SELECT state FROM schedule_runs ORDER BY due_at")
    assert [row["state"] for row in runs] == ["missed", "missed", "fired"]


async def test_no_step_of_a_plan_is_begun_for_a_paused_tenant(pool: Pool):
    tenant_id = await add_tenant(pool)
    employee_id = await add_employee(pool, tenant_id)
    await add_intention(pool, tenant_id, employee_id, "One")
    assert await pool.fetchrow(STEPS.ready, [], []) is not None
    await pool.execute("UPDATE tenants SET paused = true")
    assert await pool.fetchrow(STEPS.ready, [], []) is None
    assert not await pool.fetchval(STEPS.more, [], [])
