"""What a step is: a name, limits, and a function from what is known to what follows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import JsonValue

from agent.capabilities.base import EffectKey
from agent.pipeline.units import Place


@dataclass(frozen=True, slots=True)
class OverCap:
    """Why a message is one too many. `opens`: it is the first of a burst, of which an operator is told."""

    reason: str
    opens: bool


@dataclass(frozen=True, slots=True)
class Incoming:
    """A stored message as it was delivered; `received_at` is when it was stored."""

    message_id: UUID
    conversation_id: UUID
    sender: str
    body: str
    metadata: dict[str, Any]
    trace_context: str = ""
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    followed: bool = True  # whether somebody may be following it live
    over_cap: OverCap | None = None


@dataclass(slots=True)
class Unrecorded:
    """What this process knows of a message's actions and the database may not: it outlives attempts, not the process.

    `begun` has when an intent was first written whose answer has not come; `ended` the result of an action that ran, as
    the columns that record it.
    """

    begun: dict[EffectKey, datetime] = field(default_factory=dict)
    ended: dict[EffectKey, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """What one worker of a message is for: which intent, in words, and where in the text it stands."""

    index: int
    summary: str
    start: int
    end: int


type Verb = Literal["approve", "answer", "reject", "classify", "expired"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody decided about a unit that waited, and the call that it waited at, if it was one.

    `sub_agent_id`: it is a call of this sub-agent of the unit's.
    """

    key: str
    kind: str  # of the review
    decision: Verb
    by: str
    at: datetime
    text: str = ""
    reason: str = ""
    classification: Any = None
    call: tuple[int | None, int | None] = (None, None)  # index of the response, and of the call in it
    held: JsonValue = None  # what an approval lets through besides the call
    sub_agent_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """A message that is answered together with another: it waited, or was in work and gave way (`interrupted`)."""

    message_id: UUID
    sender: str
    body: str
    interrupted: bool


@dataclass(slots=True)
class Work:
    """One message on its way: the message, and what its finished steps produced, by (unit, step).

    `parts` are its workers in the order of their intents, `answers` what was answered to its units, oldest first; `merged`
    says that its reply has been written, so that what comes later leaves on its own. `context_version` is the conversation's
    when the message was claimed; None when an earlier launch did that. `collected` is what it is answered for as well;
    `steered`: something was shown to its worker while it ran.
    """

    def said(self) -> str:
        """What there is to answer: the text of the message, and of those that waited behind it."""
        waited = [one for one in self.collected if not one.interrupted]
        if all(one.sender == self.message.sender for one in waited):
            return "\n\n".join([self.message.body, *(one.body for one in waited)])
        told = [(self.message.sender, self.message.body), *((one.sender, one.body) for one in waited)]
        return "\n\n".join(f"{sender}: {body}" for sender, body in told)

    message: Incoming
    outputs: dict[tuple[UUID, str], Any] = field(default_factory=dict)
    unrecorded: Unrecorded = field(default_factory=Unrecorded)
    parts: dict[UUID, Part] = field(default_factory=dict)
    answers: dict[UUID, list[Answer]] = field(default_factory=dict)
    merged: bool = False
    context_version: int | None = None
    collected: list[Collected] = field(default_factory=list)
    steered: bool = False

    def last_answer(self, unit_id: UUID) -> Answer | None:
        """What was answered last to a unit."""
        return self.answers[unit_id][-1] if self.answers.get(unit_id) else None

    def given_draft(self, unit_id: UUID) -> str:
        """The draft that a person wrote for a part which failed; '' where nobody did."""
        last = self.last_answer(unit_id)
        written = last is not None and (last.kind, last.decision) == ("needs_manual_intervention", "answer")
        return last.text if last is not None and written else ""

    def goes_on(self, unit_id: UUID) -> bool:
        """Whether a part is, or was, worked on in the background."""
        return "reported_at" in (self.outputs.get((unit_id, "action_planning")) or {})

    def draft(self, unit_id: UUID) -> str:
        """What a finished part says; raises KeyError for one that has no draft."""
        text: str = self.given_draft(unit_id) or self.output("draft_generation", unit_id)["text"]
        return text

    def output(self, step: str, unit_id: UUID | None = None) -> Any:
        """What `step` of the message (or of a worker) produced; raises KeyError when it has not run."""
        return self.outputs[unit_id or self.message.message_id, step]


@dataclass(frozen=True, slots=True)
class Done:
    """What a step came to: its output, where its unit goes, and the rows that are written with the move.

    `waits`: it is not over but waits for a person, and will be run again with the answer.
    """

    to: Place
    output: Any = None  # JSON
    reason: str = ""
    ends: bool = False
    workers: list[dict[str, Any]] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A durable step. `retries` come after the first attempt; `deadline` (seconds) holds for one attempt.

    Where it reads the database, that is longer than an answer is waited for: an outage is no failure of a step's.
    `run` takes the work and the unit it runs for. It may be run again after any failure or death of the process, so
    whatever it does in the world goes through capabilities.
    """

    name: str
    stage: str
    retries: int
    deadline: float
    run: Callable[[Work, UUID], Awaitable[Done]]
