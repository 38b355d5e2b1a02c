"""Lists with --watch."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from controlplane.cli import watch
from empla.rpc import StatusError
from empla.v1 import control_pb2
from tests.unit.controlplane.cli.terminal import at_terminal

Fixture = Callable[..., Any]
Event = control_pb2.EmployeeEvent
COMPLETE = Event(complete=control_pb2.WatchComplete())
GONE = StatusError(grpc.StatusCode.UNAVAILABLE, "", "going away")
REFUSED = StatusError(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_TOO_LOW", "no more")


def _employee(name: str, state: str = "ATTACHED") -> control_pb2.Employee:
    return control_pb2.Employee(
        employee_id=f"id-{name}", name=name, observed_state=control_pb2.ObservedState.Value(f"OBSERVED_STATE_{state}")
    )


def _changed(name: str, state: str = "ATTACHED") -> control_pb2.EmployeeEvent:
    return Event(changed=_employee(name, state))


LISTS = {
    "reviews": (("reviews", "list"), "ListReviews", control_pb2.ListReviewsResponse, "reviews", "review_id"),
    "messages": (("message", "list"), "ListMessages", control_pb2.ListMessagesResponse, "messages", "message_id"),
    "sidecars": (("sidecars", "list"), "ListSidecars", control_pb2.ListSidecarsResponse, "sidecars", "sidecar_id"),
    "goals": (("goals", "sales-ae"), "ListGoals", control_pb2.ListGoalsResponse, "goals", "goal_id"),
    "schedules": (("schedules", "list"), "ListSchedules", control_pb2.ListSchedulesResponse, "schedules", "schedule_id"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LISTS)
def test_a_line_of_json_for_each_round_that_differs(
    peer: Any, empla: Fixture, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0)
    command, method, response, field, key = LISTS[kind]
    rounds: Iterator[Any] = iter([response(**{field: [{key: one} for one in ids]}) for ids in ("a", "a", "ab", "")])
    peer.answers[method] = lambda _: next(rounds, REFUSED)
    result = empla(*command, "--watch", "--json")
    lines = [json.loads(line)["items"] for line in result.stdout.splitlines()]
    assert [[item[key] for item in items] for items in lines] == [["a"], ["a", "b"], []]
    assert (result.exit_code, json.loads(result.stderr)["error"]["reason"]) == (5, "SCOPE_TOO_LOW")


def test_employees_are_told_as_they_change(peer: Any, empla: Fixture) -> None:
    peer.answers["WatchEmployees"] = lambda _: [
        _changed("ada"), COMPLETE, _changed("ada", "LOST"), Event(deleted=_employee("ada")), REFUSED,
    ]  # fmt: skip
    result = empla("employee", "list", "--watch", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["begin", "changed", "complete", "changed", "deleted"]
    assert lines[3]["employee"]["observed_state"] == "lost"
    assert result.exit_code == 5


def test_an_outage_is_waited_for_and_what_went_meanwhile_is_known(peer: Any, empla: Fixture) -> None:
    streams = iter([
        [_changed("ada"), _changed("bo"), COMPLETE, GONE],
        [],
        [_changed("bo"), COMPLETE, 0.3, REFUSED],
    ])  # fmt: skip
    peer.answers["WatchEmployees"] = lambda _: next(streams)
    result = empla("employee", "list", "--watch")
    tables = result.stdout.split("\n\n")
    assert ["ada" in tables[-1], "bo" in tables[-1]] == [False, True]
    assert ("ada" in tables[0], result.exit_code) == (True, 5)


def test_who_is_not_there_at_first_is_told(empla: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPLA_TOKEN", "t")
    for command in (("employee", "list"), ("reviews", "list")):
        result = empla(*command, "--watch")
        assert (result.exit_code, "no control plane answers" in result.stderr) == (3, True)


def test_a_terminal_is_drawn_over_and_ctrl_c_ends_it(peer: Any) -> None:
    peer.answers["WatchEmployees"] = lambda _: [
        _changed("ada"), _changed("bo"), COMPLETE, 0.5, _changed("bo", "LOST"), 60.0,
    ]  # fmt: skip
    with at_terminal("employee", "list", "--watch") as (terminal, process):
        first = terminal.wait_for("bo    attached")
        assert "\x1b[3A" not in first
        second = terminal.wait_for("bo    lost")
        assert "\x1b[3A" in second  # the three lines of the table, from the top
        assert "\x1b[2J" not in second  # the screen is never empty in between
        terminal.type("\x03")
        assert process.wait(10) == 0
    assert "Traceback" not in terminal.shown


def test_what_does_not_fit_is_counted() -> None:
    lines = [str(number) for number in range(10)]
    assert watch._fitting(lines, 11) == lines
    assert watch._fitting(lines, 6) == ["0", "1", "2", "3", "… 6 more"]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_closed_pipe_ends_without_a_word(peer: Any, options: tuple[str, ...]) -> None:
    peer.answers["WatchEmployees"] = lambda _: [
        event for number in range(2000) for event in (_changed(f"e-{number}"), COMPLETE)
    ]
    command = [sys.executable, "-m", "controlplane.cli", "employee", "list", "--watch", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    try:
        assert process.wait(30) == 141
    finally:
        process.kill()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_ctrl_c_in_a_call_says_aborted(peer: Any) -> None:
    peer.answers["TailLogs"] = lambda _: [control_pb2.LogLine(text="first"), 60.0]
    command = [sys.executable, "-m", "controlplane.cli", "employee", "logs", "sales-ae"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.strip()) == (130, b"empla: aborted")
