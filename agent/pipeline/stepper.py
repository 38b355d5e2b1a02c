"""The stepper: brings units further, one committed move after another."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

from agent.errors import Cancelled, StepFailed, Superseded, TransitionRefused
from agent.patience import patiently
from agent.pausing import Pause
from agent.pipeline.attempts import attempt, gave_up, unrecordable, unstorable
from agent.pipeline.ending import Ending
from agent.pipeline.merge import merging, with_late_rows
from agent.pipeline.parts import part_of
from agent.pipeline.progress import Progress
from agent.pipeline.retrying import MAX_BACKOFF_SECONDS
from agent.pipeline.step import Step, Work
from agent.pipeline.telling import tell_of
from agent.pipeline.transitions import Transitions
from agent.pipeline.units import BACKGROUND, Move, Place, Unit
from agent.pipeline.warm import WarmContext


class Stepper:
    """Takes the steps of one launch of one employee."""

    def __init__(
        self, transitions: Transitions, ending: Ending, progress: Progress, warm: WarmContext, pause: Pause
    ) -> None:
        self._transitions, self._ending, self._progress, self._warm = transitions, ending, progress, warm
        self._pause = pause
        self._steps: dict[str, Step] = {}

    def use(self, steps: Iterable[Step]) -> None:
        """Go by these steps from now on."""
        self._steps = {step.name: step for step in steps}

    async def advance(self, unit: Unit, work: Work, workers: list[Unit]) -> tuple[Unit, list[Unit]]:
        """One move of the message; its workers, once there are any, go their whole way in it."""
        if unit.place.state == "working":
            workers = await self._work(work, workers)
            merges = Move(unit=unit, to=Place("merging", "merge"), begins=True)
            return (await self.commit(work, merges)).after, workers
        step = merging(workers) if unit.place.state == "merging" else self._steps[unit.place.step]
        move = await self._take(step, unit, work)
        self._warm.moved(work, move)
        return move.after, forked(move, work) or workers

    async def _work(self, work: Work, workers: list[Unit]) -> list[Unit]:
        async with asyncio.TaskGroup() as branches:
            tasks = [branches.create_task(self.finish(worker, work)) for worker in workers]
        return [task.result() for task in tasks]

    async def finish(self, unit: Unit, work: Work) -> Unit:
        """Bring a worker to its end, or to where it goes on in the background."""
        while unit.place.state == "running" and unit.place != BACKGROUND:
            unit = (await self.step(unit, work)).after
        return unit

    async def step(self, unit: Unit, work: Work) -> Move:
        """Bring a unit one committed move further."""
        return await self._take(self._steps[unit.place.step], unit, work)

    async def _take(self, step: Step, unit: Unit, work: Work) -> Move:
        if self._pause.on:  # before the attempt begins, so that the end of the process while it waits is no failure
            try:
                async with self._ending.running.interruptible(unit.unit_id):
                    await self._pause.over()
            except Cancelled:
                return await self._end_stopped(work, Move(unit=unit, to=unit.place, begins=False))
        if unit.next_at is not None:
            with suppress(Cancelled):  # the next attempt reads of it
                async with self._ending.running.interruptible(unit.unit_id):
                    # Written by this clock as a rule; by one that was ahead, it asks for no longer wait than any does.
                    await asyncio.sleep(min(MAX_BACKOFF_SECONDS, max(0.0, unit.next_at - time.time())))
        if unit.failures > step.retries:
            lost = StepFailed(f"the process ended {unit.failures} times while it worked on this")
            move = gave_up(step, work, unit, lost)
        else:
            if unit.started_at is None:
                unit = await self._transitions.commit(Move(unit=unit, to=unit.place, begins=True))
            move = await attempt(step, work, unit, self._progress, running=self._ending.running, pause=self._pause)
            if move.record is not None and move.record.outcome == "cancelled":
                return await self._end_stopped(work, move)
        return await self._commit(step, work, unit, with_late_rows(work, move))

    async def _commit(self, step: Step, work: Work, unit: Unit, move: Move) -> Move:
        """Commit `move`, or what the database takes instead: the failure of its attempt, or the bare end of the unit."""
        for instead in (unstorable, unrecordable):
            try:
                return await self.commit(work, move)
            except (Superseded, TransitionRefused):
                raise
            except Exception as error:  # noqa: BLE001 - the boundary of a unit of work
                move = with_late_rows(work, instead(step, work, unit, error))
        return await self.commit(work, move)

    async def commit(self, work: Work, move: Move) -> Move:
        """Commit `move`; where somebody wants its unit stopped the database skips it, and the unit ends instead."""
        try:
            await self._transitions.commit(move)
        except TransitionRefused:
            return await self._end_stopped(work, move)
        tell_of(work, move)
        return move

    async def _end_stopped(self, work: Work, cut: Move) -> Move:
        """End a unit that somebody wants stopped; raises `TransitionRefused` when nobody does."""
        move = await patiently(lambda: self._ending.move(work, cut.unit, cut.record))
        if move is None:
            raise TransitionRefused("the unit has been moved by somebody else")
        await self._transitions.commit(move)
        tell_of(work, move)
        return move


def forked(move: Move, work: Work) -> list[Unit]:
    """The workers that a move created, as units whose first attempt has begun."""
    for worker in move.workers:
        work.parts[UUID(worker["worker_id"])] = part_of(worker["intent_index"], worker["intent"])
    return [
        Unit(
            machine="worker",
            unit_id=UUID(worker["worker_id"]),
            message_id=move.unit.message_id,
            place=Place("running", "action_planning"),
            attempt=1,
            queued_at=move.at,
            started_at=move.at,
        )
        for worker in move.workers
    ]
