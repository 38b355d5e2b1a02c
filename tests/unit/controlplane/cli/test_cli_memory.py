"""`empla memory` against a control plane on loopback."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from empla.v1 import control_pb2

Fixture = Callable[..., Any]


def test_search_lists_what_is_remembered(peer: Any, empla: Fixture) -> None:
    memory = control_pb2.Memory(memory_id="m1", kind="semantic", content="Tea is green.", source="told")
    memory.created_at.GetCurrentTime()
    peer.answers["SearchMemory"] = control_pb2.SearchMemoryResponse(memories=[memory])
    result = empla("memory", "search", "ada", "tea", "-n", "5")
    assert result.exit_code == 0, result.stderr
    assert "Tea is green." in result.stdout
    asked = peer.last.request
    assert (asked.employee, asked.query, asked.limit) == ("ada", "tea", 5)
    assert json.loads(empla("memory", "search", "ada", "--json").stdout)[0]["memory_id"] == "m1"


def test_search_tells_how_a_procedure_goes(peer: Any, empla: Fixture) -> None:
    known = control_pb2.Memory(memory_id="p1", kind="procedural", content="Tea", state="promoted", uses=5, successes=4)
    known.created_at.GetCurrentTime()
    peer.answers["SearchMemory"] = control_pb2.SearchMemoryResponse(memories=[known])
    result = empla("memory", "search", "ada", "--kind", "procedural")
    assert "procedural (promoted, 4 of 5 went well)" in result.stdout
    assert peer.last.request.kind == "procedural"


@pytest.mark.parametrize(
    ("option", "field"),
    [("--id", "memory_id"), ("--person", "person"), ("--conversation", "conversation"), ("--subject", "subject")],
)
def test_forget_says_what_is_gone(peer: Any, empla: Fixture, option: str, field: str) -> None:
    gone = {"memory_ids": ["m1", "m2"], "belief_ids": ["b1"], "messages": 2, "kept": ["the goal g"]}
    peer.answers["Forget"] = ParseDict(gone, control_pb2.ForgetResponse())
    result = empla("memory", "forget", "ada", option, "x")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        *("m1", "m2", "b1", "3 forgotten"),
        "2 messages stay on record, and are shown to the employee no more",
        "kept: the goal g",
    ]
    assert (peer.last.request.WhichOneof("what"), getattr(peer.last.request, field)) == (field, "x")
    assert json.loads(empla("memory", "forget", "ada", option, "x", "--json").stdout) == gone


@pytest.mark.parametrize("options", [[], ["--id", "1", "--person", "x"]])
def test_forget_wants_one_thing(peer: Any, empla: Fixture, options: list[str]) -> None:
    result = empla("memory", "forget", "ada", *options)
    assert (result.exit_code, "exactly one" in result.stderr) == (2, True)
