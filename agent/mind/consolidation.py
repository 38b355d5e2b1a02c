"""What an employee makes of its memories when it has nothing else to do: procedures, facts; and it lets episodes fade."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID

from agent.errors import Superseded
from agent.identity import Identity
from agent.mind.facts import Facts, Look, Remembers
from agent.mind.procedures import Lesson, Procedures
from agent.models.interface import Model, ModelResponse
from agent.models.metered import metering, taken
from agent.moments import Reflected, tell
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id

SQL = load_queries("agent.mind", "consolidation.sql")
LEARN_SECONDS = 60.0
"""Between two looks at what was done; a look without news asks no model."""
LOOKS = 2
"""After something happened: a message that is off the employee's hands ends a little later."""
GENERALISE_SECONDS = 600.0
FADE_SECONDS = 3600.0
MAX_FADED = 500
"""Episodes that fade at once; what is left then follows with the next cycle."""


class Remembering(Remembers, Protocol):
    """What consolidation has of `Memories`."""

    procedures: Procedures


class Pace:
    """When something is due again; at once after a start."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self, seconds: float) -> bool:
        """Whether `seconds` have passed since it last was."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + seconds
        return True

    def again(self) -> None:
        """It is due at once."""
        self._next = 0.0


class Consolidation:
    """Learns while `idle` says that no message is in work. What comes of it is recorded as a cycle of its own."""

    def __init__(self, pool: Pool, identity: Identity, memories: Remembering) -> None:
        self._pool, self._identity, self._memories = pool, identity, memories
        self._facts = Facts(pool, identity)
        self._fading, self._learning, self._generalising = Pace(), Pace(), Pace()
        self._unlearnt = True  # there may be work from before the start
        self._looks, self._unread = LOOKS, True
        self.idle: Callable[[], bool] = lambda: True

    def happened(self) -> None:
        """There is something new to learn from."""
        self._looks, self._unread = LOOKS, True

    async def tend(self, model: Model | None) -> None:
        """Do what is due; `model` finds the words. Raises `Superseded` and `StoreUnavailable`."""
        if self._fading.due(FADE_SECONDS):
            await self._fade()
        if (self._looks or self._unlearnt) and self.idle() and self._learning.due(LEARN_SECONDS):
            self._looks = max(0, self._looks - 1)
            await self._learn(model)
        if model is not None and self._unread and self.idle() and self._generalising.due(GENERALISE_SECONDS):
            await self._generalise(model)
            self._unread = self._facts.away

    async def _fade(self) -> None:
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                faded: int | None = await connection.fetchval(SQL.fade, *self._us, MAX_FADED)
                if faded is None:
                    raise Superseded("a newer launch owns this employee")
                if faded:
                    await self._record(connection, {"fade": faded})
        if faded == MAX_FADED:
            self._fading.again()

    async def _learn(self, model: Model | None) -> None:
        procedures = self._memories.procedures
        if not await procedures.note_runs() and not self._unlearnt:
            return
        self._unlearnt = True
        with metering() as spent:
            lesson = await procedures.lesson(model)
        if lesson.counts or lesson.work:
            await self._write(lesson, spent)
        self._unlearnt = lesson.away

    async def _write(self, lesson: Lesson, spent: Sequence[ModelResponse]) -> None:
        procedures = self._memories.procedures
        try:
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    await self._hold(connection)
                    changed = await procedures.write(connection, lesson)
                    learnt = [
                        {"procedure": one.in_words(), "state": one.state, "runs": one.runs, "successes": one.successes}
                        for one in changed
                    ]
                    await self._record(connection, {"learn": learnt, "refused": list(lesson.worded.refused)}, spent)
        finally:
            procedures.reread()
        for one in changed:
            tell(Reflected, conclusion=f"{one.state}: {one.in_words()}")

    async def _generalise(self, model: Model) -> None:
        with metering() as spent:
            look = await self._facts.look(model)
        if look is not None:
            await self._keep(look, spent)

    async def _keep(self, look: Look, spent: Sequence[ModelResponse]) -> None:
        cycle_id = new_id()
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await self._hold(connection)
                facts, refused = await self._facts.write(connection, look, f"consolidation:{cycle_id}", self._memories)
                found = [{"fact": fact.text, "rests_on": list(fact.sources)} for fact in facts]
                what = {"generalise": found, "read": len(look.episodes), "refused": refused}
                await self._record(connection, what, spent, cycle_id)
        for fact in facts:
            tell(Reflected, conclusion=fact.text)

    async def _hold(self, connection: AnyConnection) -> None:
        """Hold this launch until the transaction ends, before anything that somebody may be about to have forgotten."""
        if await connection.fetchval(SQL.fence, *self._us) is None:
            raise Superseded("a newer launch owns this employee")

    async def _record(
        self,
        connection: AnyConnection,
        what: dict[str, Any],
        spent: Sequence[ModelResponse] = (),
        cycle_id: UUID | None = None,
    ) -> None:
        told = {name: value for name, value in what.items() if value}
        if not (told or spent):
            return
        if await connection.fetchval(SQL.record, cycle_id or new_id(), told, *taken(spent), *self._us) is None:
            raise Superseded("a newer launch owns this employee")

    @property
    def _us(self) -> tuple[Any, int]:
        return self._identity.employee_id, self._identity.epoch
