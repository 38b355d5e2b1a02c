"""`empla message` and `empla reviews` against a control plane on loopback."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from controlplane.decisions import decisions
from empla.v1 import control_pb2

Fixture = Callable[..., Any]


def _review(**fields: Any) -> control_pb2.Review:
    payload = Struct()
    payload.update({"draft": "Dear all"})
    values = {"review_id": "r-1", "employee": "sales-ae", "kind": "approval", "state": "open", "reason": "it is risky"}
    return control_pb2.Review(payload=payload, **(values | fields))


def test_show_is_a_timeline(peer: Any, empla: Fixture, message: Fixture) -> None:
    shown = message(reviews=[_review()])
    for attempt, seconds in zip(shown.attempts, (1, 2), strict=True):
        attempt.started_at.seconds = shown.received_at.seconds + seconds
        attempt.started_at.nanos = shown.received_at.nanos
    peer.answers["GetMessage"] = shown
    lines = empla("message", "show", "m-1").stdout.splitlines()
    assert lines[0] == "m-1  ANSWERED  1.23 s"
    assert "  | How many?" in lines
    assert [line.split()[0] for line in lines if line.endswith(".5 ms")] == [
        "receive", "analyze", "work", "merge", "send",
    ]  # fmt: skip
    first, second = (line for line in lines if line.startswith("  classification"))
    assert first.split() == ["classification", "failed", "3.0", "ms", "+1.00", "s", "ModelRefused:", "no", "JSON"]
    assert second.split()[1:5] == ["#2", "succeeded", "40", "ms"]
    assert "a-model 12→7 tokens $0.0042" in second
    assert "cost $0.0042" in lines[2]
    assert any(line.startswith("  workspace.read  succeeded") for line in lines)
    assert "    at sidecar 7, waited 40 ms, 2048 MiB × 1.50 s = 3.00 GiB s" in lines
    assert "  | Three open deals." in lines
    assert "  r-1  approval  open  it is risky" in lines


def test_what_sub_agents_did_stands_below_the_call_that_began_them(peer: Any, empla: Fixture, message: Fixture) -> None:
    shown = message()
    [read] = shown.effects
    one = control_pb2.SubAgent(
        instruction="Read the notes", outcome="answered", model="a-model", model_calls=2, tokens_in=12, tokens_out=7,
        cost_micros=4_200, duration_ms=1500, effects=[read],
    )  # fmt: skip
    two = control_pb2.SubAgent(
        instruction="Read all", outcome="out_of_time", reason="its 60 s were over", model_calls=1
    )
    three = control_pb2.SubAgent(instruction="Wait")
    del shown.effects[:]
    shown.effects.append(
        control_pb2.Effect(
            capability="agents", action="delegate", state="intended", arguments_json="{}", sub_agents=[one, two, three]
        )
    )
    peer.answers["GetMessage"] = shown
    lines = empla("message", "show", "m-1").stdout.splitlines()
    first = lines.index("  agents.delegate  intended  0.0 ms")
    below = [" ".join(line.split()) for line in lines[first + 1 :] if line.startswith("    ")]
    assert below[:6] == [
        "sub-agent 1 answered 1.50 s 2 model calls a-model 12→7 tokens $0.0042 Read the notes",
        'workspace.read succeeded 0.0 ms {"path": "notes.md"}',
        "at sidecar 7, waited 40 ms, 2048 MiB × 1.50 s = 3.00 GiB s",
        "sub-agent 2 out_of_time 0.0 ms 1 model call Read all",
        "its 60 s were over",
        "sub-agent 3 not ended - 0 model calls Wait",
    ]
    [document] = json.loads(empla("message", "show", "m-1", "--json").stdout)["effects"]
    assert document["sub_agents"][0]["effects"][0]["arguments"] == {"path": "notes.md"}


def test_what_a_model_without_a_price_cost_is_said_to_be_unknown(peer: Any, empla: Fixture, message: Fixture) -> None:
    shown = message()
    shown.attempts[1].ClearField("cost_micros")
    peer.answers["GetMessage"] = shown
    lines = empla("message", "show", "m-1").stdout.splitlines()
    assert "cost unknown" in lines[2]
    assert any("a-model 12→7 tokens of unknown cost" in line for line in lines)
    shown.attempts[0].cost_micros = 1_500_000
    peer.answers["GetMessage"] = shown
    assert "cost $1.5, and 1 of unknown cost" in empla("message", "show", "m-1").stdout


def test_a_message_that_waits_says_where_and_why(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["GetMessage"] = message("waiting", step="work", reason="approval", stages=[], attempts=[], effects=[])
    head = empla("message", "show", "m-1").stdout.splitlines()[0]
    assert head.startswith("m-1  WAITING at work: approval")


def test_long_text_is_cut_for_people_only(peer: Any, empla: Fixture, message: Fixture) -> None:
    text = "\n".join(map(str, range(30)))
    peer.answers["GetMessage"] = message(text=text)
    assert "10 more lines" in empla("message", "show", "m-1").stdout
    assert json.loads(empla("message", "show", "m-1", "--json").stdout)["text"] == text


def test_show_json_is_what_send_prints(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["GetMessage"] = peer.answers["SendMessage"] = message(step_timings_ms={"classification": 43.0})
    shown, sent = empla("message", "show", "m-1", "--json"), empla("send", "sales-ae", "x", "--json")
    assert shown.stdout == sent.stdout
    assert json.loads(shown.stdout)["step_timings_ms"] == {"classification": 43.0}


def test_attempts_of_several_parts_say_which(peer: Any, empla: Fixture, message: Fixture) -> None:
    attempts = [
        control_pb2.Attempt(stage="work", step="action_planning", attempt=1, outcome="succeeded", intent_index=part)
        for part in (1, 0)
    ]
    peer.answers["GetMessage"] = message(attempts=attempts)
    lines = empla("message", "show", "m-1").stdout.splitlines()
    found = [line.split()[:2] for line in lines if line.startswith("  action_planning")]
    assert found == [["action_planning", "1"], ["action_planning", "2"]]


def test_list(peer: Any, empla: Fixture, message: Fixture) -> None:
    text = "a very long text\n" * 20
    peer.answers["ListMessages"] = control_pb2.ListMessagesResponse(messages=[message(text=text)] * 3)
    header, *rows = empla(
        "message", "list", "--employee", "sales-ae", "--state", "answered", "-n", "2"
    ).stdout.splitlines()
    assert header.split() == ["MESSAGE", "AGE", "EMPLOYEE", "STATE", "TOOK", "SENDER", "TEXT"]
    assert len(rows) == 2
    assert rows[0].endswith("…")
    sent = peer.last.request
    assert (sent.employee, sent.state, sent.page_size) == ("sales-ae", "answered", 2)


def test_list_json(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["ListMessages"] = control_pb2.ListMessagesResponse(messages=[message()])
    (document,) = json.loads(empla("message", "list", "--json").stdout)
    assert document["message_id"] == "m-1"
    assert "attempts" not in document


def test_list_refuses_a_state_that_does_not_exist(empla: Fixture) -> None:
    refused = empla("message", "list", "--state", "done")
    assert (refused.exit_code, "'waiting'" in refused.stderr, "''" in refused.stderr) == (2, True, False)


def test_the_time_that_a_person_took_is_told_apart(peer: Any, empla: Fixture, message: Fixture) -> None:
    shown = [message(elapsed_ms=301_500, waited_ms=waited) for waited in (300_000, 900)]
    peer.answers |= {"GetMessage": shown[0], "ListMessages": control_pb2.ListMessagesResponse(messages=shown)}
    assert "  1.50 s, waited 5 min 0 s for a person" in empla("message", "show", "m-1").stdout.splitlines()[0]
    _, long, short = empla("message", "list").stdout.splitlines()
    assert "1.50 s, waited 5 min 0 s for a person" in long
    assert ("5 min 2 s" in short, "waited" in short) == (True, False)


def test_what_failed_and_was_answered_after_all_says_so(peer: Any, empla: Fixture, message: Fixture) -> None:
    said = control_pb2.Reply(kind="follow_up", state="sent", text="Here it is.")
    later, held = (message("failed", step="merge", reason="no part", replies=[said]) for _ in range(2))
    held.replies[0].state = "held"
    peer.answers |= {"GetMessage": later, "ListMessages": control_pb2.ListMessagesResponse(messages=[later, held])}
    head = empla("message", "show", "m-1").stdout.splitlines()[0]
    assert head.startswith("m-1  ANSWERED LATER, as a person decided; before that FAILED at merge: no part  ")
    _, first, second = empla("message", "list").stdout.splitlines()
    assert ("answered later" in first, "answered later" in second) == (True, False)


def test_reviews(peer: Any, empla: Fixture) -> None:
    peer.answers["ListReviews"] = control_pb2.ListReviewsResponse(reviews=[_review()])
    assert "r-1" in empla("reviews", "list").stdout
    assert not peer.last.request.include_ended
    assert json.loads(empla("reviews", "list", "--all", "--json").stdout)[0]["payload"] == {"draft": "Dear all"}
    assert peer.last.request.include_ended


@pytest.mark.parametrize(
    ("command", "decision"),
    [
        (("approve", "r-1"), {"approve": {}}),
        (("edit", "r-1", "Dear Ada"), {"edit": {"text": "Dear Ada"}}),
        (("edit", "r-1", "-"), {"edit": {"text": "from a file\n"}}),
        (("reject", "r-1", "--reason", "no"), {"reject": {"reason": "no"}}),
    ],
)
def test_decisions(peer: Any, empla: Fixture, command: tuple[str, ...], decision: dict[str, Any]) -> None:
    peer.answers["ResolveReview"] = _review(state="resolved", resolved_by="ada")
    decided = empla("reviews", *command, stdin="from a file\n")
    assert decided.exit_code == 0
    assert "resolved" in decided.stdout
    assert MessageToDict(peer.last.request) == {"reviewId": "r-1"} | decision
    assert json.loads(empla("reviews", *command, "--json", stdin="x").stdout)["state"] == "resolved"


def test_an_open_review_says_how_it_is_decided(peer: Any, empla: Fixture) -> None:
    peer.answers["GetReview"] = _review(decisions=["approve", "reject"])
    assert "  empla reviews approve r-1               does it" in empla("reviews", "show", "r-1").stdout
    peer.answers["GetReview"] = _review(decisions=["reject"])
    assert "  empla reviews reject r-1 --reason TEXT  closes it" in empla("reviews", "show", "r-1").stdout


@pytest.mark.parametrize(
    "kind", ["draft", "unknown_after_send", "classification", "question", "approval", "needs_manual_intervention"]
)
def test_what_each_decision_does_is_said(peer: Any, empla: Fixture, message: Fixture, kind: str) -> None:
    verbs = decisions(kind, resumes=True)
    peer.answers |= {
        "GetMessage": message("waiting"),
        "GetReview": _review(kind=kind, decisions=verbs, message_id="m-1"),
    }
    shown = empla("reviews", "show", "r-1").stdout
    assert "  sender    tester by api" in shown
    assert "\nthe message\n  | How many?\n" in shown
    lines = shown.partition("\ndecide\n")[2].splitlines()
    assert [line.split()[2] for line in lines] == list(verbs)
    told = [
        line.partition("TEXT  ")[2] or line.partition("CATEGORY")[2] or line.partition("r-1   ")[2] for line in lines
    ]
    assert all(text.strip() for text in told)


def test_no_reviews(peer: Any, empla: Fixture) -> None:
    peer.answers["ListReviews"] = control_pb2.ListReviewsResponse()
    assert empla("reviews", "list").stdout == "nothing waits for a person\n"
    assert empla("reviews", "list", "--json").stdout == "[]\n"


def test_review(peer: Any, empla: Fixture) -> None:
    peer.answers["GetReview"] = _review(reason="risky \x1b[31m")
    shown = empla("reviews", "show", "r-1").stdout
    assert "Dear all" in shown
    assert "\x1b" not in shown
    assert json.loads(empla("reviews", "show", "r-1", "--json").stdout)["kind"] == "approval"


def test_show_tells_who_stopped_it_and_when(peer: Any, empla: Fixture, message: Fixture) -> None:
    stopped = message("withheld", cancelled_by="boss", cancel_reason="too dear\nby far")
    stopped.cancelled_at.CopyFrom(stopped.received_at)
    stopped.cancelled_at.seconds += 2
    peer.answers["GetMessage"] = stopped
    [line] = [line for line in empla("message", "show", "m-1").stdout.splitlines() if line.startswith("stopped by")]
    assert line.startswith("stopped by boss at ")
    assert "+2" in line
    assert "too dear" in line
    stopped.cancelled_with = "m-2"
    assert "stopped by boss with the message m-2 at " in empla("message", "show", "m-1").stdout


def test_cancel_says_why(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["CancelMessage"] = message()
    assert empla("message", "cancel", "m-1", "--reason", "too dear").exit_code == 0
    assert (peer.last.request.message_id, peer.last.request.reason) == ("m-1", "too dear")
