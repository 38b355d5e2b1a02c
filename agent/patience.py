"""Waiting for a database that is away: what was decided is not lost by it, only done later."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agent.moments import tell_health
from empla.store.errors import StoreUnavailable
from empla.store.outage import Outage

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


async def patiently[T](what: Callable[[], Awaitable[T]], waiting: str = "what was decided about work") -> T:
    """What `what` gives, called again until the database is there; `waiting` names it in the log, as for an `Outage`."""
    outage = Outage(log, waiting)
    while True:
        try:
            found = await what()
        except StoreUnavailable as error:
            outage.lasts(error)
            tell_health("database", str(error))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            outage.over()
            tell_health("database")
            return found
