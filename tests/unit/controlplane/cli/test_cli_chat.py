"""`empla chat`: piped lines in this process, a person at a terminal in another."""

import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from empla.rpc import StatusError
from empla.v1 import control_pb2
from tests.unit.controlplane.cli.terminal import at_terminal

Fixture = Callable[..., Any]
Event = control_pb2.ConverseEvent

ACCEPTED = Event(accepted=control_pb2.Accepted(message_id="m-1"))
STEP = Event(step=control_pb2.StepEvent(stage="work", step="routing", attempt=2, outcome="succeeded", duration_ms=3))
TOOL = Event(tool_call=control_pb2.ToolCallEvent(action="workspace.read", arguments_json='{"path": "a"}'))


def _delta(text: str, *, restart: bool = False) -> control_pb2.ConverseEvent:
    return Event(text_delta=control_pb2.TextDelta(text=text, restart=restart))


@pytest.fixture
def answered(peer: Any, message: Fixture) -> Any:
    """An employee that says what it does, starts again once, and answers."""
    deltas = [_delta("No"), _delta("Three ", restart=True), _delta("open deals.")]
    peer.answers["GetEmployee"] = control_pb2.Employee(name="sales-ae")
    peer.answers["Converse"] = lambda _: [ACCEPTED, STEP, TOOL, *deltas, Event(reply=message())]
    return peer


def test_each_piped_line_is_a_message_of_one_conversation(answered: Any, empla: Fixture) -> None:
    result = empla("chat", stdin="one\n\n  two\n/quit\nthree\n")
    assert (result.exit_code, result.stdout) == (0, "Three open deals.\nThree open deals.\n")
    sent = [call.request for call in answered.calls if call.method == "Converse"]
    assert [request.text for request in sent] == ["one", "two"]
    assert len({request.conversation for request in sent}) == 1
    assert len({request.idempotency_key for request in sent}) == 2


@pytest.mark.parametrize(("kind", "exit_code"), [("failed", 1), ("waiting", 6), ("withheld", 0)])
def test_other_ends_are_told(peer: Any, empla: Fixture, message: Fixture, kind: str, exit_code: int) -> None:
    peer.answers["GetEmployee"] = control_pb2.Employee(name="sales-ae")
    peer.answers["Converse"] = lambda _: [ACCEPTED, Event(**{kind: message(kind, reason="because")})]
    result = empla("chat", stdin="one\n")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert "because" in result.stderr
    assert "empla message show m-1" in result.stderr


def test_a_failure_goes_before_what_waits(peer: Any, empla: Fixture, message: Fixture) -> None:
    ends = iter([Event(waiting=message("waiting")), Event(failed=message("failed")), Event(reply=message())])
    peer.answers |= {"GetEmployee": control_pb2.Employee(name="sales-ae"), "Converse": lambda _: [ACCEPTED, next(ends)]}
    assert empla("chat", stdin="one\ntwo\nthree\n").exit_code == 1


def test_an_unknown_employee_is_told_before_anything_is_typed(peer: Any, empla: Fixture) -> None:
    peer.refuse("GetEmployee", grpc.StatusCode.NOT_FOUND, "EMPLOYEE_UNKNOWN", "there is no employee nobody")
    assert empla("chat", "nobody", stdin="one\n").exit_code == 4


def test_a_stream_that_ends_too_early_is_an_error(peer: Any, empla: Fixture) -> None:
    peer.answers |= {"GetEmployee": control_pb2.Employee(name="sales-ae"), "Converse": lambda _: [ACCEPTED]}
    result = empla("chat", stdin="one\n")
    assert (result.exit_code, "before the message did" in result.stderr) == (1, True)


def test_a_control_plane_that_goes_away_is_asked_again_for_the_same_message(
    answered: Any, empla: Fixture, message: Fixture
) -> None:
    gone = StatusError(grpc.StatusCode.UNAVAILABLE, "", "going away")
    streams = iter([[ACCEPTED, _delta("Thr"), gone], [ACCEPTED, Event(reply=message())]])
    answered.answers["Converse"] = lambda _: next(streams)
    assert empla("chat", stdin="one\n").stdout == "Three open deals.\n"
    first, second = (call.request for call in answered.calls if call.method == "Converse")
    assert first == second


def test_a_person_sees_it_happen(answered: Any) -> None:
    with at_terminal("chat") as (terminal, process):
        terminal.wait_for("you> ")
        terminal.type("How many?\n")
        shown = terminal.wait_for("you> ")
        assert "· work/routing #2 succeeded 3.0 ms" in shown
        assert '· workspace.read {"path": "a"}' in shown
        assert "again, from the start" in shown
        assert shown.count("Three open deals.") == 1
        terminal.type("\x04")
        assert process.wait(10) == 0


OPEN = control_pb2.Review(review_id="r-1", kind="question", state="open")
DRAFT = control_pb2.Reply(outbox_id="o-1", kind="reply", text="A draft.", state="held")
QUESTION = control_pb2.Reply(outbox_id="o-1", kind="reply", text="Which day?", state="sent")
APPROVED = control_pb2.Reply(outbox_id="o-1", kind="reply", text="On Monday, then.", state="sent")
FOLLOW_UP = control_pb2.Reply(outbox_id="o-2", kind="follow_up", text="On Monday, then.", state="sent")


@pytest.mark.parametrize(
    ("state", "before", "after"),
    [("waiting", [DRAFT], [APPROVED]), ("answered", [QUESTION], [QUESTION, FOLLOW_UP])],
)
def test_what_a_person_decides_is_told_at_the_prompt(
    answered: Any, message: Fixture, state: str, before: list[control_pb2.Reply], after: list[control_pb2.Reply]
) -> None:
    kind = "waiting" if state == "waiting" else "reply"
    asked = message(state, replies=before, reviews=[OPEN])
    answered.answers |= {"Converse": lambda _: [ACCEPTED, Event(**{kind: asked})], "GetMessage": message(replies=after)}
    with at_terminal("chat") as (terminal, process):
        terminal.wait_for("you> ")
        terminal.type("When?\n")
        terminal.wait_for("you> ")
        shown = terminal.wait_for("On Monday, then.")
        assert ("message m-1" in shown, "Which day?" in shown) == (True, False)
        terminal.wait_for("you> ")
        terminal.type("/quit\n")
        assert process.wait(10) == 0
    asked_for = [call.method for call in answered.calls]
    assert asked_for.count("GetMessage") == 1  # it is over


def test_ctrl_c_returns_to_the_prompt(answered: Any) -> None:
    answered.answers["Converse"] = lambda _: [ACCEPTED, _delta("Thinking"), 60.0, _delta("more")]
    with at_terminal("chat") as (terminal, process):
        terminal.wait_for("you> ")
        time.sleep(0.5)  # readline shows its prompt just before it listens to signals
        terminal.type("\x03")
        terminal.wait_for("you> ")
        terminal.type("How many?\n")
        terminal.wait_for("Thinking")
        terminal.type("\x03")
        assert "empla message show m-1" in terminal.wait_for("you> ")
        terminal.type("/quit\n")
        assert process.wait(10) == 0


def test_help_is_told_and_not_sent(answered: Any) -> None:
    with at_terminal("chat") as (terminal, process):
        assert "/help" in terminal.wait_for("you> ")
        terminal.type("/help\n")
        assert "/stop" in terminal.wait_for("you> ")
        terminal.type("/quit\n")
        assert process.wait(10) == 0
    assert [call.method for call in answered.calls] == ["GetEmployee"]
