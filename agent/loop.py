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
from empla.store.connect import Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id
from empla.store.outage import Outage

log = logging.getLogger(__name__)

SQL = load_queries("agent", "loop.sql")
MAX_EVENTS = 100


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
    """What the employee decided to do in this cycle: episodes to keep, with their sources."""

    episodes: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, Any]:
        """For the cycle's record."""
        return {"remember": [{"episode": text, "source": source} for text, source in self.episodes]}


class ProactiveLoop:
    """The loop of one launch of one employee. Each phase is committed before the next begins."""

    def __init__(self, pool: Pool, identity: Identity, memories: Memories, times: LoopTimes) -> None:
        self._pool, self._identity, self._memories, self.times = pool, identity, memories, times
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
                    await self.cycle()
                    if await self._memories.tend():
                        self.wake()
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
            intention = think(events)
            await self._keep(SQL.end_think, cycle_id, intention.as_json())
            self.phase = "act"
            await self._act(intention)
            outcome = "acted" if intention.episodes else "nothing_to_do"
            await self._keep(SQL.end_act, cycle_id, outcome, [event.event_id for event in events])
        except (StoreUnavailable, Superseded):
            raise
        except BaseException as error:
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

    async def _act(self, intention: Intention) -> None:
        for episode, source in intention.episodes:
            await self._memories.remember(episode, kind="episodic", source=source)

    async def _keep(self, statement: str, cycle_id: UUID, *values: Any) -> None:
        identity = self._identity
        with translated():
            kept = await self._pool.fetchval(statement, cycle_id, *values, identity.employee_id, identity.epoch)
        if kept is None:
            raise Superseded("a newer launch owns this employee or has closed the cycle")

    async def _sleep(self, seconds: float) -> None:
        self.phase = "sleep"
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return


def think(events: Sequence[Event]) -> Intention:
    """Decide what to do about what happened: each conversation turn becomes an episode that can be recalled later."""
    return Intention(tuple(_episode(event) for event in events if event.kind == "message_handled"))


def _episode(event: Event) -> tuple[str, str]:
    said = event.payload
    text = f"On {event.occurred_at:%Y-%m-%d} {said['sender']} wrote: {said['asked']}\nI answered: {said['answered']}"
    return text, f"message:{said['message_id']}"
