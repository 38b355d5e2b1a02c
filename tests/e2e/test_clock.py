"""A control plane whose clock is ten minutes ahead of the database's: all comes as it must, and somebody is told."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from empla.v1 import control_pb2 as pb
from loadtests.quarter.clock import Clock
from tests.conftest import Database
from tests.e2e.callback_server import CallbackServer
from tests.e2e.conftest import connected, temporary_directory
from tests.e2e.system import EMPLOYEE, System, is_alive, until

AHEAD = timedelta(minutes=10)
ALERTS = {"clock_skew", "control_plane_clock"}


@dataclass
class Machine:
    """The control plane, its employee and their clock; the database is of another machine."""

    system: System
    clock: Clock

    def alerts(self, *, over: bool) -> set[str]:
        shown = self.system.call("ListAlerts", pb.ListAlertsRequest()).alerts
        assert len({one.kind for one in shown}) == len(shown), shown
        return {one.kind for one in shown if one.HasField("cleared_at") is over}

    @property
    def off_by(self) -> float:
        return abs(float(self.system.call("GetOverview", pb.GetOverviewRequest()).clock_ahead_seconds))


def environment(database: Database) -> dict[str, Any]:
    return {
        "EMPLA_DATABASE_URL": database.dsn,
        "EMPLA_MODEL_PROVIDER": "offline",
        "EMPLA_ALERT_AFTER_SECONDS": "0",
        "EMPLA_ALERT_CLEAR_SECONDS": "0",
    }


@pytest.fixture
def ahead(database: Database) -> Iterator[Machine]:
    with temporary_directory() as directory, Clock(directory / "clock", datetime.now(UTC) + AHEAD) as clock:
        system = System(directory, program=[clock.python, "-m", "controlplane.cli"], **environment(database))
        try:
            yield Machine(system, clock)
        finally:
            system.kill_everything()


@pytest.fixture
def machine(ahead: Machine) -> Machine:
    ahead.system.start()
    return ahead


def test_a_clock_that_is_off_loses_nothing_does_nothing_twice_and_is_told(machine: Machine, callbacks: CallbackServer):
    system = machine.system
    system.attached()
    inbox = connected(system, callbacks)
    # Whoever signs a delivery, and verifies a reply, has a clock that is right.
    asked = inbox.accept("What is 17 * 23?")
    assert "391" in callbacks.first_about(asked).reply["text"]

    due = time.time() + 3
    schedule = pb.Schedule(employee=EMPLOYEE, name="once", instruction="What is 20 + 3?")
    schedule.at.FromMilliseconds(round(due * 1000))
    schedule_id = system.call("CreateSchedule", pb.CreateScheduleRequest(schedule=schedule)).schedule_id
    [run] = until(lambda: system.json("schedules", "show", schedule_id)["runs"], "the schedule has run")
    assert time.time() >= due
    assert system.ended(run["message_id"]).state == "answered"

    until(lambda: machine.alerts(over=False) == ALERTS, "both clocks are told of")
    employee = system.employee()
    assert employee.health_state == pb.HEALTH_STATE_DEGRADED
    assert any(
        re.fullmatch(r"its clock is (599|600|601) s ahead of the database's", why) for why in employee.health_reasons
    )
    assert abs(machine.off_by - 600) < 2

    machine.clock.set(datetime.now(UTC))
    until(lambda: machine.alerts(over=True) == ALERTS, "both are told to be over")
    assert machine.off_by < 2
    assert len(system.json("schedules", "show", schedule_id)["runs"]) == 1
    assert system.employee().restarts == 0


def test_beside_one_whose_clock_is_right_it_tells_the_same_and_takes_the_lead(ahead: Machine, database: Database):
    one = ahead.system
    right = System(one.home.parent, output="right", **environment(database))
    for plane in (one, right):
        plane.is_one_of((right, one))
    try:
        right.start()
        one.start()
        before = right.attached()
        until(lambda: ahead.alerts(over=False) == {"control_plane_clock"}, "the clock that is off is told of")
        [alert] = right.call("ListAlerts", pb.ListAlertsRequest(open_only=True)).alerts
        assert one.grpc_address in alert.detail
        assert right.grpc_address not in alert.detail
        for plane in (right, one):
            employee = plane.employee()
            assert (employee.pid, employee.health_state) == (before.pid, pb.HEALTH_STATE_HEALTHY)
            assert "391" in plane.send("What is 17 * 23?").replies[0].text

        right.kill_control_plane()
        until(lambda: one.attached().health_state == pb.HEALTH_STATE_HEALTHY, "it goes on with the employee")
        assert is_alive(before.pid)
        restarted = one.call("RestartEmployee", pb.RestartEmployeeRequest(employee=EMPLOYEE, drain_seconds=1))
        assert (restarted.epoch, restarted.restarts) == (before.epoch + 1, 0)
        right.start()
        assert right.attached().pid == restarted.pid
    finally:
        right.kill_everything()
