"""`empla reviews approve`, `edit`, `answer`, `reject`, `classify` against a control plane on loopback."""

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from empla.v1 import control_pb2

Fixture = Callable[..., Any]


def ended(**decision: Any) -> control_pb2.Review:
    kept = Struct()
    kept.update(decision)
    return control_pb2.Review(review_id="r-1", kind="draft", state="resolved", decision=kept, resolved_by="ada")


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("approve", "r-1"), "approve", {}),
        (("edit", "r-1", "Dear all"), "edit", {"text": "Dear all"}),
        (("edit", "r-1", "-"), "edit", {"text": "from stdin"}),
        (("answer", "r-1", "the blue one"), "answer", {"text": "the blue one"}),
        (("reject", "r-1", "--reason", "too soon"), "reject", {"reason": "too soon"}),
        (("reject", "r-1"), "reject", {}),
    ],
)
def test_what_is_asked(peer: Any, empla: Fixture, words: tuple[str, ...], field: str, value: dict[str, str]) -> None:
    peer.answers["ResolveReview"] = ended(decision=words[0])
    shown = empla("reviews", *words, stdin="from stdin")
    assert (shown.exit_code, f"{words[0]} by ada" in shown.stdout) == (0, True)
    asked = peer.last.request
    assert (asked.review_id, asked.WhichOneof("decision")) == ("r-1", field)
    assert MessageToDict(getattr(asked, field)) == value


def test_a_classification_names_the_place_of_each_intent(peer: Any, empla: Fixture, message: Fixture) -> None:
    peer.answers["GetReview"] = control_pb2.Review(review_id="r-1", message_id="m-1", kind="classification")
    peer.answers["GetMessage"] = message("waiting", text="Count them. Then write.")
    peer.answers["ResolveReview"] = ended(decision="classify")
    words = ("--intent", "Then write", "--intent", "say hello", "--priority", "high")
    assert empla("reviews", "classify", "r-1", "request", *words).exit_code == 0
    asked = MessageToDict(peer.last.request.classification)
    assert (asked["category"], asked["priority"], asked["language"]) == ("request", "high", "en")
    assert [(i["summary"], i["start"], i["end"]) for i in asked["intents"]] == [
        ("Then write", 12, 22),
        ("say hello", 0, 23),
    ]
    empla("reviews", "classify", "r-1", "question")
    [whole] = MessageToDict(peer.last.request.classification)["intents"]
    assert (whole["summary"], whole["start"], whole["end"]) == ("Count them. Then write.", 0, 23)


def test_a_category_that_there_is_not_is_refused(empla: Fixture) -> None:
    assert empla("reviews", "classify", "r-1", "gossip").exit_code == 2


def test_what_the_control_plane_refuses_is_said(peer: Any, empla: Fixture) -> None:
    peer.refuse("ResolveReview", grpc.StatusCode.FAILED_PRECONDITION, "REVIEW_NOT_OPEN", "the review is no longer open")
    refused = empla("reviews", "approve", "r-1")
    assert (refused.exit_code, refused.stderr) == (1, "empla: the review is no longer open\n")
    refused = empla("reviews", "approve", "r-1", "--json")
    assert json.loads(refused.stderr)["error"]["reason"] == "REVIEW_NOT_OPEN"
    fields = {"decision": "approve, reject"}
    peer.refuse("ResolveReview", grpc.StatusCode.INVALID_ARGUMENT, "DECISION_DOES_NOT_FIT", "no", fields=fields)
    refused = empla("reviews", "edit", "r-1", "x")
    assert (refused.exit_code, refused.stderr) == (2, "empla: no; decision: approve, reject\n")


def test_a_review_says_what_may_be_decided_and_what_was(peer: Any, empla: Fixture, message: Fixture) -> None:
    waits = control_pb2.Review(review_id="r-1", kind="draft", state="open", decisions=["approve", "edit", "reject"])
    was = ended(decision="reject", reason="too \x1b[31msoon")
    peer.answers["ListReviews"] = control_pb2.ListReviewsResponse(reviews=[waits, was])
    listed = empla("reviews", "list", "--all").stdout
    assert "approve,edit,reject" in listed
    assert "reject by ada: too" in listed
    peer.answers["GetReview"] = waits
    shown = empla("reviews", "show", "r-1").stdout
    assert "  empla reviews edit r-1 TEXT             sends TEXT instead of it" in shown
    assert "  empla reviews reject r-1 --reason TEXT  sends nothing" in shown
    peer.answers["GetMessage"] = message("withheld", reviews=[was])
    shown = empla("message", "show", "m-1").stdout
    assert "  r-1  draft  resolved (reject by ada: too" in shown
    assert "\x1b" not in shown
