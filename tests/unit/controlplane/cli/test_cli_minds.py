"""`empla employee cycles` and `beliefs` against a control plane on loopback."""

import json
from collections.abc import Callable
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from empla.v1 import control_pb2

Fixture = Callable[..., Any]


def cycle(**fields: Any) -> control_pb2.Cycle:
    made = control_pb2.Cycle(cycle_id="c", epoch=3, **fields)
    made.started_at.FromMilliseconds(1_764_000_000_000)
    return made


def test_each_cycle_is_a_line(peer: Any, empla: Fixture) -> None:
    kept = {"remember": [{"episode": "a", "source": "b"}] * 2}
    planned = {"plan": {"why": "a goal was set", "judged": [{}], "made": [{}, {}]}, "rest": {}}
    acted = cycle(
        phase="done",
        outcome="acted",
        perceived=["message_handled", "message_handled"],
        intention=ParseDict(kept, Struct()),
    )
    acted.finished_at.FromMilliseconds(1_764_000_000_250)
    planning = cycle(phase="act", intention=ParseDict(planned, Struct()))
    failed = cycle(phase="done", outcome="failed", error="ValueError: broken\x1b[31m")
    failed.finished_at.CopyFrom(failed.started_at)
    peer.answers["ListCycles"] = control_pb2.ListCyclesResponse(cycles=[cycle(phase="think"), acted, failed, planning])
    lines = empla("employee", "cycles", "ada", "--limit", "4").stdout.splitlines()
    assert "in think" in lines[1]
    assert "250 ms" in lines[2]
    assert "acted" in lines[2]
    assert lines[2].endswith("2 × message_handled  2 × remember")
    assert "ValueError: broken" in lines[3]
    assert "\x1b" not in lines[3]
    assert lines[4].endswith("plan: 1 × judged, 2 × made, rest")
    assert (peer.last.request.employee, peer.last.request.page_size) == ("ada", 4)
    shown = json.loads(empla("employee", "cycles", "ada", "--json").stdout)
    assert shown[1]["intention"] == kept


def test_it_is_said_that_there_were_none(peer: Any, empla: Fixture) -> None:
    peer.answers["ListCycles"] = control_pb2.ListCyclesResponse()
    assert "ada has not been through a cycle" in empla("employee", "cycles", "ada").stdout


def test_each_belief_is_a_line_with_its_last_reason(peer: Any, empla: Fixture) -> None:
    held = control_pb2.Belief(subject="Acme", predicate="budget", object="12k", confidence=0.625)
    held.changes.add(change="confirmed", why="said again, with 0.50")
    held.changes.add(change="formed", why="nothing was believed about it")
    peer.answers["ListBeliefs"] = control_pb2.ListBeliefsResponse(beliefs=[held])
    line = empla("employee", "beliefs", "ada").stdout.splitlines()[1].split()
    assert line[:4] == ["Acme", "budget", "12k", "0.62"]
    assert line[-5:] == ["confirmed:", "said", "again,", "with", "0.50"]
    [shown] = json.loads(empla("employee", "beliefs", "ada", "--json").stdout)
    assert [change["change"] for change in shown["changes"]] == ["confirmed", "formed"]


def test_it_is_said_that_nothing_is_believed(peer: Any, empla: Fixture) -> None:
    peer.answers["ListBeliefs"] = control_pb2.ListBeliefsResponse()
    assert "ada believes nothing yet" in empla("employee", "beliefs", "ada").stdout
