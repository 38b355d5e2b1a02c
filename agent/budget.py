"""What models may cost: the most of a call is held in the database before it, and settled to what it did cost after it.

The database decides whether there is room, for all that work at the same time, and what the budgets are: an employee
cannot write either.
"""

import asyncio
import logging
from uuid import UUID

from agent.errors import BudgetSpent, Paused, Superseded
from agent.identity import Identity
from agent.pausing import Pause
from empla.store.connect import Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id

log = logging.getLogger(__name__)

SQL = load_queries("agent", "budget.sql")
SPARE_SECONDS = 60.0
"""A hold outlives the deadline of its call by so much: it must not end before the call is settled."""
LOOK_SECONDS = 0.25
"""Between two looks for room that others hold now and may not use."""
WAIT_SECONDS = 5.0
"""For such room, within the deadline of who wants it; who waits longer begins anew."""


class Budget:
    """Holds room for the calls of one launch of one employee, where dollars or tokens are limited."""

    def __init__(self, pool: Pool, identity: Identity, pause: Pause) -> None:
        self._pool, self._identity, self.pause = pool, identity, pause
        self.in_dollars = self.in_tokens = False
        self._told: set[str] = set()
        self._unsettled: dict[UUID, tuple[int, int]] = {}

    def limits(self, *, priced: bool) -> bool:
        """Whether a call of a model, which has a price or none, needs room."""
        return self.in_tokens or (self.in_dollars and priced)

    def note_unpriced(self, model: str) -> None:
        """Say once of a model that a budget in dollars does not limit it."""
        if self.in_dollars and model not in self._told:
            self._told.add(model)
            log.warning(
                "%s has no price, so the budget in dollars does not count it: set EMPLA_MODEL_PRICES, or limit tokens",
                model,
            )

    async def hold(self, message_id: UUID | None, micros: int, tokens: int, *, seconds: float) -> UUID:
        """Hold room for a call that takes so many `seconds` at most.

        Raises `Paused` when the budget of the day is spent, or others hold what is left of it, `BudgetSpent` when that of
        the message is spent, `Superseded` and `StoreUnavailable`.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + WAIT_SECONDS
        while True:
            await self._settle()
            hold_id = new_id()
            with translated():
                came = await self._pool.fetchval(
                    SQL.hold, self._identity.epoch, hold_id, message_id, micros, tokens, seconds + SPARE_SECONDS
                )
            match came:
                case "held":
                    return hold_id
                case "wait" if clock() >= end:
                    raise Paused("others hold what is left of the budget")
                case "wait":
                    await asyncio.sleep(LOOK_SECONDS)
                    self.pause.check()
                case "message":
                    raise BudgetSpent("the budget of this message is spent; to try again grants as much once more")
                case "paused":
                    self.pause.set(paused=True)
                    raise Paused("the budget of the day is spent")
                case _:
                    raise Superseded("a newer launch owns this employee")

    async def settle(self, hold_id: UUID, micros: int, tokens: int) -> None:
        """End a hold with what the call did cost; if the database is away, before the next: what is paid for is not lost."""
        self._unsettled[hold_id] = micros, tokens
        try:
            await self._settle()
        except StoreUnavailable as error:
            log.warning("the database is away, settling what a model cost waits for the next call: %s", error)

    async def _settle(self) -> None:
        for hold_id, spent in list(self._unsettled.items()):
            with translated():
                await self._pool.execute(SQL.settle, hold_id, *spent)
            self._unsettled.pop(hold_id, None)
