"""A network between a system and its database that can fall silent."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import NamedTuple

from empla.store.embedded import EmbeddedPostgres
from tests.cable import Cable, cabled_over_tcp
from tests.conftest import Database
from tests.e2e.conftest import temporary_directory


class Door(NamedTuple):
    """A cable in a thread of its own."""

    cable: Cable
    loop: asyncio.AbstractEventLoop

    def lose_answers(self) -> int:
        """See `Cable.lose_answers`; how many connections that were."""

        async def lose() -> int:
            self.cable.lose_answers()
            return self.cable.silent

        return asyncio.run_coroutine_threadsafe(lose(), self.loop).result(10)

    @contextmanager
    def shut(self) -> Iterator[None]:
        """What is said in the block arrives after it, if whoever said it has not been told otherwise."""
        self.loop.call_soon_threadsafe(self.cable.freeze)
        try:
            yield
        finally:
            self.loop.call_soon_threadsafe(self.cable.thaw)


@contextmanager
def door_before(database: Database) -> Iterator[Door]:
    opened: Future[Door] = Future()
    over = asyncio.Event()

    async def stand() -> None:
        async with cabled_over_tcp(database.socket) as cable:
            opened.set_result(Door(cable, asyncio.get_running_loop()))
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(stand(),))
    thread.start()
    door = opened.result(10)
    try:
        yield door
    finally:
        door.loop.call_soon_threadsafe(over.set)
        thread.join()


class FarDatabase(NamedTuple):
    """A database server, the door before it, and where a system finds it through the door."""

    door: Door
    url: str
    dsn: str
    """Where it is without the door."""


@contextmanager
def far_database() -> Iterator[FarDatabase]:
    with temporary_directory() as directory, EmbeddedPostgres(directory / "database") as server:
        database = Database(server.dsn, server.superuser_dsn)
        with door_before(database) as door:
            yield FarDatabase(door, database.over(door.cable), server.dsn)
