"""Transactions of employees that last too long: what they lock holds up others, so their connections are ended.

The longest that an employee needs takes moments. One that is taken over may keep what others wait for, such as its tenant's
budget of the day or its own epoch; one that is frozen does so without meaning to.
"""

import logging

from controlplane.rounds import every
from empla.store.connect import Pool, load_queries, translated

log = logging.getLogger(__name__)

SQL = load_queries("controlplane", "strays.sql")
LONGEST_SECONDS = 60.0
"""Twice what a statement of an employee may take before it is given up."""
HELD_UP_SECONDS = 8.0
"""A transaction as old as this is ended when somebody has waited for it as long; before who waits gives up."""
QUEUE_SHARE = 0.1
"""Of the queue that notifications share: when all of it is full, no transaction that notifies somebody commits."""
ROUND_SECONDS = 10.0


class Strays:
    """Ends them in rounds; `longest` and `held_up` are in seconds, `queue` is a share of 1."""

    def __init__(
        self,
        pool: Pool,
        *,
        longest: float = LONGEST_SECONDS,
        held_up: float = HELD_UP_SECONDS,
        queue: float = QUEUE_SHARE,
    ) -> None:
        self._pool, self._limits = pool, (longest, held_up, queue)

    async def run(self) -> None:
        """Look until cancelled."""
        await every(ROUND_SECONDS, self.round, name="transactions of employees that last too long")

    async def round(self) -> None:
        """Look once; raises `StoreUnavailable`."""
        with translated():
            ended = await self._pool.fetch(SQL.end_stray, *self._limits)
        for row in ended:
            log.warning(
                "a transaction of %s lasted for too long; its connection was ended, for %s", row["role"], row["why"]
            )
