"""The schedules of a profile come, change and end with it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest

from empla.v1 import control_pb2 as pb
from tests.integration.controlplane.conftest import Plane

DAILY = {"name": "daily", "cron": "0 9 * * *", "instruction": "What is 17 * 23?"}
HOURLY = {"name": "hourly", "every_seconds": 3600, "instruction": "Hello"}


def profile(*schedules: dict[str, Any]) -> pb.Profile:
    return pb.Profile(
        role="Clerk", autonomy=pb.AUTONOMY_AUTONOMOUS, schedules=[pb.ProfileSchedule(**one) for one in schedules]
    )


@pytest.fixture
async def clerk(plane: Plane) -> Plane:
    """An employee that is not started, with two schedules."""
    create = pb.CreateEmployeeRequest(name="clerk", profile=profile(DAILY, HOURLY))
    await plane.stub.CreateEmployee(create, timeout=10)
    return plane


async def update(plane: Plane, *schedules: dict[str, Any]) -> None:
    request = pb.UpdateEmployeeRequest(employee="clerk", profile=profile(*schedules))
    await plane.stub.UpdateEmployee(request, timeout=10)


async def refused(plane: Plane, *schedules: dict[str, Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await update(plane, *schedules)
    return error.value


async def schedules(plane: Plane, *, ended: bool = False) -> dict[str, pb.Schedule]:
    request = pb.ListSchedulesRequest(employee="clerk", include_ended=ended)
    found = await plane.stub.ListSchedules(request, timeout=10)
    return {one.name: one for one in found.schedules}


async def test_they_come_with_the_employee(clerk: Plane):
    found = await schedules(clerk)
    assert found.keys() == {"daily", "hourly"}
    assert (found["daily"].cron, found["daily"].time_zone, found["daily"].catch_up) == ("0 9 * * *", "UTC", "latest")
    assert found["hourly"].every_seconds == 3600
    assert {(one.sender, one.channel, one.asked_in) for one in found.values()} == {("profile", "api", "")}
    assert found["daily"].conversation != found["hourly"].conversation


async def test_an_employee_that_is_not_made_has_none(clerk: Plane):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await clerk.stub.CreateEmployee(pb.CreateEmployeeRequest(name="clerk", profile=profile(DAILY)), timeout=10)
    assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert await clerk.pool.fetchval("SELECT count(*) FROM schedules") == 2


async def test_a_change_of_the_profile_makes_changes_and_ends_them(clerk: Plane):
    before = await schedules(clerk)
    weekly = {
        "name": "weekly",
        "cron": "0 9 * * 1",
        "instruction": "Hello",
        "time_zone": "Europe/Berlin",
        "catch_up": "none",
    }
    await update(clerk, weekly, DAILY | {"cron": "30 9 * * *", "instruction": "What is 2 + 2?"})
    after = await schedules(clerk, ended=True)
    assert (after["weekly"].time_zone, after["weekly"].catch_up) == ("Europe/Berlin", "none")
    daily = after["daily"]
    assert (daily.schedule_id, daily.conversation) == (before["daily"].schedule_id, before["daily"].conversation)
    assert (daily.cron, daily.instruction) == ("30 9 * * *", "What is 2 + 2?")
    assert daily.next_run_at.ToDatetime().minute == 30
    assert (after["hourly"].state, after["hourly"].reason) == ("ended", "the profile has it no more")
    audited = await clerk.pool.fetch(
        "SELECT actor, action FROM audit_log WHERE action LIKE 'schedule.%' ORDER BY entry_id"
    )
    assert [(row["actor"], row["action"]) for row in audited][2:] == [
        ("profile", "schedule.delete"),
        ("profile", "schedule.create"),
        ("profile", "schedule.update"),
    ]


async def test_what_is_not_changed_stays_as_it_is(clerk: Plane):
    before = await schedules(clerk)
    pause = pb.UpdateScheduleRequest(schedule_id=before["hourly"].schedule_id, paused=True)
    await clerk.stub.UpdateSchedule(pause, timeout=10)
    await clerk.stub.DeleteSchedule(pb.DeleteScheduleRequest(schedule_id=before["daily"].schedule_id), timeout=10)
    await update(clerk, DAILY, HOURLY)
    assert {name: one.state for name, one in (await schedules(clerk)).items()} == {"hourly": "paused"}
    await update(clerk, DAILY | {"instruction": "Hello"}, HOURLY | {"instruction": "Good day"})
    after = await schedules(clerk)
    assert {name: one.state for name, one in after.items()} == {"daily": "active", "hourly": "paused"}
    assert after["daily"].schedule_id != before["daily"].schedule_id
    assert after["hourly"].schedule_id == before["hourly"].schedule_id


async def test_one_whose_time_is_not_changed_keeps_its_next_run(clerk: Plane):
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=90)
    await clerk.pool.execute("UPDATE schedules SET next_at = $1", due)
    await update(clerk, DAILY, HOURLY | {"instruction": "Good day"})
    assert (await schedules(clerk))["hourly"].next_run_at.ToDatetime(tzinfo=UTC) == due


async def test_those_that_others_made_stay(clerk: Plane):
    own = pb.Schedule(employee="clerk", name="own", instruction="Hello", every_seconds=60)
    made = await clerk.stub.CreateSchedule(pb.CreateScheduleRequest(schedule=own), timeout=10)
    error = await refused(clerk, DAILY, HOURLY | {"name": "own"})
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert (await schedules(clerk)).keys() == {"daily", "hourly", "own"}  # all or nothing
    await update(clerk)
    assert [one.schedule_id for one in (await schedules(clerk)).values()] == [made.schedule_id]


async def test_an_instant_comes_once_and_the_profile_may_stay_as_it_is(clerk: Plane):
    error = await refused(clerk, {"name": "once", "instruction": "Hello", "at": "2020-01-01T09:00"})
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "profile.schedules[0].at" in str(error.details())
    once = {"name": "once", "instruction": "Hello", "at": "2090-01-01T09:00", "time_zone": "Europe/Berlin"}
    await update(clerk, once)
    [found] = (await schedules(clerk)).values()
    assert found.at.ToDatetime() == datetime(2090, 1, 1, 8)  # noqa: DTZ001 - as a Timestamp gives it
    await clerk.pool.execute("UPDATE schedules SET state = 'ended', reason = 'it has run for the last time'")
    await update(clerk, once, HOURLY)
    assert (await schedules(clerk)).keys() == {"hourly"}


async def test_the_profile_is_as_it_was_when_its_schedules_are_refused(clerk: Plane):
    await refused(clerk, DAILY, {"name": "once", "instruction": "Hello", "at": "2020-01-01T09:00"})
    found = await clerk.stub.GetEmployee(pb.GetEmployeeRequest(employee="clerk"), timeout=10)
    assert [one.name for one in found.profile.schedules] == ["daily", "hourly"]


async def test_a_run_is_a_message_that_is_answered(clerk: Plane):
    await clerk.stub.StartEmployee(pb.StartEmployeeRequest(employee="clerk"), timeout=10)
    daily = (await schedules(clerk))["daily"]
    await clerk.pool.execute("UPDATE schedules SET next_at = now() WHERE schedule_id = $1", UUID(daily.schedule_id))
    await clerk.pool.execute("NOTIFY empla_schedules")
    while not (run := await last_run(clerk, daily)):
        await asyncio.sleep(0.05)
    while not (message := await clerk.stub.GetMessage(pb.GetMessageRequest(message_id=run), timeout=10)).replies:
        await asyncio.sleep(0.05)
    assert (message.sender, message.conversation) == ("profile", daily.conversation)
    assert "391" in message.replies[0].text


async def last_run(plane: Plane, schedule: pb.Schedule) -> str:
    found = await plane.stub.GetSchedule(pb.GetScheduleRequest(schedule_id=schedule.schedule_id), timeout=10)
    return found.runs[0].message_id if found.runs else ""
