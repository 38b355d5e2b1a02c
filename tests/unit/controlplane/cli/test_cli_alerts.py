"""`empla alerts` against a control plane on loopback."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]


@pytest.fixture
def told(peer: Any) -> None:
    """One that is open and one that is over."""
    lost = control_pb2.Alert(
        alert_id="a-1",
        kind="employee_lost",
        tenant="default",
        employee="ada",
        employee_id="e-1",
        detail="no \x1b heartbeat",
    )
    disk = control_pb2.Alert(alert_id="a-2", kind="disk_nearly_full", detail="0.5 of 10 GiB are free")
    for moment in (lost.since, lost.fired_at, disk.since, disk.fired_at, disk.cleared_at):
        moment.GetCurrentTime()
    peer.answers["ListAlerts"] = control_pb2.ListAlertsResponse(alerts=[lost, disk])


@pytest.mark.usefixtures("told")
def test_they_are_a_table(peer: Any, empla: Fixture) -> None:
    result = empla("alerts", "--employee", "ada", "--open", "-n", "7")
    assert result.exit_code == 0, result.stderr
    _, lost, disk = result.stdout.splitlines()
    assert lost.split()[:3] == ["employee_lost", "default/ada", "open"]
    assert disk.split()[:5] == ["disk_nearly_full", "the", "control", "plane", "over"]
    assert disk.endswith("0.5 of 10 GiB are free")
    assert "\x1b" not in result.stdout
    request = peer.last.request
    assert (request.employee, request.open_only, request.page_size) == ("ada", True, 7)


@pytest.mark.usefixtures("told")
def test_programs_get_json(empla: Fixture) -> None:
    lost, disk = json.loads(empla("alerts", "--json").stdout)
    assert (lost["kind"], lost["employee"], lost["cleared_at"]) == ("employee_lost", "ada", None)
    assert disk["cleared_at"].endswith("Z")


def test_none_is_good_news(peer: Any, empla: Fixture) -> None:
    peer.answers["ListAlerts"] = control_pb2.ListAlertsResponse()
    assert empla("alerts").stdout == "no alerts\n"
