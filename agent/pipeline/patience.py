"""Waiting for a database that is away: what was decided about work is not lost by it, only later."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from empla.store.errors import StoreUnavailable

log = logging.getLogger(__name__)

STORE_RETRY_SECONDS = 0.5


async def patiently[T](what: Callable[[], Awaitable[T]]) -> T:
    """What `what` gives, called again until the database is there."""
    while True:
        try:
            return await what()
        except StoreUnavailable as error:
            log.warning("the database is away, what was decided about work waits: %s", error)
            await asyncio.sleep(STORE_RETRY_SECONDS)
