"""Long work: what does not fit a conversation's patience goes on in the background, one recorded stretch after the other.

A stretch ends between two responses of the model, all that was done in it is recorded by then, and its end is a move that
brings a report for the sender. What comes next, in this launch or another one, replays the record and goes on after it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from agent.errors import NotEnded, StepFailed
from agent.models.interface import Tool
from agent.pipeline.merge import MAX_PARTS, outbox_row
from agent.pipeline.step import Done, Work
from agent.pipeline.units import BACKGROUND
from empla import notices

INTERACTIVE_SECONDS = 120.0
INTERACTIVE_RESPONSES = 16
"""How long the sender of a message waits for the work on it, and how many responses of the model: then it takes longer."""
REPORT_SECONDS = 300.0
MAX_RESPONSES = 256
MAX_REPORT_CHARACTERS = 1_000

WORK_IN_BACKGROUND = Tool(
    name="work_in_background",
    description=(
        "Say that what the message wants takes more than a minute or two. Its sender is told so at once, and what you do "
        "from then on is done in the background; say in words, now and then beside your calls, what you have found so far."
    ),
    parameters={"type": "object", "properties": {}},
)
GONE_ON = "the sender has been told that this takes longer; go on, and answer with the result when you have it"


def steady_clock() -> Callable[[], float]:
    """Seconds as `time.time` counts them, on from now by a clock that nobody sets: no wait becomes shorter or longer."""
    ahead = time.time() - time.monotonic()
    return lambda: ahead + time.monotonic()


class Pauses(NotEnded):
    """The work stops here for now; every response so far is committed, and every call of them recorded."""

    outcome = "paused"


@dataclass(frozen=True, slots=True)
class Stretch:
    """How far one run of the loop went."""

    responses: int
    calls: int
    said: str  # last, beside its calls


class Pace(Protocol):
    """Decides before each response whether the loop goes on."""

    async def before(self, responses: int, *, long: bool) -> None:
        """Raise what ends the loop here; `long`: the model has said that this takes longer."""
        ...


class Interactive:
    """Somebody waits for the reply: raises `Pauses` when this takes too long for that."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._until = clock, clock() + INTERACTIVE_SECONDS

    async def before(self, responses: int, *, long: bool) -> None:
        """See `Pace.before`."""
        if long or responses >= INTERACTIVE_RESPONSES or self._clock() >= self._until:
            raise Pauses


@dataclass(frozen=True, slots=True)
class InBackground:
    """Nobody waits for the reply.

    Raises `Pauses` when a report is due or the process is to end, `StepFailed` when there is no end to it.
    """

    clock: Callable[[], float]
    until: float
    draining: Callable[[], bool]

    async def before(self, responses: int, *, long: bool) -> None:
        """See `Pace.before`."""
        if responses >= MAX_RESPONSES:
            raise StepFailed(f"the model was still acting after {MAX_RESPONSES} responses")
        if self.draining() or self.clock() >= self.until:
            raise Pauses


def report_due(work: Work, unit_id: UUID) -> float:
    """When the sender is told next, whichever launch does it."""
    due: float = _last(work, unit_id)["reported_at"] + REPORT_SECONDS
    return due


def sent_to_background(now: float, stretch: Stretch) -> Done:
    """The move of a worker of which somebody waited for the reply too long."""
    return Done(BACKGROUND, _output(now, stretch, 0))


def reported(work: Work, unit_id: UUID, now: float, stretch: Stretch, *, unseen: bool) -> Done:
    """The move at the end of a stretch; with `unseen` the report is of fixed words, for nobody reads it before it leaves."""
    reports = _last(work, unit_id)["reports"] + 1
    said = "" if unseen else stretch.said.strip()[:MAX_REPORT_CHARACTERS]
    text = "\n\n".join(filter(None, [notices.STILL_AT_IT, said]))
    row = outbox_row(work, "progress", text, part=work.parts[unit_id].index + MAX_PARTS * reports)
    return Done(BACKGROUND, _output(now, stretch, reports), outbox=[row])


def _last(work: Work, unit_id: UUID) -> Any:
    return work.outputs.get((unit_id, "background")) or work.output("action_planning", unit_id)


def _output(now: float, stretch: Stretch, reports: int) -> dict[str, Any]:
    return {"reported_at": now, "reports": reports, "responses": stretch.responses, "calls": stretch.calls}
