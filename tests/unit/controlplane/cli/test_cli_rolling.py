"""`empla employee restart --all`: how many at once, and what a failure does."""

import json
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from empla.rpc import StatusError
from empla.v1 import control_pb2 as pb

Fixture = Callable[..., Any]
NAMES = ("ada", "ben", "cleo", "dora", "emil")
RUNNING, STOPPED = pb.DESIRED_STATE_RUNNING, pb.DESIRED_STATE_STOPPED


class Staff:
    """Answers as a control plane with five employees who run and one who does not."""

    def __init__(self, peer: Any, *, failing: str = "") -> None:
        self.failing, self.most, self.tenants = failing, 0, list[str]()
        self.restarted: list[str] = []
        self._lock, self._now = threading.Lock(), 0
        self._pair = threading.Barrier(2)
        peer.answers |= {"ListEmployees": self.list, "RestartEmployee": self.restart}

    def list(self, request: pb.ListEmployeesRequest) -> pb.ListEmployeesResponse:
        self.tenants.append(request.tenant)
        found = [pb.Employee(employee_id=f"id-{name}", name=name, desired_state=RUNNING) for name in NAMES]
        off = pb.Employee(employee_id="id-off", name="off", desired_state=STOPPED)
        return pb.ListEmployeesResponse(employees=[*found, off])

    def restart(self, request: pb.RestartEmployeeRequest) -> pb.Employee | StatusError:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            self._pair.wait(0.2)
        except threading.BrokenBarrierError:
            self._pair.reset()
        name = request.employee.removeprefix("id-")
        with self._lock:
            self._now -= 1
            if name == self.failing:
                return StatusError(grpc.StatusCode.FAILED_PRECONDITION, "NOT_ATTACHED", f"{name} has not attached")
            self.restarted.append(name)
        return pb.Employee(employee_id=request.employee, name=name)


@pytest.mark.parametrize("parallel", [1, 2])
def test_as_many_as_were_asked_for_are_restarted_at_once(peer: Any, empla: Fixture, parallel: int):
    staff = Staff(peer)
    ended = empla("employee", "restart", "--all", "--parallel", str(parallel), "--tenant", "acme")
    assert ended.exit_code == 0, ended
    assert sorted(staff.restarted) == list(NAMES)
    assert staff.most == parallel
    assert staff.tenants == ["acme"]
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["1/5", "2/5", "3/5", "4/5", "5/5"]


def test_one_that_does_not_come_up_ends_the_roll(peer: Any, empla: Fixture):
    staff = Staff(peer, failing="cleo")
    ended = empla("employee", "restart", "--all", "--parallel", "1")
    assert ended.exit_code == 1
    assert staff.restarted == ["ada", "ben"]
    assert "cleo was not restarted: cleo has not attached; 2 of 5 are, the rest runs as before" in ended.stderr


def test_a_failure_waits_for_those_that_were_begun(peer: Any, empla: Fixture):
    staff = Staff(peer, failing="ada")
    ended = empla("employee", "restart", "--all", "--parallel", "2", "--json")
    assert ended.exit_code == 1
    error = json.loads(ended.stderr.splitlines()[-1])["error"]
    assert error["reason"] == "ROLL_STOPPED"
    assert error["fields"]["employee"] == "ada"
    assert set(staff.restarted) <= {"ben", "cleo"}
    assert error["fields"]["restarted"] == ", ".join(staff.restarted)


def test_programs_are_told_who_was_restarted(peer: Any, empla: Fixture):
    Staff(peer)
    told = json.loads(empla("employee", "restart", "--all", "--parallel", "1", "--json").stdout)
    assert told == {"restarted": list(NAMES)}


@pytest.mark.parametrize("arguments", [[], ["ada", "--all"]])
def test_it_is_either_one_or_all(peer: Any, empla: Fixture, arguments: list[str]):
    assert empla("employee", "restart", *arguments).exit_code == 2
    assert peer.calls == []
