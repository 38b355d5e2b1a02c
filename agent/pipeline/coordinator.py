"""The coordinator: claims messages, runs each through its steps, and takes over what an earlier launch left.

The next step starts the moment the one before it is committed, in this process and without a look at the table. Messages
of one conversation are worked on in order, different conversations side by side. A message is claimed when it is its turn:
what waits behind it is for whoever comes next, and takes no place from another conversation.

What waits for a person is held nowhere in memory. A part that is answered once its message is merged goes on by itself, and
leaves as a message of its own.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

from agent.errors import Superseded, TransitionRefused
from agent.identity import Identity
from agent.patience import RETRY_SECONDS, patiently
from agent.pausing import Pause
from agent.pipeline.busy import Waiting
from agent.pipeline.caps import RateCaps
from agent.pipeline.ending import Ending
from agent.pipeline.progress import Progress
from agent.pipeline.restoring import Left
from agent.pipeline.resuming import resumed
from agent.pipeline.step import Incoming, Step, Work
from agent.pipeline.stepper import Stepper, forked
from agent.pipeline.taking import Taking
from agent.pipeline.telling import tell_of, tell_of_claim
from agent.pipeline.transitions import SQL, Transitions
from agent.pipeline.turns import Turns
from agent.pipeline.units import BACKGROUND, Place, Unit
from agent.pipeline.warm import WarmContext
from empla.capabilities import MAX_IN_WORK
from empla.store.connect import Pool, translated
from empla.store.errors import StoreUnavailable
from empla.v1 import gateway_pb2 as pb

log = logging.getLogger(__name__)

MAX_IN_BACKGROUND = 8
"""Tasks in the background; more wait, so that they leave room for whoever waits for a reply."""
RELEASE_TRIES = 6
WORKED_ON = ("received", "analyzing", "working", "merging")
DECIDED = ("waiting_for_input", "failed")
"""States of a worker that a person decides about."""


class Coordinator:
    """Works on the messages of one launch of one employee."""

    def __init__(
        self,
        *,
        pool: Pool,
        identity: Identity,
        transitions: Transitions,
        warm: WarmContext,
        send: Callable[[pb.AgentFrame], None],
        on_handled: Callable[[], None],
        abandon: Callable[[UUID], Awaitable[None]],
        pause: Pause,
    ) -> None:
        self._pool, self._identity, self._transitions = pool, identity, transitions
        self._send, self._on_handled, self._pause = send, on_handled, pause
        self.caps = RateCaps()
        self._ending, self._waiting = Ending(pool, identity, abandon), Waiting(pool, identity, self.caps)
        self._taking = Taking(pool, identity)
        self.when_busy = "enqueue"
        self._stepper = Stepper(transitions, self._ending, Progress(send), warm, pause)
        self._live: set[UUID] = set()
        self._claimed: set[UUID] = set()
        self._turns = Turns()
        self._in_work, self._parallel = MAX_IN_WORK, asyncio.Semaphore(MAX_IN_WORK)
        self._alone = asyncio.Lock()
        self._background = asyncio.Semaphore(MAX_IN_BACKGROUND)
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._resuming: set[UUID] = set()
        self._resume_again, self._taking_up = False, asyncio.Lock()

    @property
    def in_flight(self) -> int:
        """Messages that are here and not yet handed over, and late parts of others."""
        return len(self._live | self._resuming)

    def use(self, steps: Iterable[Step], in_work: int = MAX_IN_WORK) -> None:
        """Work by these steps from now on, and on so many messages at once; more wait in the database, unacknowledged."""
        self._stepper.use(steps)
        if in_work != self._in_work:  # what is here keeps the place that it has or waits for
            self._in_work, self._parallel = in_work, asyncio.Semaphore(in_work)

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Take over what earlier launches left; later messages come through `deliver`. Tasks live in `group`."""
        self._group = group
        left_over = await self._taking.take_over()
        await self.caps.restore(self._pool, self._identity)
        for left in left_over:
            if left.unit.place.state == "received":
                left.work.message = self.caps.judged(left.work.message)
            turn = self._enter(left.work.message)
            self._claimed.add(left.unit.message_id)
            self._start(self._go_on(left, turn), left.unit.message_id)
        for late in await self._taking.late():
            self._go_on_late(late)
        self.resume()

    def resume(self) -> None:
        """Take up every unit that has been answered, or as soon as its message is merged."""
        if not self._draining:
            self._start(self._take_up(), None)

    def stop(self, message_id: UUID) -> None:
        """End now what somebody wants stopped of a message, if the rows say so."""
        if not self._draining:
            self._start(self._stop(message_id), None)

    def deliver(self, incoming: Incoming) -> None:
        """Work on a delivered message, unless it is known already; when its turn comes it is claimed, then acknowledged."""
        if incoming.message_id in self._claimed:  # the acknowledgement was lost
            self._acknowledge(incoming.message_id)
        if self._draining or incoming.message_id in self._live:
            return
        incoming = self.caps.judged(incoming)
        if self.when_busy == "interrupt":
            self._start(self._interrupt(incoming), None)
        turn = self._enter(incoming)
        self._start(self._claim_and_see_through(incoming, turn), incoming.message_id)

    async def drain(self, deadline: float) -> None:
        """Take nothing new, give what runs `deadline` seconds, then give the rest back for the next launch."""
        self._draining = True
        self._pause.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=deadline)
        cut = list(self._tasks)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        if cut or self._claimed:
            log.warning("drain: %d claimed messages are left for the next launch", len(self._claimed))
        # Always: what a pause held is no task any more, and may be of a message that is merged.
        await self._release()

    async def _release(self) -> None:
        """Note that the drain cut attempts short, so that they count as no failure; not at any price."""
        for _ in range(RELEASE_TRIES):
            try:
                with translated():
                    await self._pool.execute(SQL.release, self._identity.employee_id, self._identity.epoch)
            except StoreUnavailable as error:
                log.warning("the database is away, giving work back waits: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    # Ways in

    async def _claim_and_see_through(self, incoming: Incoming, turn: asyncio.Event) -> None:
        async with self._in_turn(incoming, turn), self._unpaused(), self._slot():
            claimed = await self._claim(incoming)
            self._acknowledge(incoming.message_id)
            if claimed is not None:  # or an earlier delivery of it was claimed already
                tell_of_claim(incoming)
                await self._see_through(*claimed, [])

    async def _go_on(self, left: Left, turn: asyncio.Event) -> None:
        """Go on with what an earlier launch left.

        What ran when a process died is tried again one message at a time, until the step is over: the message that it
        died of then dies alone, and uses up its own retries only.
        """
        async with self._in_turn(left.work.message, turn):
            unit, workers = left.unit, left.workers
            if left.lost:
                async with self._alone, self._slot():
                    unit, workers = await self._stepper.advance(unit, left.work, workers)
            async with self._slot():
                await self._see_through(unit, left.work, workers)

    @asynccontextmanager
    async def _in_turn(self, incoming: Incoming, turn: asyncio.Event) -> AsyncIterator[None]:
        """The block begins when it is the message's turn in its conversation, and its failure is no other message's."""
        try:
            async with self._bounded(incoming):
                await turn.wait()
                yield
        finally:
            self._leave(incoming, turn)
            self._resume_what_came_meanwhile()

    @asynccontextmanager
    async def _bounded(self, incoming: Incoming) -> AsyncIterator[None]:
        """The failure of the block is no other message's."""
        try:
            yield
        except* Superseded:
            raise
        except* TransitionRefused:
            log.warning("message %s was moved by somebody else", incoming.message_id)
        except* Exception:
            log.exception("message %s is left for the next launch", incoming.message_id)

    @asynccontextmanager
    async def _unpaused(self) -> AsyncIterator[None]:
        """The block begins when the employee may work; until then a message stays as it was stored."""
        await self._pause.over()
        yield

    @asynccontextmanager
    async def _slot(self, room: asyncio.Semaphore | None = None) -> AsyncIterator[None]:
        """The block is one of those that may work at a time."""
        async with room or self._parallel:
            if self._draining:  # what has not begun is for the next launch
                raise asyncio.CancelledError
            yield

    async def _interrupt(self, incoming: Incoming) -> None:
        """Have what is in work of the conversation give way."""
        for message_id in await patiently(lambda: self._waiting.interrupt(incoming)):
            await patiently(partial(self._ending.hurry, message_id))

    async def _work_of(self, incoming: Incoming, row: Any) -> Work:
        """What is known of a claimed message, with what it is answered for as well."""
        work, collects = Work(incoming, context_version=row["context_version"]), row["collects"]
        if self.when_busy == "collect":
            await patiently(lambda: self._waiting.collect(incoming))
            collects = True
        if collects:
            work.collected = await patiently(lambda: self._taking.collected(incoming.message_id))
        return work

    async def _claim(self, incoming: Incoming) -> tuple[Unit, Work] | None:
        row = await patiently(lambda: self._taking.claim(incoming.message_id), "a claim")
        if row is None:
            return None
        unit = Unit(
            machine="message",
            unit_id=incoming.message_id,
            message_id=incoming.message_id,
            place=Place("received", "security_filter"),
            attempt=1,
            queued_at=row["queued_at"],
            started_at=time.time(),
        )
        return unit, await self._work_of(incoming, row)

    # What was answered

    async def _stop(self, message_id: UUID) -> None:
        await patiently(lambda: self._ending.hurry(message_id))
        await self._take_up()

    async def _take_up(self) -> None:
        """Go on with what waited and has an answer that nobody has taken, or that somebody wants stopped."""
        async with self._taking_up:
            for left in [*await patiently(self._taking.answered), *await patiently(self._taking.to_be_stopped)]:
                if left.unit.unit_id in self._resuming | self._live:
                    self._resume_again = True  # once that has come to its end
                elif left.unit.machine == "worker":
                    self._go_on_late(left)
                else:
                    turn = self._enter(left.work.message)
                    self._start(self._go_on_sorted(left, turn), left.unit.message_id)

    def _go_on_late(self, left: Left) -> None:
        self._resuming.add(left.unit.unit_id)
        self._start(self._finish_part(left), left.unit.message_id)

    async def _finish_part(self, left: Left) -> None:
        """A part whose message is merged, to its end."""
        try:
            async with self._bounded(left.work.message):
                async with self._slot_after(left):
                    unit = await self._stepper.finish(await self._resumed(left), left.work)
                if unit.place == BACKGROUND:
                    async with self._slot(self._background):
                        await self._see_to_its_end(unit, left.work)
            self._hand_over(left.unit.message_id, "")
        finally:
            self._resuming.discard(left.unit.unit_id)
            self._resume_what_came_meanwhile()

    async def _go_on_sorted(self, left: Left, turn: asyncio.Event) -> None:
        """A message that a person has sorted."""
        async with self._in_turn(left.work.message, turn), self._slot():
            if left.answer is None:
                await self._see_through(await self._stopped(left), left.work, [])
            else:
                move = await self._stepper.commit(left.work, resumed(left.unit, left.work, left.answer))
                await self._see_through(move.after, left.work, forked(move, left.work))

    async def _resumed(self, left: Left) -> Unit:
        if left.unit.place.state == "running":
            return left.unit
        if left.answer is None:
            return await self._stopped(left)
        return (await self._stepper.commit(left.work, resumed(left.unit, left.work, left.answer))).after

    async def _stopped(self, left: Left) -> Unit:
        """The end of a unit that waited."""
        move = await patiently(lambda: self._ending.move(left.work, left.unit, None))
        if move is None:
            return left.unit
        unit = await self._transitions.commit(move)
        tell_of(left.work, move)
        return unit

    @asynccontextmanager
    async def _slot_after(self, left: Left) -> AsyncIterator[None]:
        """A slot; what ran when a process died has it alone."""
        async with AsyncExitStack() as held:
            if left.lost:
                await held.enter_async_context(self._alone)
            await held.enter_async_context(self._slot())
            yield

    def _resume_what_came_meanwhile(self) -> None:
        if self._resume_again:
            self._resume_again = False
            self.resume()

    # The way through

    async def _see_through(self, unit: Unit, work: Work, workers: list[Unit]) -> None:
        """Move a claimed message as far as this process can."""
        self._claimed.add(unit.message_id)
        while unit.place.state in WORKED_ON:
            unit, workers = await self._stepper.advance(unit, work, workers)
        self._hand_over(unit.message_id, unit.place.state)
        self._claimed.discard(unit.message_id)
        work.merged = True
        for part in workers:
            if part.place == BACKGROUND:
                self._go_on_late(Left(part, work, [], lost=False))
        if unit.place.state == "collected" or any(part.place.state in DECIDED for part in workers):
            self.resume()  # what was answered before this was over

    async def _see_to_its_end(self, unit: Unit, work: Work) -> None:
        """Finish what goes on in the background, or, at a drain, the stretch that it is in."""
        while unit.place.state == "running" and not (self._draining and unit.place == BACKGROUND):
            unit = (await self._stepper.step(unit, work)).after

    # Who is here

    def _start(self, way: Coroutine[Any, Any, None], message_id: UUID | None) -> None:
        assert self._group is not None
        task = self._group.create_task(way, name=f"message {message_id}" if message_id else "answers")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _enter(self, incoming: Incoming) -> asyncio.Event:
        """Note the message as live and give it its turn in the conversation."""
        self._live.add(incoming.message_id)
        return self._turns.enter(incoming.conversation_id)

    def _leave(self, incoming: Incoming, turn: asyncio.Event) -> None:
        self._turns.leave(incoming.conversation_id, turn)
        self._live.discard(incoming.message_id)

    def _acknowledge(self, message_id: UUID) -> None:
        self._send(pb.AgentFrame(ack=pb.Ack(message_id=str(message_id))))

    def _hand_over(self, message_id: UUID, state: str) -> None:
        self._send(pb.AgentFrame(outbox_ready=pb.OutboxReady(message_id=str(message_id), message_state=state)))
        if state != "withheld":  # of that nothing is remembered
            self._on_handled()
