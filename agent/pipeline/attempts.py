"""One attempt of one step: run it within its deadline, and turn whatever happens into the move that follows."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from agent.errors import Cancelled, Paused, StepFailed, Superseded
from agent.models.interface import ModelError, ModelResponse
from agent.models.metered import metering
from agent.patience import patiently
from agent.pausing import Pause
from agent.pipeline.ending import Interruptions
from agent.pipeline.merge import failure_notice
from agent.pipeline.progress import Progress
from agent.pipeline.retrying import wait_before_retry
from agent.pipeline.step import Done, Step, Work
from agent.pipeline.units import BACKGROUND, Move, Outcome, Place, Record, Unit
from empla import telemetry
from empla.store.ids import new_id
from empla.v1 import control_pb2

log = logging.getLogger(__name__)


async def attempt(
    step: Step, work: Work, unit: Unit, progress: Progress, *, running: Interruptions, pause: Pause
) -> Move:
    """Run `step` once for `unit` and return the move it leads to: onward, another attempt, or a person.

    One that was cut short because somebody wants the unit stopped leads nowhere, and has the outcome `cancelled`. Raises
    `Superseded` only; the caller writes the move.
    """
    clock = _Clock(step, work, unit, progress)
    ids = {"message_id": str(unit.message_id), "unit_id": str(unit.unit_id), "step": step.name, "stage": step.stage}
    with telemetry.span(f"step {step.name}", work.message.trace_context, attempt=unit.attempt, **ids) as parent:
        clock.span_id = telemetry.span_id(parent)
        try:
            with metering(unit.message_id) as clock.spent:
                async with running.interruptible(unit.unit_id):
                    done = await _run_until_it_may(step, work, unit.unit_id, pause)
        except Superseded:
            raise
        except Cancelled:
            return Move(unit=unit, to=unit.place, begins=False, record=clock.record("cancelled"))
        except Exception as error:  # noqa: BLE001 - the boundary of a unit of work: recorded, and tried again or given to a person
            telemetry.failed(error)
            return _after_error(step, work, unit, error, clock.record("failed", error=error))
        work.outputs[unit.unit_id, "waiting" if done.waits else step.name] = done.output
        return clock.move(done)


async def _run_until_it_may(step: Step, work: Work, unit_id: UUID, pause: Pause) -> Done:
    """Nor is a pause: what was begun before it is recorded, and the attempt begins anew after it."""
    while True:
        await pause.over()
        try:
            return await _run_while_store_is_away(step, work, unit_id)
        except Paused as why:
            log.info("step %s waits: %s", step.name, why)


async def _run_while_store_is_away(step: Step, work: Work, unit_id: UUID) -> Done:
    """A database that is away is nobody's failure: the attempt begins anew, and its deadline with it, as no further one.

    What its actions came to meanwhile is kept in `work` and recorded first.
    """

    async def run() -> Done:
        async with asyncio.timeout(step.deadline):
            return await step.run(work, unit_id)

    return await patiently(run, f"step {step.name}")


def _after_error(step: Step, work: Work, unit: Unit, error: Exception, record: Record) -> Move:
    # A provider that is down says the same for every message; its stack says nothing more.
    foreseen = isinstance(error, ModelError | StepFailed)
    ids = {"message_id": str(unit.message_id)}
    log.warning("step %s failed: %s", step.name, error, exc_info=None if foreseen else error, extra=ids)
    final = isinstance(error, StepFailed) or (isinstance(error, ModelError) and not error.retryable)
    if final or unit.failures >= step.retries:
        return gave_up(step, work, unit, error, record)
    move = Move(unit=unit, to=unit.place, begins=False, record=record)
    return replace(move, next_at=move.at + wait_before_retry(error, unit.failures))


def unstorable(step: Step, work: Work, unit: Unit, error: Exception) -> Move:
    """The move after an attempt whose output the database does not take."""
    work.outputs.pop((unit.unit_id, step.name), None)
    record = Record(
        stage=step.stage, outcome="failed", duration_ms=0, error_class=type(error).__name__, error=str(error)[:4000]
    )
    return _after_error(step, work, unit, error, record)


def unrecordable(step: Step, work: Work, unit: Unit, error: Exception) -> Move:
    """The move after one that `unstorable` made and the database does not take either: to a person, bare of all details."""
    log.error("what became of step %s cannot be recorded", step.name, exc_info=error)
    bare = StepFailed(f"what became of it cannot be recorded ({type(error).__name__})")
    return gave_up(step, Work(work.message), unit, bare)


def gave_up(step: Step, work: Work, unit: Unit, error: Exception, record: Record | None = None) -> Move:
    """The move that leaves a unit to a person, with an open review that has what was achieved.

    A message that cannot be analyzed waits for a person to sort it, any other unit fails; the sender of a message is told.
    """
    achieved = {name: output for (owner, name), output in work.outputs.items() if owner == unit.unit_id}
    analyzing = step.stage == "analyze"
    review: dict[str, Any] = {
        "review_id": str(new_id()),
        "kind": "classification" if analyzing else "needs_manual_intervention",
        "reason": f"{step.name}: {error}",
        "payload": {"step": step.name, "error_class": type(error).__name__, "achieved": achieved},
    }
    whole = unit.machine == "message"
    if not whole:
        review["worker_id"] = str(unit.unit_id)
    return Move(
        unit=unit,
        to=Place("waiting", "classification") if analyzing else Place("failed", unit.place.step),
        begins=False,
        record=record,
        reason=f"{type(error).__name__}: {error}"[:1000],
        ends=whole and not analyzing,
        reviews=[review],
        outbox=[failure_notice(work)] if whole else [],
    )


class _Clock:
    """Times one attempt and tells followers about its beginning and end."""

    def __init__(self, step: Step, work: Work, unit: Unit, progress: Progress) -> None:
        self._step, self._work, self._unit, self._progress = step, work, unit, progress
        self._started = time.perf_counter()
        self.span_id = ""
        self.spent: Sequence[ModelResponse] = ()
        self._tell("", 0)

    def record(self, outcome: Outcome, *, error: Exception | None = None) -> Record:
        duration_ms = (time.perf_counter() - self._started) * 1000
        self._tell(outcome, duration_ms)
        paid = _paid(self.spent)
        telemetry.annotate(outcome=outcome, **{name: value for name, value in paid.items() if value})
        return Record(
            stage=self._step.stage,
            outcome=outcome,
            duration_ms=duration_ms,
            error_class=type(error).__name__ if error else "",
            error=str(error)[:4000] if error else "",
            span_id=self.span_id,
            **paid,
        )

    def move(self, done: Done) -> Move:
        record = replace(self.record("waiting" if done.waits else "succeeded"), output=done.output)
        return Move(
            unit=self._unit,
            to=done.to,
            begins=_begins(done),
            record=record,
            reason=done.reason,
            ends=done.ends,
            workers=done.workers,
            outbox=done.outbox,
            reviews=done.reviews,
            events=done.events,
            answers=done.answers,
        )

    def _tell(self, outcome: str, duration_ms: float) -> None:
        event = control_pb2.StepEvent(
            stage=self._step.stage,
            step=self._step.name,
            attempt=self._unit.attempt,
            outcome=outcome,
            duration_ms=duration_ms,
        )
        self._progress.step(self._work.message, event)


def _begins(done: Done) -> bool:
    """Whether the next step begins with the move; what goes on in the background begins when there is room for it."""
    ended = done.ends or done.waits or not done.to.step
    return not ended and done.to.state != "sending" and done.to != BACKGROUND


def _paid(responses: Sequence[ModelResponse]) -> dict[str, Any]:
    costs = [response.usage.cost_micros for response in responses]
    return {
        "model": responses[-1].model if responses else "",
        "tokens_in": sum(response.usage.input for response in responses),
        "tokens_out": sum(response.usage.output for response in responses),
        "cost_micros": None if None in costs else sum(cost for cost in costs if cost is not None),
    }
