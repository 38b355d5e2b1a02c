"""What a request decides, what is refused, and which decisions fit which review."""

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from controlplane.decisions import MAX_REASON, MAX_TEXT, decision_of, decisions
from controlplane.errors import Invalid
from empla.v1 import control_pb2 as pb

GOOD = {
    "category": "request",
    "priority": "high",
    "sentiment": "neutral",
    "language": "en",
    "confidence": 1,
    "intents": [{"summary": "Count them.", "category": "request", "start": 0, "end": 9}],
}


def request(**decision: Any) -> pb.ResolveReviewRequest:
    if isinstance(given := decision.get("classification"), dict):
        decision["classification"] = Struct()
        decision["classification"].update(given)
    return pb.ResolveReviewRequest(review_id="r", **decision)


@pytest.mark.parametrize(
    ("decision", "kept"),
    [
        ({"approve": pb.Approve()}, {"decision": "approve"}),
        ({"edit": pb.Edit(text="Dear all")}, {"decision": "edit", "text": "Dear all"}),
        ({"answer": pb.Answer(text="the blue one")}, {"decision": "answer", "text": "the blue one"}),
        ({"reject": pb.Reject(reason=" no ")}, {"decision": "reject", "reason": "no"}),
        ({"reject": pb.Reject()}, {"decision": "reject"}),
        ({"classification": GOOD}, {"decision": "classify", "classification": GOOD}),
    ],
)
def test_what_is_kept(decision: dict[str, Any], kept: dict[str, Any]):
    assert decision_of(request(**decision)).as_json() == kept


def test_offsets_are_whole_numbers_although_the_wire_has_none():
    [intent] = (decision_of(request(classification=GOOD)).classification or {})["intents"]
    assert type(intent["end"]) is int


@pytest.mark.parametrize(
    ("decision", "field"),
    [
        ({}, "decision"),
        ({"edit": pb.Edit()}, "edit.text"),
        ({"edit": pb.Edit(text="a\0b")}, "edit.text"),
        ({"answer": pb.Answer(text=" \n")}, "answer.text"),
        ({"reject": pb.Reject(reason="x" * (MAX_REASON + 1))}, "reject.reason"),
        ({"edit": pb.Edit(text="ä" * (MAX_TEXT + 1))}, "edit.text"),
        ({"classification": {}}, "classification.category"),
        ({"classification": GOOD | {"intents": []}}, "classification.intents"),
        ({"classification": GOOD | {"category": "gossip"}}, "classification.category"),
        ({"classification": GOOD | {"more": 1}}, "classification.more"),
        ({"classification": GOOD | {"language": "English"}}, "classification.language"),
    ],
)
def test_what_is_refused(decision: dict[str, Any], field: str):
    with pytest.raises(Invalid) as refused:
        decision_of(request(**decision))
    assert field in refused.value.fields


def test_what_fits():
    assert decisions("draft", resumes=True) == ("approve", "edit", "reject")
    assert decisions("quarantine", resumes=True) == ("reject",)
    for kind in ("draft", "unknown_after_send", "classification", "question", "approval", "needs_manual_intervention"):
        assert decisions(kind, resumes=False) == ("reject",)
