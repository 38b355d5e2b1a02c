"""The proactive loop: perceive, think, act, sleep. A wake event cuts the sleep short; an idle cycle costs nothing."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from agent.errors import Superseded
from agent.identity import Identity
from agent.memory import Memories
from agent.mind.beliefs import Beliefs
from agent.mind.consolidation import Consolidation
from agent.mind.extraction import Extracted, Happened, extracted
from agent.mind.importance import importances
from agent.mind.revision import Change, Revised
from agent.models.interface import Model, ModelError
from agent.models.metered import metering
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id
from empla.store.outage import Outage

log = logging.getLogger(__name__)

SQL = load_queries("agent", "loop.sql")
MAX_EVENTS = 100
MAX_KNOWN = 40
"""Beliefs that a model is shown beside the events, so that it speaks of the same things by the same names."""


@dataclass(frozen=True, slots=True)
class LoopTimes:
    """Seconds: between cycles, after one that failed, and at most for one."""

    cycle: float = 300.0
    error_backoff: float = 60.0
    max_cycle: float = 120.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: a message was handled, an operator woke the employee."""

    event_id: int
    kind: str
    payload: dict[str, Any]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Intention:
    """What was decided in a cycle: episodes to remember with their sources, changed beliefs, and refused proposals."""

    episodes: tuple[tuple[str, str], ...]
    changes: tuple[Revised, ...] = ()
    refused: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For the cycle's record."""
        believed = [
            {"change": one.change, "belief": one.belief.in_words(), "confidence": one.belief.confidence, "why": one.why}
            for one in self.changes
        ]
        remembered = [{"episode": text, "source": source} for text, source in self.episodes]
        record = {"remember": remembered, "believe": believed, "refused": list(self.refused)}
        return {name: items for name, items in record.items() if items}


class ProactiveLoop:
    """The loop of one launch of one employee. Each phase is committed before the next begins.

    `model` reads what events tell; without one, no beliefs are formed.
    """

    def __init__(self, pool: Pool, identity: Identity, memories: Memories, beliefs: Beliefs, times: LoopTimes) -> None:
        self._pool, self._identity, self._memories, self._beliefs = pool, identity, memories, beliefs
        self.consolidation = Consolidation(pool, identity, memories)
        self.times = times
        self.model: Model | None = None
        self._woken = asyncio.Event()
        self._outage = Outage(log, "the cycle")
        self.phase = "sleep"

    def wake(self) -> None:
        """Begin the next cycle now."""
        self._woken.set()

    async def run(self) -> None:
        """Cycle until cancelled. A cycle that fails or takes too long is recorded, and the loop goes on."""
        while True:
            # Cleared before the table is read: what happens from here on wakes the next cycle.
            self._woken.clear()
            pause = self.times.cycle
            try:
                async with asyncio.timeout(self.times.max_cycle):
                    try:
                        await self.cycle()
                    except ModelError:
                        await self._memories.tend()  # which needs no such model; there is a pause before the next
                        raise
                    if await self._memories.tend():
                        self.wake()
                    await self.consolidation.tend(self.model)
                self._outage.over()
            except StoreUnavailable as error:
                self._outage.lasts(error)
                pause = min(self.times.error_backoff, 5.0)
            except TimeoutError:
                log.warning("a cycle took longer than %g s and was cancelled", self.times.max_cycle)
                pause = self.times.error_backoff
            except Superseded:
                raise
            except Exception:
                log.exception("a cycle failed")
                pause = self.times.error_backoff
            await self._sleep(pause)

    async def cycle(self) -> str:
        """One cycle; returns its outcome. When nothing happened since the last one, nothing is written."""
        self.phase = "perceive"
        events = await self._perceive()
        if not events:
            return "nothing_to_do"
        cycle_id = await self._begin()
        try:
            await self._keep(SQL.end_perceive, cycle_id, [event.event_id for event in events])
            self.phase = "think"
            intention = await self._think(cycle_id, events)
            self.phase = "act"
            await self._act(events)
            outcome = "acted" if intention.episodes or intention.changes else "nothing_to_do"
            await self._keep(SQL.end_act, cycle_id, outcome, [event.event_id for event in events])
        except (StoreUnavailable, Superseded):
            raise
        except BaseException as error:
            if isinstance(error, ModelError):
                await self._act(events)  # what happened is remembered all the same; what it tells is read later
            # The next cycle closes what stays open. A cancellation must not turn into another error.
            quiet = (StoreUnavailable,) if isinstance(error, Exception) else (StoreUnavailable, Superseded)
            with suppress(*quiet):
                await self._keep(SQL.fail_cycle, cycle_id, f"{type(error).__name__}: {error}"[:1000])
            raise
        return outcome

    async def _perceive(self) -> list[Event]:
        with translated():
            rows = await self._pool.fetch(SQL.new_events, self._identity.employee_id, MAX_EVENTS)
        return [Event(row["event_id"], row["kind"], row["payload"], row["occurred_at"]) for row in rows]

    async def _begin(self) -> UUID:
        with translated():
            cycle_id: UUID | None = await self._pool.fetchval(
                SQL.begin_cycle, new_id(), self._identity.employee_id, self._identity.epoch
            )
        if cycle_id is None:
            raise Superseded("a newer launch owns this employee")
        return cycle_id

    async def _think(self, cycle_id: UUID, events: Sequence[Event]) -> Intention:
        """Decide, and keep what was decided together with the beliefs that it changes."""
        with metering() as spent:
            found = await self._read([Happened(*_episode(event)) for event in events if _tells(event)])
        usage = [response.usage for response in spent]
        cost = (
            ", ".join(sorted({response.model for response in spent})),
            sum(one.input for one in usage),
            sum(one.output for one in usage),
            sum(one.cost_micros or 0 for one in usage),
        )
        try:
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    episodes = _episodes(await self._still_there(connection, events))
                    told = {source for _, source in episodes}
                    seen = [one for one in found.seen if one.source in told]
                    wanted = await self._beliefs.revisions(connection, seen)
                    changes = await self._beliefs.write(connection, cycle_id, wanted)
                    for one in changes:
                        await self._follow(connection, one)
                    intention = Intention(episodes, tuple(changes), found.refused)
                    await self._keep(SQL.end_think, cycle_id, intention.as_json(), *cost, connection=connection)
        except BaseException:
            self._beliefs.reread()  # whether it was committed is not known
            raise
        self._beliefs.took(changes)
        return intention

    async def _still_there(self, connection: AnyConnection, events: Sequence[Event]) -> list[Event]:
        """Those that nobody has had forgotten since they were perceived, nor can before the transaction ends."""
        ids = [event.event_id for event in events]
        rows = await connection.fetch(SQL.hold_events, ids, self._identity.employee_id)
        there = {row["event_id"] for row in rows}
        return [event for event in events if event.event_id in there]

    async def _read(self, happened: Sequence[Happened]) -> Extracted:
        """What the events tell that have not been read before."""
        if self.model is None or not happened:
            return Extracted()
        fresh = set(await self._beliefs.unconsidered([one.source for one in happened]))
        unread = [one for one in happened if one.source in fresh]
        if not unread:
            return Extracted()
        try:
            notes = [note.content for note in await self._memories.working.all()]
            return await extracted(self.model, unread, await self._beliefs.latest(MAX_KNOWN), notes)
        except ModelError as error:
            if error.retryable:
                raise
            return Extracted(refused=(f"{type(error).__name__}: {error}"[:500],))

    async def _follow(self, connection: AnyConnection, change: Revised) -> None:
        """Semantic memory has the beliefs that are facts: it learns what becomes one, and unlearns what changes."""
        belief, source = change.belief, f"belief:{change.belief.belief_id}"
        if change.change is Change.PROMOTED:
            await self._memories.relearn(connection, source, belief.in_words(), belief.importance)
        elif change.change in (Change.REVISED, Change.DROPPED):
            await self._memories.relearn(connection, source, "", 0)

    async def _act(self, events: Sequence[Event]) -> None:
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                there = [one for one in await self._still_there(connection, events) if one.kind == "message_handled"]
                asked = {_episode(event)[1]: _tells(event) for event in there}
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


def _tells(event: Event) -> bool:
    """Whether somebody says something in it: a run of a schedule only repeats what was said when it was asked for."""
    return event.kind == "message_handled" and not event.payload.get("is_run", False)


def _episodes(events: Sequence[Event]) -> tuple[tuple[str, str], ...]:
    return tuple(_episode(event) for event in events if event.kind == "message_handled")


def _episode(event: Event) -> tuple[str, str]:
    said = event.payload
    text = f"On {event.occurred_at:%Y-%m-%d} {said['sender']} wrote: {said['asked']}\nI answered: {said['answered']}"
    return text, f"message:{said['message_id']}"
