"""The proactive loop: perceive, think, plan, act, sleep. A wake event cuts the sleep short; an idle cycle costs nothing."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from agent.errors import Paused, Superseded
from agent.identity import Identity
from agent.memory import Memories
from agent.mind.agenda import Agenda, EndedStep
from agent.mind.beliefs import Beliefs
from agent.mind.consolidation import Consolidation
from agent.mind.extraction import DEADLINE, Extracted, Happened, extracted, unread
from agent.mind.goals import Goal, GoalState
from agent.mind.importance import importances
from agent.mind.planning import Plan, planned
from agent.mind.revision import Change, Revised, shifts
from agent.mind.unread import Unread
from agent.models.interface import Model, ModelError
from agent.models.metered import metering, taken
from agent.moments import PerceptionEnded, PerceptionStarted, PlanningEnded, PlanningStarted, cycling, tell, tell_health
from agent.pausing import Pause
from empla.hours import ActiveHours
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id
from empla.store.outage import Outage

log = logging.getLogger(__name__)

SQL = load_queries("agent", "loop.sql")
ALWAYS = ActiveHours()
MAX_EVENTS = 25
"""Of one cycle, so that what they tell fits into one answer; what is left is for the next, which then follows at once."""
FORGOTTEN = Plan(refused=("something was forgotten while it was planned",), answered=False)
"""In place of a plan that may tell of it."""
MAX_KNOWN = 40
"""Beliefs that a model is shown beside the events, so that it speaks of the same things by the same names."""


@dataclass(frozen=True, slots=True)
class LoopTimes:
    """Seconds: between cycles, after one that failed, at most for one, and between plans.

    A plan is made every `planning` seconds; when something asks for one, not before the last is `replan` old. Of the plans
    `at_once` are carried out side by side, and what nobody asks for is begun in the active `hours`, None: never.
    """

    cycle: float = 300.0
    error_backoff: float = 60.0
    max_cycle: float = 120.0
    planning: float = 86_400.0
    replan: float = 600.0
    at_once: int = 1
    hours: ActiveHours | None = ALWAYS


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: a message was handled, an operator woke the employee."""

    event_id: int
    kind: str
    payload: dict[str, Any]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Thought:
    """What a cycle made of what happened: episodes to remember with their sources, changed beliefs, refused proposals.

    `unread`: the sources of what the model has not read.
    """

    episodes: tuple[tuple[str, str], ...]
    changes: tuple[Revised, ...] = ()
    refused: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """For the cycle's record."""
        believed = [
            {"change": one.change, "belief": one.belief.in_words(), "confidence": one.belief.confidence, "why": one.why}
            for one in self.changes
        ]
        remembered = [{"episode": text, "source": source} for text, source in self.episodes]
        record = {"remember": remembered, "believe": believed, "refused": list(self.refused)}
        return {name: items for name, items in record.items() if items}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a cycle has before it: what happened, and steps of plans that have ended."""

    events: list[Event]
    ended: list[EndedStep]


class ProactiveLoop:
    """The loop of one launch of one employee. Each phase is committed before the next begins.

    `model` reads what events tell, and plans; without one, no beliefs are formed, and nothing is planned.
    """

    def __init__(self, pool: Pool, identity: Identity, memories: Memories, beliefs: Beliefs, agenda: Agenda) -> None:
        self._pool, self._identity, self._memories = pool, identity, memories
        self._beliefs, self._agenda = beliefs, agenda
        self.consolidation = Consolidation(pool, identity, memories)
        self.times = LoopTimes()
        self.pause = Pause()
        self.model: Model | None = None
        self._unread = Unread()
        self._woken = asyncio.Event()
        self._outage = Outage(log, "the cycle")
        self.phase = "sleep"

    def wake(self) -> None:
        """Begin the next cycle now."""
        self._woken.set()

    def reread(self) -> None:
        """What is believed, wanted and planned may have been changed by others."""
        self._beliefs.reread()
        self._agenda.reread()

    async def run(self) -> None:
        """Cycle until cancelled. A cycle that fails or takes too long is recorded, and the loop goes on."""
        while True:
            await self.pause.over()
            # Cleared before the table is read: what happens from here on wakes the next cycle.
            self._woken.clear()
            pause = self.times.cycle
            try:
                try:
                    async with asyncio.timeout(self.times.max_cycle):
                        if await cycling(self.cycle()) != "nothing_to_do":
                            self.consolidation.happened()
                except ModelError:
                    await self._memories.tend()  # which needs no such model; there is a pause before the next
                    raise
                async with asyncio.timeout(self.times.max_cycle):
                    if await self._memories.tend():
                        self.wake()
                    await self.consolidation.tend(self.model)
                self._outage.over()
                tell_health("database")
            except StoreUnavailable as error:
                self._outage.lasts(error)
                tell_health("database", str(error))
                pause = min(self.times.error_backoff, 5.0)
            except TimeoutError:
                log.warning("a cycle took longer than %g s and was cancelled", self.times.max_cycle)
                pause = self.times.error_backoff
            except Superseded:
                raise
            except Paused:
                if self.pause.on:
                    continue
                pause = self.times.error_backoff
            except Exception:
                log.exception("a cycle failed")
                pause = self.times.error_backoff
            await self._sleep(pause)

    async def cycle(self) -> str:
        """One cycle; returns its outcome. When nothing happened and nothing is due, nothing is written."""
        self.phase = "perceive"
        tell(PerceptionStarted)
        seen = await self._perceive()
        tell(PerceptionEnded, events=len(seen.events) if seen else 0)
        if seen is None:
            return "nothing_to_do"
        cycle_id = await self._begin()
        event_ids = [event.event_id for event in seen.events]
        dealt_with: list[int] = []
        try:
            await self._keep(SQL.end_perceive, cycle_id, event_ids)
            self.phase = "think"
            thought = await self._think(cycle_id, seen)
            missed = {
                one.event_id: one.occurred_at
                for one in seen.events
                if _tells(one) and _episode(one)[1] in thought.unread
            }
            kept = self._unread.keep(missed)
            dealt_with = [one for one in event_ids if one not in kept]  # what was read is not read again
            self.phase = "plan"
            decided = await self._plan(cycle_id)
            self.phase = "act"
            begun = await self._act(seen.events)
            outcome = "acted" if thought.episodes or thought.changes or decided or begun else "nothing_to_do"
            await self._keep(SQL.end_act, cycle_id, outcome, dealt_with, {"begin": begun} if begun else {})
        except (StoreUnavailable, Superseded):
            raise
        except Paused as error:
            with suppress(StoreUnavailable):
                await self._keep(SQL.end_act, cycle_id, error.outcome, [], {})  # its events are for the next
            raise
        except BaseException as error:
            if isinstance(error, ModelError):
                await self._act(seen.events)  # what happened is remembered all the same; what it tells is read later
            # The next cycle closes what stays open. A cancellation must not turn into another error.
            quiet = (StoreUnavailable,) if isinstance(error, Exception) else (StoreUnavailable, Superseded)
            with suppress(*quiet):
                why = f"{type(error).__name__}: {error}"[:1000]
                await self._keep(SQL.fail_cycle, cycle_id, why, dealt_with if isinstance(error, ModelError) else [])
            raise
        if len(event_ids) == MAX_EVENTS:
            self.wake()
        return outcome

    async def _perceive(self) -> Seen | None:
        """What happened since the last cycle; None when that is nothing, and nothing is due either."""
        with translated():
            rows = await self._pool.fetch(
                SQL.new_events, self._identity.employee_id, MAX_EVENTS, self._unread.waiting()
            )
        events = [Event(row["event_id"], row["kind"], row["payload"], row["occurred_at"]) for row in rows]
        ended = await self._agenda.ended_steps()
        return Seen(events, ended) if events or ended or await self._is_due() else None

    async def _is_due(self) -> bool:
        now = datetime.now(UTC)
        if any(goal.deadline and goal.deadline <= now for goal in (await self._agenda.goals()).values()):
            return True
        return bool(await self._why_plan(now)) or (
            self._works_at(now) and await self._agenda.startable(self.times.at_once)
        )

    async def _why_plan(self, now: datetime) -> str:
        if self.model is None or not self._works_at(now):
            return ""
        every, again = timedelta(seconds=self.times.planning), timedelta(seconds=self.times.replan)
        return await self._agenda.why_plan(now, every, again)

    def _works_at(self, now: datetime) -> bool:
        return self.times.hours is not None and self.times.hours.contains(now)

    async def _begin(self) -> UUID:
        with translated():
            cycle_id: UUID | None = await self._pool.fetchval(
                SQL.begin_cycle, new_id(), self._identity.employee_id, self._identity.epoch
            )
        if cycle_id is None:
            raise Superseded("a newer launch owns this employee")
        return cycle_id

    async def _think(self, cycle_id: UUID, seen: Seen) -> Thought:
        """What happened, read for what it means; kept together with what it changes of beliefs, steps and goals."""
        with metering() as spent:
            found = await self._read([Happened(*_episode(event)) for event in seen.events if _tells(event)])
        try:
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    episodes = _episodes(await self._still_there(connection, seen.events))
                    told = {source for _, source in episodes}
                    before = await self._beliefs.after(connection, ())
                    wanted = await self._beliefs.revisions(
                        connection, [one for one in found.seen if one.source in told]
                    )
                    changes = await self._beliefs.write(connection, cycle_id, wanted)
                    for one in changes:
                        await self._follow(connection, one)
                    believed = await self._beliefs.after(connection, changes)
                    asks = shifts(before, changes, datetime.now(UTC))
                    asks += await self._agenda.settle(connection, seen.ended)
                    moved = await self._agenda.assess(connection, cycle_id, believed)
                    asks += [
                        f"the goal {after.text[:100]!r} has fallen back"
                        for before, after in moved
                        if _fell(before, after)
                    ]
                    if asks:
                        await self._agenda.want_plan(connection, "; ".join(asks))
                    thought = Thought(episodes, tuple(changes), found.refused, found.unread)
                    await self._keep(SQL.end_think, cycle_id, thought.as_json(), *taken(spent), connection=connection)
        except BaseException:
            self._beliefs.reread()  # whether it was committed is not known
            self._agenda.took(committed=False)
            raise
        self._beliefs.took(changes)
        if asks or moved or seen.ended:
            self._agenda.took()
        return thought

    async def _plan(self, cycle_id: UUID) -> bool:
        """Make a plan, if there has to be one; whether it changes anything."""
        why = await self._why_plan(datetime.now(UTC))
        if not why or self.model is None:
            return False
        tell(PlanningStarted, why=why)
        outlook = await self._agenda.outlook(why, await self._beliefs.latest(MAX_KNOWN))
        with metering() as spent:
            try:
                plan = await planned(self.model, outlook)
            except ModelError as error:
                if error.retryable:
                    raise
                plan = Plan(refused=(f"{type(error).__name__}: {error}"[:500],), answered=False)
        try:
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    if not await self._agenda.still_stands(connection, outlook.forgets):
                        plan, why = FORGOTTEN, FORGOTTEN.refused[0]
                        await self._agenda.want_plan(connection, why)
                    believed = await self._beliefs.after(connection, ())
                    await self._agenda.assess(connection, cycle_id, believed, plan.judged)
                    made = await self._agenda.intend(connection, cycle_id, plan, why)
                    record = {"plan": {"why": why, **plan.as_json(made)}}
                    await self._keep(SQL.end_plan, cycle_id, record, *taken(spent), connection=connection)
        except BaseException:
            self._agenda.took(committed=False)
            raise
        self._agenda.took()
        tell(PlanningEnded, intentions=len(made))
        return bool(made or plan.given_up or plan.judged)

    async def _still_there(self, connection: AnyConnection, events: Sequence[Event]) -> list[Event]:
        """Those that nobody has had forgotten since they were perceived, nor can before the transaction ends."""
        await self._agenda.hold(connection)
        ids = [event.event_id for event in events]
        rows = await connection.fetch(SQL.hold_events, ids, self._identity.employee_id)
        there = {row["event_id"] for row in rows}
        return [event for event in events if event.event_id in there]

    async def _read(self, happened: Sequence[Happened]) -> Extracted:
        """What the events tell that have not been read before."""
        if self.model is None or not happened:
            return Extracted()
        fresh = set(await self._beliefs.unconsidered([one.source for one in happened]))
        new = [one for one in happened if one.source in fresh]
        if not new:
            return Extracted()
        try:
            notes = [note.content for note in await self._memories.working.all()]
            known = await self._beliefs.latest(MAX_KNOWN)
            return await extracted(self.model, new, known, notes, deadline=min(DEADLINE, self.times.max_cycle / 2))
        except ModelError as error:
            if error.retryable:
                raise
            return unread(new, error)

    async def _follow(self, connection: AnyConnection, change: Revised) -> None:
        """Semantic memory has the beliefs that are facts: it learns what becomes one, and unlearns what changes."""
        belief, source = change.belief, f"belief:{change.belief.belief_id}"
        if change.change is Change.PROMOTED:
            await self._memories.relearn(connection, source, belief.in_words(), belief.importance)
        elif change.change in (Change.REVISED, Change.DROPPED):
            await self._memories.relearn(connection, source, "", 0)

    async def _act(self, events: Sequence[Event]) -> list[str]:
        """Remember what happened, and begin the next steps of plans; returns the titles of these."""
        begun = []
        try:
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    await self._remember(connection, events)
                    if self._works_at(datetime.now(UTC)):
                        begun = await self._agenda.begin(connection, self.times.at_once)
        except BaseException:
            self._agenda.took(committed=False)
            raise
        if begun:
            self._agenda.took()
        return [one.title for one in begun]

    async def _remember(self, connection: AnyConnection, events: Sequence[Event]) -> None:
        there = [one for one in await self._still_there(connection, events) if one.kind == "message_handled"]
        asked = {_episode(event)[1]: not event.payload.get("is_run", False) for event in there}
        important = await importances(connection, self._identity.employee_id, asked)
        for episode, source in _episodes(there):
            weight = important[source]
            await self._memories.remember(
                episode, kind="episodic", source=source, importance=weight, connection=connection
            )

    async def _keep(
        self, statement: str, cycle_id: UUID, *values: Any, connection: AnyConnection | None = None
    ) -> None:
        identity = self._identity
        with translated():
            kept = await (connection or self._pool).fetchval(
                statement, cycle_id, *values, identity.employee_id, identity.epoch
            )
        if kept is None:
            raise Superseded("a newer launch owns this employee or has closed the cycle")

    async def _sleep(self, seconds: float) -> None:
        self.phase = "sleep"
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return


def _fell(before: Goal, after: Goal) -> bool:
    return after.state is GoalState.ACTIVE and after.progress < before.progress


def _tells(event: Event) -> bool:
    """Whether it may tell something new: a run of a schedule only repeats what was said when it was asked for."""
    return event.kind == "message_handled" and (
        bool(event.payload.get("step")) or not event.payload.get("is_run", False)
    )


def _episodes(events: Sequence[Event]) -> tuple[tuple[str, str], ...]:
    return tuple(_episode(event) for event in events if event.kind == "message_handled")


def _episode(event: Event) -> tuple[str, str]:
    said, day = event.payload, f"{event.occurred_at:%Y-%m-%d}"
    if said.get("step"):
        text = f"On {day} I did of my own: {said['asked']}\nWhat came out: {said['answered']}"
    else:
        text = f"On {day} {said['sender']} wrote: {said['asked']}\nI answered: {said['answered']}"
    return text, f"message:{said['message_id']}"
