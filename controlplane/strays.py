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
ROUND_SECONDS = 10.0


class Strays:
    """Ends them in rounds; `longest` is in seconds."""

    def __init__(self, pool: Pool, *, longest: float = LONGEST_SECONDS) -> None:
        self._pool, self._longest = pool, longest

    async def run(self) -> None:
        """Look until cancelled."""
        await every(ROUND_SECONDS, self.round, name="transactions of employees that last too long")

    async def round(self) -> None:
        """Look once; raises `StoreUnavailable`."""
        with translated():
            ended = await self._pool.fetch(SQL.end_long, self._longest)
        for row in ended:
            log.warning(
                "a transaction of %s lasted for over %g s; its connection was ended, for it may hold up others",
                row["role"],
                self._longest,
            )
