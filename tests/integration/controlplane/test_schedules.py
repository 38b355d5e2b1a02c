"""Schedules as operators make, see, pause and end them, over the wire."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from controlplane.auth import hashed, new_secret
from empla import rpc
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc
from tests.factories import add_employee
from tests.integration.controlplane.conftest import Plane

DAILY = "0 9 * * *"


@pytest.fixture
async def desk(plane: Plane) -> Plane:
    """A control plane with the employee sales-ae, which is not started."""
    await add_employee(plane.pool, await plane.pool.fetchval("SELECT tenant_id FROM tenants"))
    return plane


async def make(desk: Plane, **fields: Any) -> pb.Schedule:
    wanted: dict[str, Any] = {"employee": "sales-ae", "name": "report", "instruction": "Write the report."}
    if not {"at", "every_seconds"} & set(fields):
        wanted["cron"] = DAILY
    request = pb.CreateScheduleRequest(schedule=pb.Schedule(**(wanted | fields)))
    made: pb.Schedule = await desk.stub.CreateSchedule(request, timeout=60)
    return made


async def refused(call: Any) -> tuple[grpc.StatusCode, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    fields = {}
    status = rpc_status.from_call(error.value)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            fields = {one.field: one.description for one in bad.field_violations}
    return error.value.code(), fields


async def test_a_schedule_runs_in_a_conversation_of_its_own(desk: Plane):
    made = await make(desk, time_zone="Europe/Berlin", catch_up="all")
    assert (made.state, made.cron, made.time_zone, made.catch_up) == ("active", DAILY, "Europe/Berlin", "all")
    assert (made.sender, made.channel, made.conversation) == ("local operator", "api", made.schedule_id)
    assert datetime.now(UTC) < made.next_run_at.ToDatetime(tzinfo=UTC) < datetime.now(UTC) + timedelta(hours=25)
    listed = (await desk.stub.ListSchedules(pb.ListSchedulesRequest(employee="sales-ae"), timeout=60)).schedules
    assert list(listed) == [made]


async def test_what_it_has_done_is_shown(desk: Plane):
    made = await make(desk, every_seconds=3600)
    await desk.pool.execute("UPDATE schedules SET next_at = now()")
    await desk.pool.execute("NOTIFY empla_schedules")
    shown, end = made, datetime.now(UTC) + timedelta(seconds=60)
    while not shown.runs and datetime.now(UTC) < end:
        shown = await desk.stub.GetSchedule(pb.GetScheduleRequest(schedule_id=made.schedule_id), timeout=60)
    [run] = shown.runs
    assert run.state == "fired"
    assert shown.last_run_at == run.due_at
    message = await desk.stub.GetMessage(pb.GetMessageRequest(message_id=run.message_id), timeout=60)
    assert (message.conversation, message.sender, message.text) == (
        made.schedule_id,
        "local operator",
        "Write the report.",
    )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"cron": "0 9 30 2 *"}, "cron"),
        ({"cron": "* * * * * *"}, "cron"),
        ({"every_seconds": 59}, "every_seconds"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"catch_up": "some"}, "catch_up"),
        ({"name": " "}, "name"),
        ({"name": "n" * 101}, "name"),
        ({"instruction": "x" * 4001}, "instruction"),
        ({"instruction": " /STOP "}, "instruction"),
        ({"instruction": "a\0b"}, "instruction"),
    ],
)
async def test_what_cannot_be_is_refused_and_named(desk: Plane, fields: dict[str, Any], named: str):
    code, wrong = await refused(make(desk, **fields))
    assert (code, set(wrong)) == (grpc.StatusCode.INVALID_ARGUMENT, {named})


async def test_an_instant_that_is_past_or_none_is_refused(desk: Plane):
    for seconds in (1, -(1 << 60)):
        wanted = pb.Schedule(employee="sales-ae", name="once", instruction="Do it.")
        wanted.at.seconds = seconds
        code, wrong = await refused(desk.stub.CreateSchedule(pb.CreateScheduleRequest(schedule=wanted), timeout=60))
        assert (code, set(wrong)) == (grpc.StatusCode.INVALID_ARGUMENT, {"at"})
    never = pb.Schedule(employee="sales-ae", name="never", instruction="Do it.")
    code, wrong = await refused(desk.stub.CreateSchedule(pb.CreateScheduleRequest(schedule=never), timeout=60))
    assert (code, set(wrong)) == (grpc.StatusCode.INVALID_ARGUMENT, {"when"})


async def test_a_name_is_used_once_until_its_schedule_is_deleted(desk: Plane):
    made = await make(desk)
    assert (await refused(make(desk)))[0] is grpc.StatusCode.ALREADY_EXISTS
    await desk.stub.DeleteSchedule(pb.DeleteScheduleRequest(schedule_id=made.schedule_id), timeout=60)
    again = await make(desk)
    listed = (await desk.stub.ListSchedules(pb.ListSchedulesRequest(), timeout=60)).schedules
    assert [one.schedule_id for one in listed] == [again.schedule_id]
    every = (await desk.stub.ListSchedules(pb.ListSchedulesRequest(include_ended=True), timeout=60)).schedules
    assert [(one.state, one.reason) for one in every] == [("ended", "deleted by local operator"), ("active", "")]
    resume = pb.UpdateScheduleRequest(schedule_id=made.schedule_id)
    assert (await refused(desk.stub.UpdateSchedule(resume, timeout=60)))[0] is grpc.StatusCode.FAILED_PRECONDITION


async def test_an_employee_has_a_hundred_at_most(desk: Plane):
    for n in range(100):
        await make(desk, name=f"n{n}")
    assert (await refused(make(desk)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    pages, token = [], ""
    while True:
        page = await desk.stub.ListSchedules(pb.ListSchedulesRequest(page_size=33, page_token=token), timeout=60)
        pages += [one.name for one in page.schedules]
        if not (token := page.next_page_token):
            break
    assert pages == [f"n{n}" for n in range(100)]


async def test_paused_it_has_no_next_run_and_resumed_it_goes_on_from_then(desk: Plane):
    made = await make(desk, every_seconds=60)
    await desk.pool.execute("UPDATE schedules SET anchor = anchor - interval '1 year'")
    paused = await desk.stub.UpdateSchedule(
        pb.UpdateScheduleRequest(schedule_id=made.schedule_id, paused=True), timeout=60
    )
    assert (paused.state, paused.HasField("next_run_at")) == ("paused", False)
    resumed = await desk.stub.UpdateSchedule(pb.UpdateScheduleRequest(schedule_id=made.schedule_id), timeout=60)
    assert resumed.state == "active"
    assert resumed.next_run_at.ToDatetime(tzinfo=UTC) > datetime.now(UTC) - timedelta(seconds=1)
    assert not resumed.runs


async def test_one_whose_instant_has_passed_cannot_be_resumed(desk: Plane):
    wanted = pb.Schedule(employee="sales-ae", name="once", instruction="Do it.")
    wanted.at.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    made = await desk.stub.CreateSchedule(pb.CreateScheduleRequest(schedule=wanted), timeout=60)
    await desk.stub.UpdateSchedule(pb.UpdateScheduleRequest(schedule_id=made.schedule_id, paused=True), timeout=60)
    await desk.pool.execute("UPDATE schedules SET expression = '2026-01-01T00:00:00+00:00'")
    code, wrong = await refused(
        desk.stub.UpdateSchedule(pb.UpdateScheduleRequest(schedule_id=made.schedule_id), timeout=60)
    )
    assert (code, set(wrong)) == (grpc.StatusCode.INVALID_ARGUMENT, {"at"})


async def test_every_change_is_audited_once(desk: Plane):
    made = await make(desk)
    for paused in (True, True, False):
        await desk.stub.UpdateSchedule(
            pb.UpdateScheduleRequest(schedule_id=made.schedule_id, paused=paused), timeout=60
        )
    for _ in range(2):
        await desk.stub.DeleteSchedule(pb.DeleteScheduleRequest(schedule_id=made.schedule_id), timeout=60)
    rows = await desk.pool.fetch("SELECT actor, action, subject, detail FROM audit_log ORDER BY entry_id")
    assert [row["action"] for row in rows] == [
        "schedule.create",
        "schedule.pause",
        "schedule.resume",
        "schedule.delete",
    ]
    assert {(row["actor"], row["subject"]) for row in rows} == {("local operator", made.schedule_id)}
    assert rows[0]["detail"]["expression"] == DAILY


async def test_a_tenant_reaches_no_schedule_of_another(desk: Plane):
    made = await make(desk)
    secret, tenant_id = new_secret(), new_id()
    await desk.pool.execute("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'other')", tenant_id)
    await desk.pool.execute(
        "INSERT INTO operator_tokens (token_id, tenant_id, name, secret_hash, scope) VALUES ($1, $2, 'o', $3, 'admin')",
        new_id(), tenant_id, hashed(secret),
    )  # fmt: skip
    async with rpc.dialing(desk.running.grpc_address, secret) as channel:
        stub: Any = control_pb2_grpc.ControlPlaneStub(channel)
        assert not (await stub.ListSchedules(pb.ListSchedulesRequest(include_ended=True), timeout=60)).schedules
        for call in (
            stub.GetSchedule(pb.GetScheduleRequest(schedule_id=made.schedule_id), timeout=60),
            stub.UpdateSchedule(pb.UpdateScheduleRequest(schedule_id=made.schedule_id, paused=True), timeout=60),
            stub.DeleteSchedule(pb.DeleteScheduleRequest(schedule_id=made.schedule_id), timeout=60),
        ):
            assert (await refused(call))[0] is grpc.StatusCode.NOT_FOUND
    assert await desk.pool.fetchval("SELECT state FROM schedules") == "active"
