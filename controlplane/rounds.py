"""Rounds over a table: every so many seconds, or when the database tells that there is something to do."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from empla.store.connect import AnyConnection, Pool, connect_once, translated
from empla.store.errors import StoreUnavailable
from empla.store.outage import Outage

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
LEAST_SECONDS = 0.05
"""From one round to the next, however often something is told: anybody with a login to the database may tell."""
ANSWER_SECONDS = 5.0
"""For the connection that listens: one that stands and says nothing more gives place to another."""


async def every(seconds: float, work: Callable[[], Awaitable[object]], *, name: str) -> None:
    """Call `work` until cancelled, `seconds` after each round; what it raises ends the round and not the rounds."""
    outage = Outage(log, name)
    while True:
        try:
            await work()
            outage.over()
        except StoreUnavailable as error:
            outage.lasts(error)
        except Exception:
            log.exception("%s waits for the next round", name)
        await asyncio.sleep(seconds)


async def rounds(dsn: str, channel: str, work: Callable[[], Awaitable[float]], *, name: str, outage: Outage) -> None:
    """Call `work` until cancelled, which returns the seconds until it is called again even if nothing is told on `channel`.

    `name` is the application's name of the connection to `dsn` that listens. What `work` raises ends the round and not the
    rounds; `outage` tells of a database that is away.
    """
    while True:
        try:
            await _listen(dsn, channel, work, name, outage)
        except StoreUnavailable as error:
            outage.lasts(error)
        except Exception:
            log.exception("%s wait for the next round", name)
        await asyncio.sleep(RETRY_SECONDS)


async def in_turn[Row, Key, Done](
    pool: Pool,
    next_one: Callable[[AnyConnection, list[Key]], Awaitable[Row | None]],
    work: Callable[[AnyConnection, Row], Awaitable[Done]],
    *,
    told: Callable[[Row, Done], None],
    failed: Callable[[Row], Key],
) -> list[Key]:
    """Work on each row that `next_one` finds and locks, in a transaction of its own, until there is none.

    What came of it is `told` once it is committed. One that cannot be worked on hinders no other: what `failed` calls it is
    left out from then on, and returned. Raises `StoreUnavailable`.
    """
    aside: list[Key] = []
    while True:
        row = None
        try:
            with translated():
                async with pool.acquire() as connection, connection.transaction():
                    row = await next_one(connection, aside)
                    if row is None:
                        return aside
                    done = await work(connection, row)
        except StoreUnavailable:
            raise
        except Exception:
            if row is None:
                raise
            aside.append(failed(row))
        else:
            told(row, done)


async def _listen(dsn: str, channel: str, work: Callable[[], Awaitable[float]], name: str, outage: Outage) -> None:
    news = asyncio.Event()
    async with connect_once(dsn, application_name=name, command_timeout=ANSWER_SECONDS) as listening:
        with translated():
            await listening.add_listener(channel, lambda *_: news.set())
        listening.add_termination_listener(lambda _: news.set())
        while not listening.is_closed():
            news.clear()  # before the table is read, so that what changes meanwhile is looked at again
            began = time.monotonic()
            seconds = await work()
            with translated():
                await listening.execute("SELECT")
            outage.over()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await news.wait()
            await asyncio.sleep(max(0.0, began + LEAST_SECONDS - time.monotonic()))
