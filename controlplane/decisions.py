"""What a person may decide about a review, and the decision as it is kept."""

from dataclasses import dataclass
from typing import Any, Literal

from google.protobuf.json_format import MessageToDict
from pydantic import ValidationError

from controlplane.errors import Invalid
from empla.classification import Classification
from empla.v1 import control_pb2 as pb

type Verb = Literal["approve", "edit", "answer", "reject", "classify", "expired"]

MAX_TEXT = 20_000
"""Characters of a text that a person gives: as many as an employee may write."""
MAX_REASON = 1000
CLOSE: tuple[Verb, ...] = ("reject",)
"""What remains to be decided when nothing goes on from the review any more: to close it."""
_BY_KIND: dict[str, tuple[Verb, ...]] = {
    "draft": ("approve", "edit", "reject"),
    "unknown_after_send": ("approve", "reject"),
    "classification": ("classify", "reject"),
    "question": ("answer", "reject"),
    "approval": ("approve", "reject"),
    "needs_manual_intervention": ("approve", "answer", "reject"),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided; of the other fields those that belong to the verb."""

    verb: Verb
    text: str = ""
    reason: str = ""
    classification: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """As the tables keep it."""
        extras = {"text": self.text, "reason": self.reason, "classification": self.classification}
        return {"decision": self.verb, **{name: value for name, value in extras.items() if value}}


EXPIRED = Decision("expired", reason="nobody decided in time")


def decisions(kind: str, *, resumes: bool) -> tuple[Verb, ...]:
    """Which decisions fit an open review of `kind`; `resumes` tells whether what it is about still waits."""
    return _BY_KIND.get(kind, CLOSE) if resumes else CLOSE


def decision_of(request: pb.ResolveReviewRequest) -> Decision:
    """The decision of a request; raises `Invalid`."""
    match request.WhichOneof("decision"):
        case "approve":
            return Decision("approve")
        case "edit":
            return Decision("edit", text=_text(request.edit.text, "edit.text"))
        case "answer":
            return Decision("answer", text=_text(request.answer.text, "answer.text"))
        case "reject":
            return Decision("reject", reason=reason_of(request.reject.reason, "reject.reason"))
        case "classification":
            return Decision("classify", classification=_classification(request))
        case _:
            fields = {"decision": "one of approve, edit, reject, answer, classification"}
            raise Invalid("the request decides nothing", fields=fields)


def _text(text: str, field: str) -> str:
    if not text.strip():
        raise Invalid("the text is empty", fields={field: "some text"})
    if len(text) > MAX_TEXT:
        raise Invalid("the text is too long", fields={field: f"at most {MAX_TEXT} characters"})
    return _storable(text, field)


def reason_of(reason: str, field: str) -> str:
    """The reason that a person gives, in its field of a request; raises `Invalid`."""
    if len(reason) > MAX_REASON:
        raise Invalid("the reason is too long", fields={field: f"at most {MAX_REASON} characters"})
    return _storable(reason.strip(), field)


def _storable(text: str, field: str) -> str:
    if "\0" in text:
        raise Invalid("the text holds a NUL character", fields={field: "no NUL"})
    return text


def _classification(request: pb.ResolveReviewRequest) -> dict[str, Any]:
    try:
        found = Classification.model_validate(MessageToDict(request.classification))
    except ValidationError as error:
        fields = {".".join(["classification", *map(str, e["loc"])]): e["msg"] for e in error.errors()}
        raise Invalid("the classification is not valid", fields=fields) from error
    for intent in found.intents:
        _storable(intent.summary, "classification.intents")
    return found.model_dump(mode="json")
