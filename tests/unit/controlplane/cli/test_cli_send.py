"""`empla send` against a control plane on loopback."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]


def test_prints_the_reply(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["SendMessage"] = message()
    result = empla("send", "sales-ae", "How many?", "--conversation", "c-1", "--key", "k-1", "--wait", "7")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Three open deals.\n", "")
    sent = peer.last.request
    assert (sent.employee, sent.text, sent.conversation, sent.idempotency_key) == (
        "sales-ae",
        "How many?",
        "c-1",
        "k-1",
    )
    assert sent.wait_ms == 7000
    assert peer.last.seconds_left == pytest.approx(37, abs=5)


def test_json_has_the_five_stages_with_their_attempts(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["SendMessage"] = message()
    result = empla("send", "sales-ae", "How many?", "--json")
    document = json.loads(result.stdout)
    assert document["reply"] == "Three open deals."
    assert (document["message_id"], document["state"], document["elapsed_ms"]) == ("m-1", "answered", 1234.5)
    assert document["conversation"] == "c-1"
    assert [stage["stage"] for stage in document["steps"]] == ["receive", "analyze", "work", "merge", "send"]
    first, second = document["steps"][1]["steps"]
    assert (first["attempt"], first["outcome"], first["error"]) == (1, "failed", "no JSON")
    assert second["model"] == "a-model"
    assert (second["tokens_in"], second["tokens_out"], second["duration_ms"], second["queued_ms"]) == (12, 7, 40, 2)
    assert document["effects"][0]["arguments"] == {"path": "notes.md"}
    assert document["effects"][0]["result"] == "# No"  # no JSON, so as it came


def test_a_stage_that_was_not_reached_has_no_duration(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["SendMessage"] = message("waiting", stages=[], attempts=[])
    document = json.loads(empla("send", "sales-ae", "x", "--json").stdout)
    assert [(stage["duration_ms"], stage["steps"]) for stage in document["steps"]] == [(None, [])] * 5


def test_asks_for_the_trace_that_the_answer_lacks(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers |= {"SendMessage": message(stages=[], attempts=[]), "GetMessage": message()}
    document = json.loads(empla("send", "sales-ae", "x", "--json").stdout)
    assert document["steps"][4]["duration_ms"] == 4.5
    assert peer.last.request.message_id == "m-1"


def test_reads_standard_input(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["SendMessage"] = message()
    assert empla("send", "sales-ae", "-", stdin="two\nlines\n").exit_code == 0
    assert peer.last.request.text == "two\nlines\n"


def test_each_message_gets_a_key_of_its_own(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["SendMessage"] = message()
    for _ in range(2):
        empla("send", "sales-ae", "x")
    first, second = (call.request.idempotency_key for call in peer.calls)
    assert first
    assert first != second


def test_no_wait_prints_the_id(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["SendMessage"] = message("received", replies=[])
    result = empla("send", "sales-ae", "x", "--no-wait")
    assert (result.exit_code, result.stdout) == (0, "m-1\n")
    assert peer.last.request.wait_ms == 0


@pytest.mark.parametrize(
    ("state", "exit_code", "said"),
    [
        ("failed", 1, "the message is failed: why"),
        ("waiting", 6, "the message is waiting: why"),
        ("withheld", 0, "the message is withheld: why"),
        ("working", 7, "the message is still in work (working)"),
    ],
)
def test_says_why_there_is_no_reply(
    peer: Any, empla: Fixture, message: Fixture, state: str, exit_code: int, said: str
) -> None:
    peer.answers["SendMessage"] = message(state, reason="why")
    result = empla("send", "sales-ae", "x")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert said in result.stderr
    assert "empla message show m-1" in result.stderr


@pytest.mark.parametrize(
    ("kind", "state", "exit_code", "stdout", "said"),
    [
        ("follow_up", "sent", 0, "On Monday, then.\n", ""),
        ("progress", "sent", 0, "On Monday, then.\n", ""),
        ("notice", "sent", 1, "", "On Monday, then."),
        ("follow_up", "held", 6, "", "answers a question"),
    ],
)
def test_an_answer_shows_what_came_of_it(
    peer: Any, empla: Fixture, message: Fixture, *, kind: str, state: str, exit_code: int, stdout: str, said: str
) -> None:
    reply = control_pb2.Reply(kind=kind, state=state, text="On Monday, then.")
    collected = message("collected", replies=[reply], reason="answers a question", collected_into="m-0")
    peer.answers |= {"SendMessage": collected, "GetEmployee": control_pb2.Employee(name="sales-ae")}
    result = empla("send", "sales-ae", "on Monday")
    assert (result.exit_code, result.stdout) == (exit_code, stdout)
    assert said in result.stderr
    assert ("empla message show m-0" in result.stderr) is (not stdout)
    peer.answers["Converse"] = lambda _: [control_pb2.ConverseEvent(reply=collected)]
    result = empla("chat", stdin="on Monday\n")
    assert (result.exit_code, result.stdout) == (exit_code, stdout)
    assert ("empla message show m-0" in result.stderr) is (not stdout)


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_says_that_nobody_is_at_work(
    peer: Any, empla: Fixture, message: Fixture, options: tuple[str, ...], stopped: bool
) -> None:
    peer.answers["SendMessage"] = message("received", replies=[])
    observed = control_pb2.OBSERVED_STATE_STOPPED if stopped else control_pb2.OBSERVED_STATE_ATTACHED
    peer.answers["GetEmployee"] = control_pb2.Employee(name="sales-ae", observed_state=observed)
    result = empla("send", "sales-ae", "x", *options)
    assert result.exit_code == 7
    assert ("sales-ae is stopped" in result.stderr) is stopped
    assert ("`empla employee start sales-ae`" in result.stderr) is stopped


def test_a_failed_message_is_still_json(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["SendMessage"] = message("failed", reason="why")
    result = empla("send", "sales-ae", "x", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["reason"] == "why"


def test_a_reply_cannot_steer_the_terminal(peer: Any, empla: Fixture, message: Fixture) -> None:
    reply = message().replies[0]
    reply.text = "a\x1b[2Jb\u202ec\x9b1md"
    peer.answers["SendMessage"] = message(replies=[reply])
    assert empla("send", "sales-ae", "x").stdout == "a�[2Jb�c�1md\n"


def test_a_message_without_text_is_refused(peer: Any, empla: Fixture) -> None:
    for text, stdin in ((" \n", ""), ("-", "\n")):
        result = empla("send", "sales-ae", text, stdin=stdin)
        assert (result.exit_code, result.stdout, "no text to send" in result.stderr) == (2, "", True)
    assert not peer.calls


def test_bytes_that_are_no_text_are_refused(peer: Any, empla: Fixture) -> None:
    result = empla("send", "sales-ae", "\udcff")
    assert (result.exit_code, result.stderr) == (2, "empla: what was given is not valid UTF-8\n")
    assert not peer.calls


def test_an_absent_database_is_not_an_absent_control_plane(peer: Any, empla: Fixture) -> None:
    peer.refuse("SendMessage", grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE", "no database", retry_after=2)
    result = empla("send", "sales-ae", "x", "--key", "k-1")
    assert (result.exit_code, result.stderr) == (1, "empla: no database; try again in 2 s\n")


def test_an_unreachable_control_plane_names_the_key_to_ask_again(
    empla: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPLA_TOKEN", "t")
    result = empla("send", "sales-ae", "x", "--key", "k-1")
    assert result.exit_code == 3
    assert "empla up" in result.stderr
    assert "--key k-1" in result.stderr


def test_what_is_told_meanwhile_is_no_reply(peer: Any, empla: Fixture, message: Fixture) -> None:
    shown = message()
    shown.replies.add(kind="progress", text="I am still working on this.", state="sent")
    shown.replies.add(kind="follow_up", text="Done.", state="sent")
    peer.answers["SendMessage"] = shown
    assert empla("send", "sales-ae", "How many?").stdout == "Three open deals.\n\nDone.\n"


def test_ctrl_c_says_how_to_find_and_stop_what_goes_on(peer: Any, message: Fixture) -> None:
    asked, ended = threading.Event(), threading.Event()

    def answer(_: control_pb2.SendMessageRequest) -> control_pb2.Message:
        asked.set()
        ended.wait(30)
        made: control_pb2.Message = message()
        return made

    peer.answers["SendMessage"] = answer
    command = [sys.executable, "-m", "controlplane.cli", "send", "sales-ae", "x", "--key", "k-1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert asked.wait(30)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    ended.set()
    assert (process.returncode, len(said.splitlines())) == (130, 1)
    for part in ("goes on without us", "`empla message list`", "`empla message cancel ID`", "--key k-1"):
        assert part in said
