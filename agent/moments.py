"""The moments of an employee's life that hooks may be told of (`agent.hooks`), and `tell`, which says that one is there.

Whoever runs within a started employee tells a moment in one line: `tell(PerceptionEnded, events=3)`. Which employee it is
goes along with the task, as with `metering`. Nothing is made of a moment that no hook is for.
"""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol
from uuid import UUID

from agent.errors import ApprovalNeeded, Cancelled, EffectAmbiguous, NotEnded
from empla import telemetry


class Hearer(Protocol):
    """Whoever is told the moments of one employee."""

    name: str
    employee_id: UUID

    def wants(self, kind: Callable[..., "Moment"]) -> bool:
        """Whether there is anybody for moments of this kind."""
        ...

    def hear(self, moment: "Moment") -> None:
        """Take note of a moment, without waiting."""
        ...

    def turned(self, part: str, why: str) -> bool:
        """Note how a part of the employee fares, '' for well; whether it turned well or bad with that."""
        ...


hearer: ContextVar[Hearer | None] = ContextVar("empla_hearer", default=None)
"""Who hears of the employee that the current task belongs to."""


def tell[**P](kind: "Callable[P, Moment]", /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Say that a moment is there: its type, and what it has but for employee and time. On the employee's loop only."""
    if (hears := hearer.get()) is not None and hears.wants(kind):
        hears.hear(kind(*args, **kwargs))


def tell_health(part: str, why: str = "") -> None:
    """Say how a part fares, '' for well: a `HealthChanged`, if it fared otherwise before."""
    if (hears := hearer.get()) is not None and hears.turned(part, why):
        tell(HealthChanged, part=part, healthy=not why, why=why)


def _present() -> Hearer:
    if (hears := hearer.get()) is None:
        raise LookupError("outside of an employee a moment is given its employee's name and id")
    return hears


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Something that happened to the employee of this name and id, `at` a time in UTC. `milliseconds`: how long it took.

    `trace` is the W3C traceparent of what it was a part of, '' for nothing.
    """

    employee: str = field(default_factory=lambda: _present().name)
    employee_id: UUID = field(default_factory=lambda: _present().employee_id)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    trace: str = field(default_factory=telemetry.traceparent)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmployeeStarted(Moment):
    """It is there and takes messages; `epoch` numbers its launches."""

    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EmployeeStopped(Moment):
    """It has ended, and writes nothing any more: the last moment of a launch.

    `reason` is drained, superseded (a newer launch took its place), refused (by the control plane), cancelled or failed;
    `error` is what it ended of, if it did.
    """

    reason: Literal["drained", "superseded", "refused", "cancelled", "failed"]
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleStarted(Moment):
    """The proactive loop begins a cycle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleEnded(Moment):
    """A cycle is over: `outcome` is what the loop says of it (acted, nothing_to_do …), paused, failed or cancelled."""

    outcome: str
    milliseconds: float
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PerceptionStarted(Moment):
    """The cycle looks at what has happened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PerceptionEnded(Moment):
    """It has seen so many new events."""

    events: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BeliefUpdated(Moment):
    """A belief was formed, confirmed, revised, doubted, promoted or dropped, which is on record by now."""

    change: str
    subject: str
    predicate: str
    object: str
    confidence: float
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanningStarted(Moment):
    """The employee begins to plan, and why."""

    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanningEnded(Moment):
    """The plan has come to so many new intentions."""

    intentions: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IntentionStarted(Moment):
    """Work on an intention, a plan for a goal, begins."""

    intention_id: UUID
    title: str
    goal_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class IntentionEnded(Moment):
    """An intention is over; `outcome` is the state that it is left in (done, failed, abandoned), and `why`."""

    intention_id: UUID
    title: str
    goal_id: UUID
    outcome: str
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageMoment(Moment):
    """Something about a message of this sender."""

    message_id: UUID
    conversation_id: UUID
    sender: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageReceived(MessageMoment):
    """A message is claimed and worked on from now on. `text` is as it was sent: of somebody else, and to be treated so."""

    text: str
    received_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageAnswered(MessageMoment):
    """A reply is written and with the Sender, `milliseconds` after its message was received.

    `kind` is reply, or follow_up for a part that came later; `proposal` is send, or review: a person sees it first.
    """

    reply: str
    kind: str
    proposal: str
    milliseconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageWaits(MessageMoment):
    """A message, or a part of it, waits for a person, who is asked this."""

    asked: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageEnded(MessageMoment):
    """A message is off the employee's hands, `milliseconds` after it was received.

    `outcome` is answered, withheld, failed or collected (answered together with another), `why` the reason on record.
    """

    outcome: str
    milliseconds: float
    why: str = ""


type CallOutcome = Literal["succeeded", "failed", "needs_approval", "ambiguous", "cancelled", "waiting", "paused"]
"""What came of a call: ambiguous, nobody knows whether it was done; waiting and paused, it goes on later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CapabilityCalled(Moment):
    """An action ran, or its policy did not let it; one that a retry finds done already is not told again.

    A call of `delegate` whose sub-agents wait for a person, or go on in the background, is `waiting` or `paused`, and called
    again when it goes on. `message_id` is None when it was for no message.
    """

    capability: str
    action: str
    outcome: CallOutcome
    milliseconds: float
    unit_id: UUID
    message_id: UUID | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reflected(Moment):
    """The employee has thought about what it did, and come to this."""

    conclusion: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GoalReached(Moment):
    """A goal has been reached."""

    goal_id: UUID
    goal: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthChanged(Moment):
    """A part that the employee needs (gateway, database, model, mind) is away, and `why`, or is there again."""

    part: str
    healthy: bool
    why: str = ""


async def cycling(cycle: Awaitable[str]) -> str:
    """Run a cycle of the proactive loop, which gives its outcome, and tell its start and end."""
    started = time.perf_counter()
    tell(CycleStarted)
    try:
        outcome = await cycle
    except NotEnded as error:
        tell(CycleEnded, outcome=error.outcome, milliseconds=_since(started))
        raise
    except BaseException as error:
        failed = "failed" if isinstance(error, Exception) else "cancelled"
        tell(CycleEnded, outcome=failed, milliseconds=_since(started), error=in_words(error))
        raise
    tell(CycleEnded, outcome=outcome, milliseconds=_since(started))
    return outcome


@contextmanager
def calling(capability: str, action: str, *, unit_id: UUID, message_id: UUID | None) -> Iterator[None]:
    """The block is a call of an action: tell what came of it."""
    started = time.perf_counter()
    outcome: CallOutcome = "succeeded"
    why = ""
    try:
        yield
    except BaseException as error:
        outcome, why = outcome_of(error), in_words(error)
        raise
    finally:
        took = _since(started)
        tell(
            CapabilityCalled,
            capability=capability,
            action=action,
            outcome=outcome,
            milliseconds=took,
            unit_id=unit_id,
            message_id=message_id,
            error=why,
        )


def outcome_of(error: BaseException) -> CallOutcome:
    """What a call came to that ends by this error."""
    match error:
        case NotEnded():
            return error.outcome
        case Cancelled():
            return "cancelled"
        case ApprovalNeeded():
            return "needs_approval"
        case EffectAmbiguous():
            return "ambiguous"
        case Exception():
            return "failed"
        case _:
            return "cancelled"


def in_words(error: BaseException) -> str:
    """Type and message of an error, at most 500 characters; the first of a group speaks for all."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - of code of others
        said = "it cannot say what it is"
    return f"{type(error).__name__}: {said}".removesuffix(": ").encode("utf-8", "replace").decode()[:500]


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
