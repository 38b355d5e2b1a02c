"""The control API over real gRPC, with real employee processes."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.auth import hashed, new_secret
from controlplane.backoff import CRASH_LOOP, RARELY_SECONDS
from controlplane.employees import SQL as EMPLOYEES_SQL
from controlplane.employees import Employees
from controlplane.errors import Invalid, NotNow, Unknown
from controlplane.messages import Messages
from controlplane.receiver import Arrival, Receiver
from empla import rpc
from empla.store.connect import Pool
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_tenant
from tests.integration.controlplane.conftest import Plane


def workspace(plane: Plane, employee: pb.Employee) -> Path:
    return plane.settings.workspaces / employee.employee_id


async def test_a_message_is_answered_from_the_workspace(plane: Plane):
    employee = await plane.attached()
    await asyncio.to_thread((workspace(plane, employee) / "team.md").write_text, "- Ada: engineer\n- Bo: sales\n")
    message = await plane.stub.SendMessage(
        pb.SendMessageRequest(employee="sales-ae", text="How many people does team.md list?", wait_ms=20_000),
        timeout=30,
    )
    assert message.state == "answered"
    assert "2" in message.replies[0].text
    assert [stage.stage for stage in message.stages] == ["receive", "analyze", "work", "merge", "send"]
    assert {effect.action for effect in message.effects} >= {"read_file"}


async def test_a_conversation_is_told_as_it_happens(plane: Plane):
    await plane.attached()
    request = pb.ConverseRequest(employee="sales-ae", text="What is 17 * 3?", idempotency_key="once")
    events = [event async for event in plane.stub.Converse(request, timeout=30)]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "accepted"
    assert kinds[-1] == "reply"
    assert {"step", "text_delta"} <= set(kinds)
    assert "51" in events[-1].reply.replies[0].text
    again = [event async for event in plane.stub.Converse(request, timeout=30)]
    assert again[0].accepted.duplicate
    assert again[-1].reply.message_id == events[-1].reply.message_id


async def test_the_same_key_is_the_same_message_and_never_another(plane: Plane):
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name="idle", profile_name="sales-ae"), timeout=10)
    request = pb.SendMessageRequest(employee="idle", text="hello", idempotency_key="k")
    first, second = await asyncio.gather(*(plane.stub.SendMessage(request, timeout=10) for _ in range(2)))
    assert first.message_id == second.message_id
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await plane.stub.SendMessage(
            pb.SendMessageRequest(employee="idle", text="other", idempotency_key="k"), timeout=10
        )
    assert refused.value.code() is grpc.StatusCode.ABORTED
    assert rpc.reason_of(refused.value) == "IDEMPOTENCY_KEY_REUSED"


async def test_messages_for_a_stopped_employee_wait_and_are_answered_when_it_starts(plane: Plane):
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name="late", profile_name="sales-ae"), timeout=10)
    request = pb.SendMessageRequest(employee="late", text="What is 2 + 2?", wait_ms=60_000)
    stored = await plane.stub.SendMessage(request, timeout=10)  # nobody is there to wait for
    assert stored.state == "received"
    await plane.stub.StartEmployee(pb.StartEmployeeRequest(employee="late"), timeout=10)
    async with asyncio.timeout(30):
        while (await plane.stub.GetMessage(pb.GetMessageRequest(message_id=stored.message_id))).state != "answered":
            await asyncio.sleep(0.05)


async def test_a_supervised_employees_reply_waits_for_a_person_and_a_shadows_is_withheld(plane: Plane):
    for name, autonomy, state in (
        ("careful", pb.AUTONOMY_SUPERVISED, "waiting"),
        ("shadow", pb.AUTONOMY_SHADOW, "withheld"),
    ):
        profile = pb.Profile(role="Tester", autonomy=autonomy)
        await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name=name, profile=profile, start=True), timeout=10)
        request = pb.SendMessageRequest(employee=name, text="What is 2 + 2?", wait_ms=25_000)
        message = await plane.stub.SendMessage(request, timeout=30)
        assert message.state == state, message
        assert message.replies[0].state != "sent"
    reviews = (await plane.stub.ListReviews(pb.ListReviewsRequest(), timeout=10)).reviews
    assert [(review.employee, review.kind, review.state) for review in reviews] == [("careful", "draft", "open")]


async def test_a_capability_that_the_profile_leaves_out_is_off(plane: Plane):
    profile = pb.Profile(role="Tester", autonomy=pb.AUTONOMY_AUTONOMOUS, capabilities=["memory"])
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name="deskless", profile=profile, start=True), timeout=10)
    request = pb.SendMessageRequest(employee="deskless", text="Write a file x.txt with hello", wait_ms=25_000)
    message = await plane.stub.SendMessage(request, timeout=30)
    assert message.state == "answered"
    assert not list((plane.settings.workspaces / message.employee_id).iterdir())


async def test_an_employee_that_dies_is_started_again_with_the_next_epoch(plane: Plane):
    before = await plane.attached()
    os.kill(before.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while True:
            now = await plane.stub.GetEmployee(pb.GetEmployeeRequest(employee="sales-ae"), timeout=10)
            if now.observed_state == pb.OBSERVED_STATE_ATTACHED and now.epoch > before.epoch:
                break
            await asyncio.sleep(0.05)
    assert now.pid != before.pid
    assert now.restarts == 1


async def test_a_crash_loop_is_shown_with_the_last_words_and_ended_by_a_start(plane: Plane):
    employee = await plane.attached()
    assert employee.observed_state == pb.OBSERVED_STATE_ATTACHED
    show = pb.GetEmployeeRequest(employee="sales-ae")
    assert (await plane.stub.GetEmployee(show, timeout=10)).bound.memory_bytes == plane.settings.employee_memory_bytes
    known = plane.running.lifecycle._observed[UUID(employee.employee_id)]
    for _ in range(CRASH_LOOP - 1):
        known.failed("exit code 7")
    known.launched_at = time.monotonic()
    os.kill(employee.pid, signal.SIGSEGV)
    async with asyncio.timeout(30):
        while not (now := await plane.stub.GetEmployee(show, timeout=10)).last_end.HasField("next_start"):
            await asyncio.sleep(0.05)
    assert now.observed_state == pb.OBSERVED_STATE_CRASH_LOOPING
    assert now.last_end.reason == "killed by SIGSEGV"
    assert now.last_end.next_start.seconds > now.last_end.at.seconds + RARELY_SECONDS - 2
    assert now.last_end.log
    assert not now.HasField("bound")
    [listed] = (await plane.stub.ListEmployees(pb.ListEmployeesRequest(), timeout=10)).employees
    assert listed.last_end.reason
    assert not listed.last_end.log
    await plane.stub.StartEmployee(pb.StartEmployeeRequest(employee="sales-ae"), timeout=10)
    async with asyncio.timeout(30):
        while now.observed_state != pb.OBSERVED_STATE_ATTACHED:
            now = await plane.stub.GetEmployee(show, timeout=10)
            await asyncio.sleep(0.05)
    assert not now.last_end.log


async def test_stop_start_and_delete(plane: Plane):
    employee = await plane.attached()
    stopped = await plane.stub.StopEmployee(pb.StopEmployeeRequest(employee="sales-ae", drain_seconds=1), timeout=30)
    assert (stopped.observed_state, stopped.pid) == (pb.OBSERVED_STATE_STOPPED, 0)
    assert not Path(f"/proc/{employee.pid}").exists()
    waiting = await plane.stub.SendMessage(pb.SendMessageRequest(employee="sales-ae", text="hello"), timeout=10)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await plane.stub.DeleteEmployee(pb.DeleteEmployeeRequest(employee="sales-ae"), timeout=10)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    await plane.stub.DeleteEmployee(pb.DeleteEmployeeRequest(employee="sales-ae", force=True), timeout=10)
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await plane.stub.GetEmployee(pb.GetEmployeeRequest(employee="sales-ae"), timeout=10)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    assert (await plane.stub.GetMessage(pb.GetMessageRequest(message_id=waiting.message_id))).text == "hello"
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name="sales-ae", profile_name="sales-ae"), timeout=10)


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (pb.CreateEmployeeRequest(name="Not A Name", profile_name="sales-ae"), "INVALID_ARGUMENT", "name"),
        (pb.CreateEmployeeRequest(name="x", profile_name="nobody"), "NOT_FOUND", ""),
        (pb.CreateEmployeeRequest(name="x", profile=pb.Profile()), "INVALID_ARGUMENT", "profile.role"),
        (
            pb.UpdateEmployeeRequest(employee="there", profile=pb.Profile(role="x", capabilities=["computer"])),
            "INVALID_ARGUMENT",
            "profile.capabilities[0]",
        ),
        (pb.CreateEmployeeRequest(name="x", tenant="nowhere", profile_name="sales-ae"), "NOT_FOUND", ""),
        (pb.SendMessageRequest(employee="nobody", text="x"), "NOT_FOUND", ""),
        (pb.SendMessageRequest(employee="there", text=""), "INVALID_ARGUMENT", "text"),
        (pb.SendMessageRequest(employee="there", text="\0"), "INVALID_ARGUMENT", "text"),
        (pb.SendMessageRequest(employee="there", text="x" * (256 * 1024 + 1)), "RESOURCE_EXHAUSTED", "text"),
        (pb.SendMessageRequest(employee="there", text="x", wait_ms=10**9), "INVALID_ARGUMENT", "wait_ms"),
        (pb.SendMessageRequest(employee="there", text="x", sender="y" * 501), "INVALID_ARGUMENT", "sender"),
        (pb.GetMessageRequest(message_id="nonsense"), "INVALID_ARGUMENT", "message_id"),
        (pb.GetMessageRequest(message_id="00000000-0000-0000-0000-000000000000"), "NOT_FOUND", ""),
        (pb.CancelMessageRequest(message_id="00000000-0000-0000-0000-000000000000"), "NOT_FOUND", ""),
        (pb.CancelMessageRequest(message_id="1"), "INVALID_ARGUMENT", "message_id"),
        (pb.CancelMessageRequest(message_id=str(UUID(int=1)), reason="\0"), "INVALID_ARGUMENT", "reason"),
        (pb.CancelMessageRequest(message_id=str(UUID(int=1)), reason="x" * 1001), "INVALID_ARGUMENT", "reason"),
        (pb.ListMessagesRequest(page_token="x"), "INVALID_ARGUMENT", "page_token"),
        (pb.ListMessagesRequest(page_token="²"), "INVALID_ARGUMENT", "page_token"),
        (pb.ListMessagesRequest(page_token=str(2**63)), "INVALID_ARGUMENT", "page_token"),
        (pb.ListMessagesRequest(page_token="9" * 5000), "INVALID_ARGUMENT", "page_token"),
        (
            pb.SendMessageRequest(employee="there", text="x", idempotency_key="k" * 201),
            "INVALID_ARGUMENT",
            "idempotency_key",
        ),
        (pb.GetEmployeeRequest(employee="\0"), "NOT_FOUND", ""),
        (pb.ListReviewsRequest(page_token="x"), "INVALID_ARGUMENT", "page_token"),
        (pb.CreateChannelRequest(name="c", kind="webhook", callback_url="ftp://x"), "INVALID_ARGUMENT", "callback_url"),
        (
            pb.CreateChannelRequest(name="c", kind="webhook", callback_url="http://10.0.0.1/x"),
            "INVALID_ARGUMENT",
            "callback_url",
        ),
        (pb.CreateChannelRequest(name="c", kind="webhook", secret="short"), "INVALID_ARGUMENT", "secret"),
        (pb.StopEmployeeRequest(employee="there", drain_seconds=10**6), "INVALID_ARGUMENT", "drain_seconds"),
        (pb.SearchMemoryRequest(employee="there", query="\0"), "INVALID_ARGUMENT", "query"),
        (pb.ForgetRequest(employee="there", subject="\0"), "INVALID_ARGUMENT", "subject"),
        (pb.SetBudgetRequest(day_dollars=-1), "INVALID_ARGUMENT", "day_dollars"),
        (pb.SetBudgetRequest(day_dollars=float("nan")), "INVALID_ARGUMENT", "day_dollars"),
        (pb.PauseRequest(employee="there", reason="x" * 1001), "INVALID_ARGUMENT", "reason"),
        (pb.PauseRequest(employee="there", reason="\0"), "INVALID_ARGUMENT", "reason"),
        (pb.ResumeRequest(tenant="default"), "FAILED_PRECONDITION", ""),
        (pb.GetCostsRequest(since=Timestamp(seconds=1 << 62)), "INVALID_ARGUMENT", "since"),
        (pb.ListFilesRequest(employee="there", path="../x"), "INVALID_ARGUMENT", "path"),
    ],
)
async def test_bad_input_is_a_typed_refusal(plane: Plane, request_, code: str, field: str):
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name="there", profile_name="sales-ae"), timeout=10)
    call = getattr(plane.stub, type(request_).__name__.removesuffix("Request"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(request_, timeout=10)
    assert refused.value.code().name == code
    assert field in fields_of(refused.value)


def fields_of(error: grpc.aio.AioRpcError) -> set[str]:
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    broken = error_details_pb2.BadRequest()
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]
    return {"", *(v.field for d in status.details if d.Unpack(broken) for v in broken.field_violations)}


async def test_what_waits_can_be_cancelled_and_what_has_ended_cannot(plane: Plane):
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name="there", profile_name="sales-ae"), timeout=10)
    message = await plane.stub.SendMessage(pb.SendMessageRequest(employee="there", text="x"), timeout=10)
    request = pb.CancelMessageRequest(message_id=message.message_id, reason="too dear")
    for _ in range(2):  # twice is once
        cancelled = await plane.stub.CancelMessage(request, timeout=10)
        assert (cancelled.message_id, cancelled.state) == (message.message_id, "withheld")
        assert (cancelled.cancel_reason, cancelled.cancelled_with) == ("too dear", "")
    [entry] = await plane.pool.fetch("SELECT actor, detail FROM audit_log WHERE action = 'message.cancel'")
    assert (entry["actor"], entry["detail"]) == (cancelled.cancelled_by, {"reason": "too dear"})
    asked = pb.SendMessageRequest(employee="there", text="/Stop", wait_ms=10_000)
    answered = await plane.stub.SendMessage(asked, timeout=20)  # by nobody's work: the employee has never been started
    assert [reply.text for reply in answered.replies] == ["There was nothing to stop."]
    assert answered.state == "answered"
    with pytest.raises(grpc.aio.AioRpcError, match="answered") as refused:
        await plane.stub.CancelMessage(pb.CancelMessageRequest(message_id=answered.message_id), timeout=10)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_running_employee_takes_a_new_configuration_without_a_restart(plane: Plane):
    before = await plane.attached()
    profile = pb.Profile(role="Clerk", capabilities=["memory"])
    request = pb.UpdateEmployeeRequest(employee="sales-ae", profile=profile, autonomy=pb.AUTONOMY_SUPERVISED)
    updated = await plane.stub.UpdateEmployee(request, timeout=10)
    assert (updated.profile.role, updated.autonomy) == ("Clerk", pb.AUTONOMY_SUPERVISED)
    message = await plane.stub.SendMessage(
        pb.SendMessageRequest(employee="sales-ae", text="Write a file x.txt with hello", wait_ms=20_000), timeout=30
    )
    assert message.state == "waiting"
    assert not (workspace(plane, before) / "x.txt").exists()
    now = await plane.stub.GetEmployee(pb.GetEmployeeRequest(employee="sales-ae"), timeout=10)
    assert (now.pid, now.epoch) == (before.pid, before.epoch)


async def test_lists_come_in_pages(plane: Plane):
    names = [f"e{number}" for number in range(5)]
    for name in names:
        await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name=name, profile_name="sales-ae"), timeout=10)
        await plane.stub.SendMessage(pb.SendMessageRequest(employee=name, text=name), timeout=10)
    employees: list[pb.Employee] = []
    messages: list[pb.Message] = []
    employee_token = message_token = ""
    for _ in range(3):
        page = await plane.stub.ListEmployees(
            pb.ListEmployeesRequest(page_size=2, page_token=employee_token), timeout=10
        )
        employees, employee_token = [*employees, *page.employees], page.next_page_token
        page = await plane.stub.ListMessages(pb.ListMessagesRequest(page_size=2, page_token=message_token), timeout=10)
        messages, message_token = [*messages, *page.messages], page.next_page_token
    assert [employee.name for employee in employees] == names
    assert [message.text for message in messages] == names[::-1]
    assert employee_token == message_token == ""


async def test_deleting_an_employee_by_force_ends_its_messages_with_a_review_each(plane: Plane):
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name="gone", profile_name="sales-ae"), timeout=10)
    events = aiter(plane.stub.Converse(pb.ConverseRequest(employee="gone", text="hello"), timeout=30))
    message_id = (await anext(events)).accepted.message_id
    other = await plane.stub.SendMessage(pb.SendMessageRequest(employee="gone", text="me too"), timeout=10)
    await plane.pool.execute(
        "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, body, epoch, state) "
        "SELECT gen_random_uuid(), tenant_id, employee_id, message_id, 'reply', 'draft', 1, 'held' FROM inbound_messages "
        "WHERE message_id = $1",
        UUID(other.message_id),
    )
    await plane.stub.DeleteEmployee(pb.DeleteEmployeeRequest(employee="gone", force=True), timeout=10)
    failed = [event async for event in events][-1].failed
    assert (failed.message_id, failed.state, failed.reason) == (message_id, "failed", "the employee was deleted")
    other = await plane.stub.GetMessage(pb.GetMessageRequest(message_id=other.message_id), timeout=10)
    assert (other.state, other.replies[0].state) == ("failed", "withheld")
    for message in (failed, other):
        assert [(r.kind, r.state) for r in message.reviews] == [("needs_manual_intervention", "open")]
    [review] = (await plane.stub.ListReviews(pb.ListReviewsRequest(), timeout=10)).reviews
    assert {message.reviews[0].review_id for message in (failed, other)} == {review.review_id}
    assert review.reason == "the employee was deleted with 2 of its messages unanswered"
    named = [one.struct_value.fields for one in review.payload.fields["messages"].list_value.values]
    assert [(one["message_id"].string_value, one["text"].string_value) for one in named] == [
        (message_id, "hello"),
        (other.message_id, "me too"),
    ]


@pytest.mark.parametrize(
    ("state", "step"),
    [
        ("analyzing", "context_retrieval"),
        ("analyzing", "classification"),
        ("working", ""),
        ("merging", "merge"),
        *(("waiting", step) for step in ("security_filter", "classification", "work", "send")),
        ("sending", "send"),
    ],
)
async def test_a_deletion_ends_a_message_wherever_it_stands(database: Database, state: str, step: str):
    async with database.connect() as pool:
        employees = Employees(pool)
        employee_id, message_id = await a_message(pool, state, step)
        before = await pool.fetchval("SELECT epoch FROM employee_epochs")
        with pytest.raises(NotNow):
            await employees.delete(employee_id, force=False)
        assert await employees.delete(employee_id, force=True) == [message_id]
        row = await pool.fetchrow("SELECT * FROM inbound_messages")
        assert row is not None
        assert (row["processing_state"], row["step"], row["ended_at"] is None) == ("failed", step, False)
        assert await pool.fetchval("SELECT epoch FROM employee_epochs") == before + 1
        assert await employees.delete(employee_id, force=True) == []


async def test_a_reply_on_its_way_is_left_to_the_sender(database: Database):
    async with database.connect() as pool:
        employee_id, message_id = await a_message(pool, "sending", "send")
        await pool.execute(
            "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, body, epoch, state) "
            "SELECT gen_random_uuid(), tenant_id, employee_id, message_id, 'reply', 'x', 1, 'sending' FROM inbound_messages"
        )
        assert await Employees(pool).delete(employee_id, force=True) == []
        assert (await Messages(pool).standing(message_id)).state == "sending"


async def test_no_message_slips_into_a_deletion(database: Database):
    async with database.connect() as pool, pool.acquire() as connection, asyncio.TaskGroup() as group:
        tenant_id = await add_tenant(pool)
        channel_id = await add_channel(pool, tenant_id)
        employee_id = await add_employee(pool, tenant_id)
        arrival = Arrival(
            tenant_id=tenant_id, channel_id=channel_id, employee_id=employee_id, event_id="1", sender="a", text="b"
        )
        async with connection.transaction():
            await connection.execute(EMPLOYEES_SQL.hold_employee, employee_id)
            storing = group.create_task(refused_with(Unknown, Receiver(pool, lambda *_: None).store(arrival)))
            await asyncio.sleep(0.3)
            await connection.execute(EMPLOYEES_SQL.delete, employee_id)
        await storing


async def test_a_deletion_sees_the_message_that_is_being_stored(database: Database):
    async with database.connect() as pool, pool.acquire() as connection, asyncio.TaskGroup() as group:
        employee_id, _ = await a_message(pool, "received", "security_filter")
        await pool.execute("UPDATE inbound_messages SET processing_state = 'failed', ended_at = now()")
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO inbound_messages (message_id, tenant_id, employee_id, channel_id, conversation_id, event_id, "
                "sender) SELECT $1, tenant_id, employee_id, channel_id, conversation_id, '2', sender FROM inbound_messages",
                new_id(),
            )
            deleting = group.create_task(refused_with(NotNow, Employees(pool).delete(employee_id, force=False)))
            await asyncio.sleep(0.3)
        await deleting
        assert (await Employees(pool).by_id(employee_id)).employee_id == employee_id


async def refused_with(error: type[Exception], work: Coroutine[Any, Any, object]) -> None:
    with pytest.raises(error):
        await work


async def a_message(pool: Pool, state: str, step: str) -> tuple[UUID, UUID]:
    tenant_id = await add_tenant(pool)
    employee_id = await add_employee(pool, tenant_id)
    channel_id = await add_channel(pool, tenant_id, employee_id)
    arrival = Arrival(
        tenant_id=tenant_id, channel_id=channel_id, employee_id=employee_id, event_id="1", sender="a", text="b"
    )
    message_id = (await Receiver(pool, lambda *_: None).store(arrival)).message_id
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("ALTER TABLE inbound_messages DISABLE TRIGGER legal_edge")
        await connection.execute("UPDATE inbound_messages SET processing_state = $1, step = $2", state, step)
        await connection.execute("ALTER TABLE inbound_messages ENABLE TRIGGER legal_edge")
    return employee_id, message_id


async def test_an_id_needs_no_tenant_where_the_token_holds_for_all(plane: Plane):
    tenant_id = await add_tenant(plane.pool, "other")
    employee_id = str(await add_employee(plane.pool, tenant_id, "theirs"))
    found = await plane.stub.GetEmployee(pb.GetEmployeeRequest(employee=employee_id), timeout=10)
    assert (found.tenant, found.name) == ("other", "theirs")
    for request in (
        pb.CreateChannelRequest(name="c", kind="webhook", employee=employee_id),
        pb.CreateChannelRequest(name="c", kind="webhook", employee="other/theirs"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await plane.stub.CreateChannel(request, timeout=10)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    token = new_secret()
    await plane.pool.execute(
        "INSERT INTO operator_tokens (token_id, tenant_id, name, secret_hash, scope) "
        "SELECT gen_random_uuid(), tenant_id, 'default only', $1, 'admin' FROM tenants WHERE name = 'default'",
        hashed(token),
    )
    async with rpc.dialing(plane.running.grpc_address, token) as channel:
        stub: Any = control_pb2_grpc.ControlPlaneStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.GetEmployee(pb.GetEmployeeRequest(employee=employee_id), timeout=10)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_lists_of_large_messages_fit_into_a_frame(plane: Plane):
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name="idle", profile_name="sales-ae"), timeout=10)
    for number in range(22):
        text = f"{number:02}" + "€" * 80_000
        stored = await plane.stub.SendMessage(pb.SendMessageRequest(employee="idle", text=text), timeout=10)
    await plane.pool.execute(
        "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, part, body, epoch, state) "
        "SELECT gen_random_uuid(), tenant_id, employee_id, message_id, 'reply', part, "
        "repeat('€', CASE WHEN message_id = $1 AND part < 15 THEN 80000 ELSE 2000 END), 1, 'sent' "
        "FROM inbound_messages, generate_series(1, 30) part",
        UUID(stored.message_id),
    )
    seen: list[str] = []
    token = ""
    while True:
        page = await plane.stub.ListMessages(pb.ListMessagesRequest(page_size=500, page_token=token), timeout=10)
        assert {len(text) for m in page.messages for text in (m.text, *(r.text for r in m.replies))} == {2000}
        seen, token = [*seen, *(m.text[:2] for m in page.messages)], page.next_page_token
        if not token:
            break
    assert seen == [f"{number:02}" for number in reversed(range(22))]
    overview = await plane.stub.GetOverview(pb.GetOverviewRequest(), timeout=10)
    assert overview.employees[0].profile.role
    assert not overview.employees[0].profile.instructions
    whole = await plane.stub.GetMessage(pb.GetMessageRequest(message_id=stored.message_id), timeout=10)
    assert len(whole.text) == 80_002
    assert {len(reply.text) for reply in whole.replies} == {80_000, 2000}


async def test_a_large_trace_fits_into_a_frame(plane: Plane):
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name="idle", profile_name="sales-ae"), timeout=10)
    stored = await plane.stub.SendMessage(pb.SendMessageRequest(employee="idle", text="hello"), timeout=10)
    for attempt, step, output in (
        (1, "routing", {"small": 1}),
        (1, "classification", {"intents": ["x"]}),
        *((n, "draft_generation", {"text": "€" * 15_000}) for n in range(1, 200)),
        (1, "action_planning", {"text": "x" * 70_000}),
    ):
        await plane.pool.execute(
            "INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, queued_at, "
            "started_at, duration_ms, outcome, output) SELECT message_id, $1, $2, message_id, tenant_id, employee_id, "
            "'work', now(), now(), 1, 'succeeded', $3 FROM inbound_messages",
            step,
            attempt,
            output,
        )
    await plane.pool.execute(
        "INSERT INTO effects (unit_id, response_index, call_index, message_id, tenant_id, employee_id, epoch, capability, "
        "action, arguments, repeatable, result, places) SELECT message_id, n, 0, message_id, tenant_id, employee_id, 1, "
        "'c', 'a', $1, true, $1, $2 FROM inbound_messages, generate_series(1, 500) n",
        {"text": "€" * 10_000},
        ["no place", {"place": 7}],
    )
    await plane.pool.execute(
        "INSERT INTO reviews (review_id, tenant_id, employee_id, message_id, kind, payload) SELECT gen_random_uuid(), "
        "tenant_id, employee_id, message_id, 'draft', $1 FROM inbound_messages, generate_series(1, 5)",
        {"text": "x" * 1_000_000},
    )
    message = await plane.stub.GetMessage(pb.GetMessageRequest(message_id=stored.message_id), timeout=10)
    outputs = {a.step: a.output for a in message.attempts if a.attempt == 1}
    assert outputs["routing"].struct_value["small"] == 1
    assert outputs["action_planning"].string_value.startswith("(omitted")
    assert message.classification["intents"][0] == "x"
    assert (len(message.attempts), len(message.effects), len(message.reviews)) == (202, 500, 5)
    assert sum("omitted" in review.payload for review in message.reviews) == 2
    reviews = await plane.stub.ListReviews(pb.ListReviewsRequest(page_size=500), timeout=10)
    assert len(reviews.reviews) == 3
    rest = await plane.stub.ListReviews(pb.ListReviewsRequest(page_token=reviews.next_page_token), timeout=10)
    assert len(rest.reviews) == 2


async def test_a_deleted_employees_role_is_gone(plane: Plane):
    employee = await plane.attached()
    role = f"empla_e_{employee.employee_id.replace('-', '')}"
    assert await plane.pool.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", role) == 1
    await plane.stub.DeleteEmployee(pb.DeleteEmployeeRequest(employee="sales-ae"), timeout=30)
    assert await plane.pool.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", role) == 0


@pytest.mark.parametrize("form", [str, lambda employee_id: employee_id.hex])
async def test_no_employee_is_named_as_if_by_the_id_of_another(database: Database, form: Callable[[UUID], str]) -> None:
    async with database.connect() as pool:
        tenant_id, foreign = await add_tenant(pool), await add_tenant(pool, "other")
        other = await add_employee(pool, foreign)
        with pytest.raises(Invalid):
            await Employees(pool).create(tenant_id, form(other), pb.Profile(role="Clerk"), running=False)


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [("slaes-ae", "sales-ae"), ("Sales-AE", "sales-ae"), ("uspport", "support"), ("nobody", None), ("sales\0ae", None)],
)
async def test_an_unknown_name_is_told_with_the_nearest_of_its_tenant(
    database: Database, asked: str, nearest: str | None
) -> None:
    async with database.connect() as pool:
        tenant_id, other = await add_tenant(pool), await add_tenant(pool, "other")
        for name in ("sales-ae", "support"):
            await add_employee(pool, tenant_id, name)
        await add_employee(pool, other, "nobodi")
        with pytest.raises(Unknown) as refused:
            await Employees(pool).find(tenant_id, asked)
    said = f"there is no employee {asked!r}"
    assert str(refused.value) == (f"{said}, but there is {nearest!r}" if nearest else said)
