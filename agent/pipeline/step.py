"""What a step is: a name, limits, and a function from what is known to what follows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from agent.capabilities.base import EffectKey
from agent.models.interface import ModelResponse
from agent.pipeline.units import Place


@dataclass(frozen=True, slots=True)
class Incoming:
    """A stored message as it was delivered."""

    message_id: UUID
    conversation_id: UUID
    sender: str
    body: str
    metadata: dict[str, Any]
    trace_context: str = ""
    followed: bool = True  # whether somebody may be following it live


@dataclass(slots=True)
class Unrecorded:
    """What this process knows of a message's actions and the database may not: it outlives attempts, not the process.

    `begun` has when an intent was first written whose answer has not come; `ended` the result of an action that ran, as
    the columns that record it.
    """

    begun: dict[EffectKey, datetime] = field(default_factory=dict)
    ended: dict[EffectKey, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Work:
    """One message on its way: the message, and what its finished steps produced, by (unit, step)."""

    message: Incoming
    outputs: dict[tuple[UUID, str], Any] = field(default_factory=dict)
    unrecorded: Unrecorded = field(default_factory=Unrecorded)

    def output(self, step: str, unit_id: UUID | None = None) -> Any:
        """What `step` of the message (or of a worker) produced; raises KeyError when it has not run."""
        return self.outputs[unit_id or self.message.message_id, step]


@dataclass(frozen=True, slots=True)
class Done:
    """What a step came to: its output, where its unit goes, and the rows that are written with the move."""

    to: Place
    output: Any = None  # JSON
    responses: tuple[ModelResponse, ...] = ()
    reason: str = ""
    ends: bool = False
    workers: list[dict[str, Any]] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """A durable step. `retries` come after the first attempt; `deadline` (seconds) holds for one attempt.

    `run` takes the work and the unit it runs for. It may be run again after any failure or death of the process, so
    whatever it does in the world goes through capabilities.
    """

    name: str
    stage: str
    retries: int
    deadline: float
    run: Callable[[Work, UUID], Awaitable[Done]]
