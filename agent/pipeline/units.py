"""The units of work and the moves between their states, as the coordinator holds them in memory.

A *message* unit goes received → analyzing → working → merging → sending; while it is working, a *worker* unit for each
intent goes through its own steps. Both are rows with a state, a step, an attempt, and the epoch that works on them.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID

Machine = Literal["message", "worker"]
Outcome = Literal["succeeded", "failed", "waiting", "cancelled"]


@dataclass(frozen=True, slots=True)
class Place:
    """A state of a machine, and the step within it ('' where the state has none)."""

    state: str
    step: str = ""


BACKGROUND = Place("running", "background")
"""Of a worker that goes on when its message has its reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One row in work: where it stands, and how often its step was begun (`attempt`) and failed (`failures`).

    Times are seconds since the epoch; `started_at` is None while the attempt has not begun.
    """

    machine: Machine
    unit_id: UUID
    message_id: UUID
    place: Place
    attempt: int
    failures: int = 0
    queued_at: float = field(default_factory=time.time)
    started_at: float | None = None
    next_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What an attempt came to: a row of `step_attempts`."""

    stage: str
    outcome: Outcome
    duration_ms: float
    error_class: str = ""
    error: str = ""
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_micros: int | None = 0  # None: of a model without a price
    output: Any = None  # JSON
    span_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One edge for one unit, and the rows that are written with it or not at all.

    `begins` starts the next attempt at the same moment, so that the death of the process counts as one. The lists hold
    the columns of `message_workers`, `outbox`, `reviews`, `employee_events` and `unit_answers`; `takes` is the key of the
    answer that led to the move.
    """

    unit: Unit
    to: Place
    begins: bool
    record: Record | None = None
    next_at: float | None = None
    reason: str = ""
    ends: bool = False
    workers: list[dict[str, Any]] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    takes: str = ""
    at: float = field(default_factory=time.time)

    @property
    def failed(self) -> bool:
        """Whether the attempt counts towards the step's limit."""
        return self.record is not None and self.record.outcome == "failed"

    @property
    def after(self) -> Unit:
        """The unit as it stands once the move is made."""
        same = self.to == self.unit.place
        # A step that waits or failed may be gone on with: its attempts are counted on.
        goes_on = same or (self.unit.machine == "worker" and self.to.step == self.unit.place.step)
        attempt = self.unit.attempt + (self.record is not None) if goes_on else 1
        # A stretch of long work that came to its end has not failed, however often those before it were lost.
        went_well = self.record is not None and self.record.outcome == "succeeded"
        failures = self.unit.failures + self.failed if same and not went_well else 0
        return replace(
            self.unit,
            place=self.to,
            attempt=attempt,
            failures=failures,
            queued_at=self.unit.queued_at if same and self.record is None else self.at,
            started_at=self.at if self.begins else None,
            next_at=self.next_at,
        )

    def as_row(self) -> dict[str, Any]:
        """The columns that the `transition` statement reads."""
        unit, after = self.unit, self.after
        row: dict[str, Any] = {
            "machine": unit.machine,
            "unit_id": str(unit.unit_id),
            "message_id": str(unit.message_id),
            "from_state": unit.place.state,
            "from_step": unit.place.step,
            "from_attempt": unit.attempt,
            "to_state": after.place.state,
            "to_step": after.place.step,
            "attempt": after.attempt,
            "failures": after.failures,
            "failed": int(self.failed),
            "begins": self.begins,
            "ends": self.ends,
            "next_at": self.next_at,
            "reason": self.reason,
            "queued_at": unit.queued_at,
            "next_queued_at": after.queued_at,
            "started_at": unit.started_at if unit.started_at is not None else self.at,
            "finished_at": self.at,
            "workers": self.workers,
            "outbox": self.outbox,
            "reviews": self.reviews,
            "events": self.events,
            "answers": self.answers,
            "takes": self.takes,
        }
        if self.record is not None:
            row |= {name: getattr(self.record, name) for name in Record.__slots__}
        return row
