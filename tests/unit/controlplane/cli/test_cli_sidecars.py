"""`empla sidecars` against a control plane on loopback."""

import json
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]
ID = "01f3c0de-0000-7000-8000-000000000001"


@pytest.fixture
def sidecar(peer: Any) -> control_pb2.Sidecar:
    """The one that runs."""
    item = control_pb2.Sidecar(
        sidecar_id=ID,
        employee="ada",
        tenant="default",
        kind=control_pb2.SIDECAR_KIND_COMPUTE,
        state="leased",
        launcher="process",
        pid=4711,
        address="unix:/home/run/sidecars/x/sock",
        memory_bytes=2 << 30,
        epoch=3,
        idle_ttl_seconds=60,
    )
    item.created_at.FromSeconds(int(time.time()) - 90)
    item.expires_at.FromSeconds(int(time.time()) + 60)
    peer.answers["ListSidecars"] = control_pb2.ListSidecarsResponse(sidecars=[item])
    return item


def test_list_shows_whose_they_are_and_what_they_take(sidecar: control_pb2.Sidecar, peer: Any, empla: Fixture) -> None:
    result = empla("sidecars", "list", "--employee", "ada")
    assert result.exit_code == 0, result.stderr
    line = result.stdout.splitlines()[1].split()
    assert line[:8] == [ID, "ada", "compute", "leased", "process", "4711", "2048", "MiB"]
    assert line[8] == "1m"
    assert peer.last.request.employee == "ada"


def test_list_says_that_there_are_none(peer: Any, empla: Fixture) -> None:
    peer.answers["ListSidecars"] = control_pb2.ListSidecarsResponse()
    assert "no sidecars run" in empla("sidecars", "list").stdout


def test_list_is_json_for_programs(sidecar: control_pb2.Sidecar, empla: Fixture) -> None:
    [found] = json.loads(empla("sidecars", "list", "--json").stdout)
    assert (found["sidecar_id"], found["kind"], found["memory_bytes"]) == (ID, "compute", 2 << 30)


def test_show_tells_of_one(sidecar: control_pb2.Sidecar, empla: Fixture) -> None:
    shown = empla("sidecars", "show", ID).stdout
    for part in ("compute", "default/ada, epoch 3", "process 4711", "2048 MiB", "all", "60 s after its last use"):
        assert part in shown
    assert json.loads(empla("sidecars", "show", ID, "--json").stdout)["pid"] == 4711


def test_show_of_one_that_has_ended_is_not_found(sidecar: control_pb2.Sidecar, empla: Fixture) -> None:
    for verb in ("show", "stop"):
        result = empla("sidecars", verb, "another")
        assert (result.exit_code, "no sidecar another runs: it has ended, or there was none" in result.stderr) == (
            4,
            True,
        )


def test_stop_ends_one(peer: Any, empla: Fixture) -> None:
    peer.answers["StopSidecar"] = control_pb2.StopSidecarResponse()
    result = empla("sidecars", "stop", ID)
    assert (result.exit_code, result.stdout) == (0, f"{ID}: stopped\n")
    assert peer.last.request.sidecar_id == ID
    assert json.loads(empla("sidecars", "stop", ID, "--json").stdout) == {"sidecar_id": ID, "stopped": True}


def test_stop_of_one_that_does_not_end_says_so(peer: Any, empla: Fixture) -> None:
    peer.refuse("StopSidecar", grpc.StatusCode.UNAVAILABLE, "LAUNCH_FAILED", "the sidecar does not end")
    result = empla("sidecars", "stop", ID)
    assert (result.exit_code, "does not end" in result.stderr) == (1, True)
