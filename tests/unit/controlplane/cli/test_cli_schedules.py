"""`empla schedules` against a control plane on loopback."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]
ID = "01f3c0de-0000-7000-8000-000000000001"


@pytest.fixture
def schedule(peer: Any) -> control_pb2.Schedule:
    """The one that there is."""
    item = control_pb2.Schedule(
        schedule_id=ID, employee="ada", name="report", instruction="Write the report.", cron="0 9 * * 1",
        time_zone="Europe/Berlin", catch_up="all", state="active", sender="grace", conversation="c1", channel="api",
    )  # fmt: skip
    item.next_run_at.FromDatetime(datetime(2027, 5, 3, 7, tzinfo=UTC))
    for state, message_id, reason in (("fired", "m-1", ""), ("missed", "", "a later run is done instead")):
        item.runs.add(state=state, message_id=message_id, reason=reason).due_at.FromDatetime(
            datetime(2027, 4, 26, 7, tzinfo=UTC)
        )
    for method in ("CreateSchedule", "GetSchedule", "UpdateSchedule"):
        peer.answers[method] = item
    peer.answers["ListSchedules"] = control_pb2.ListSchedulesResponse(schedules=[item])
    peer.answers["DeleteSchedule"] = control_pb2.DeleteScheduleResponse()
    return item


@pytest.mark.parametrize(
    ("options", "when", "value"),
    [
        (("--cron", "0 9 * * 1"), "cron", "0 9 * * 1"),
        (("--every", "10m"), "every_seconds", 600),
        (("--every", "90"), "every_seconds", 90),
        (("--every", "1d"), "every_seconds", 86_400),
        (("--at", "2027-07-01T15:00", "--time-zone", "Europe/Berlin"), "at", datetime(2027, 7, 1, 13, tzinfo=UTC)),
    ],
)
def test_create_says_what_when_and_for_whom(
    schedule: control_pb2.Schedule, peer: Any, empla: Fixture, options: tuple[str, ...], when: str, value: Any
) -> None:
    result = empla("schedules", "create", "ada", "report", "Write the report.", "--catch-up", "none", *options)
    assert result.exit_code == 0, result.stderr
    wanted = peer.last.request.schedule
    assert (wanted.employee, wanted.name, wanted.instruction, wanted.catch_up) == (
        "ada", "report", "Write the report.", "none",
    )  # fmt: skip
    assert wanted.WhichOneof("when") == when
    assert (wanted.at.ToDatetime(tzinfo=UTC) if when == "at" else getattr(wanted, when)) == value
    assert "runs 0 9 * * 1 (Europe/Berlin), next 2027-05-03" in result.stdout


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "one of --at, --every and --cron"),
        (("--every", "1m", "--cron", "* * * * *"), "one of --at, --every and --cron"),
        (("--every", "soon"), "'soon' is no interval"),
        (("--at", "tomorrow"), "'tomorrow' is no time"),
        (("--at", "2027-07-01T15:00", "--time-zone", "Mars"), "'Mars' is no time zone"),
        (("--every", "1m", "--catch-up", "some"), "some"),
    ],
)
def test_create_refuses_what_says_no_time(peer: Any, empla: Fixture, options: tuple[str, ...], why: str) -> None:
    result = empla("schedules", "create", "ada", "report", "Write the report.", *options)
    assert result.exit_code == 2
    assert why in result.stderr
    assert peer.calls == []


def test_what_the_control_plane_refuses_is_told(peer: Any, empla: Fixture) -> None:
    why = "the schedule is impossible: 0 9 30 2 * is no cron expression"
    peer.refuse("CreateSchedule", grpc.StatusCode.INVALID_ARGUMENT, "IMPOSSIBLE_SCHEDULE", why, fields={"cron": "x"})
    result = empla("schedules", "create", "ada", "report", "Write.", "--cron", "0 9 30 2 *", "--json")
    assert result.exit_code == 2
    assert "is impossible" in result.stderr + result.stdout


def test_list_shows_them(schedule: control_pb2.Schedule, peer: Any, empla: Fixture) -> None:
    result = empla("schedules", "list", "--employee", "ada", "--all")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1].split()[:4] == [ID, "ada", "report", "active"]
    assert (peer.last.request.employee, peer.last.request.include_ended) == ("ada", True)
    [found] = json.loads(empla("schedules", "list", "--json").stdout)
    assert (found["schedule_id"], found["cron"], found["at"]) == (ID, "0 9 * * 1", None)
    peer.answers["ListSchedules"] = control_pb2.ListSchedulesResponse()
    assert "no schedules" in empla("schedules", "list").stdout


def test_show_tells_of_one_and_its_runs(schedule: control_pb2.Schedule, empla: Fixture) -> None:
    shown = empla("schedules", "show", ID).stdout
    for part in (
        "report  active",
        "grace, in api/c1",
        "Write the report.",
        "m-1",
        "missed: a later run is done instead",
    ):
        assert part in shown
    assert json.loads(empla("schedules", "show", ID, "--json").stdout)["runs"][0]["message_id"] == "m-1"


def test_pause_resume_and_delete(schedule: control_pb2.Schedule, peer: Any, empla: Fixture) -> None:
    for verb, paused in (("pause", True), ("resume", False)):
        assert f"{ID}: active" in empla("schedules", verb, ID).stdout
        assert (peer.last.request.schedule_id, peer.last.request.paused) == (ID, paused)
        assert json.loads(empla("schedules", verb, ID, "--json").stdout)["schedule_id"] == ID
    assert empla("schedules", "delete", ID).stdout == f"{ID}: deleted\n"
    assert json.loads(empla("schedules", "delete", ID, "--json").stdout) == {"schedule_id": ID, "deleted": True}


def test_what_is_no_id_is_not_found(peer: Any, empla: Fixture) -> None:
    for verb in ("show", "pause", "resume", "delete"):
        result = empla("schedules", verb, "report")
        assert (result.exit_code, "there is no schedule report" in result.stderr) == (4, True)
    assert peer.calls == []
