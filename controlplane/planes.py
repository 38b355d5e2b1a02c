"""The control planes of one installation: which of them are there, which one leads, and what they tell each other.

The one that leads has a lease, which it renews every second; it reconciles, keeps the sidecars and removes what is old. When
it ends, or the connection that it renews with does, another one takes the lease at once; when it stands still, once the
lease has run out. One that wakes from that may still believe for an instant that it leads: what must not happen twice asks
`check`.

What they tell each other is a hint: a word and ids, which may be lost. The tables are the truth. Anybody with a login to the
database can notify, an employee as well: a hint is followed if the server says that it came through the connection of a
control plane.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from controlplane.clock import DatabaseClock
from controlplane.errors import AnotherHome, NotLeading
from empla.store.connect import AnyConnection, Connection, connect_once, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.outage import Outage

log = logging.getLogger(__name__)

SQL = load_queries("controlplane", "planes.sql")
CHANNEL = "empla_planes"
MISSED = "missed"
"""What the others told is lost: a connection broke off, or it was too much at once."""
RENEW_SECONDS = 1.0
LEASE_SECONDS = 5.0
ANSWER_SECONDS = 5.0
"""For the database: a lease that is renewed later has run out."""
RETRY_SECONDS = 0.5
MAX_TOLD = 10_000
"""Hints that wait to be told; of those beyond the others hear that they are lost."""
MAX_HEARD = 1000
"""Hints of others that are being followed, and as many whose senders are not known yet. That others are lost is known."""
SOON_SECONDS = 0.05
"""Between two looks, however often somebody says that there is something to see."""
STRANGER_SECONDS = 60.0
"""Between two lines in the log that say that hints came from a stranger."""

type Heard = Callable[..., Coroutine[Any, Any, None] | None]
"""Takes the ids of a hint."""
type Work = Callable[[], Coroutine[Any, Any, None]]


class Others(Protocol):
    """Whom to tell what this control plane cannot do itself."""

    def tell(self, word: str, *ids: object) -> None:
        """Have the others know, soon."""
        ...


class Nobody:
    """There are no others."""

    def tell(self, word: str, *ids: object) -> None:
        """See `Others.tell`."""


class Planes:
    """This control plane among the others; `instance` names it and no other that ever was, `address` is its gRPC's.

    `home` is the id of the home on one machine that all of them share: there the employees' processes and files are.
    Times are in seconds: a lease lasts `lease`, and is renewed every `renew`.
    """

    def __init__(
        self,
        dsn: str,
        instance: str,
        address: str,
        *,
        home: str,
        clock: DatabaseClock | None = None,
        renew: float = RENEW_SECONDS,
        lease: float = LEASE_SECONDS,
    ) -> None:
        self.instance, self.address, self._home = instance, address, home
        self.others = 0
        """How many other control planes were there at the last look."""
        self.leader_address: str | None = None
        """Where another one that leads is reached; None when nobody is known to lead, or this one does."""
        self.clock = clock or DatabaseClock()
        self._dsn, self._renew, self._lease = dsn, renew, lease
        self._generation: int | None = None
        self._lease_ends = 0.0
        self._leaving = self._resigned = False
        self._said_leaving: bool | None = None
        self._stranger: str | None = None
        self._heard: dict[str, Heard] = {}
        self._told: dict[str, None] = {}
        self._news, self._changed, self._looked = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._look_at, self._looked_at = 0.0, -SOON_SECONDS
        self._backends: frozenset[int] = frozenset()
        self._unsure: list[tuple[int, str]] = []
        self._dropped: set[int] = set()
        self._strangers_said_at = -STRANGER_SECONDS
        self._group: asyncio.TaskGroup | None = None
        self._following = 0
        self._too_many = False
        self._outage = Outage(log, "the lease of the control planes")

    @property
    def has_lease(self) -> bool:
        """Whether this control plane is the last that took the lease, as far as it knows: it may have run out."""
        return self._generation is not None

    @property
    def leads(self) -> bool:
        """Whether this control plane has the lease, and it has not run out."""
        return self.has_lease and time.monotonic() < self._lease_ends

    async def check(self, connection: AnyConnection) -> None:
        """Raise `NotLeading` unless this control plane leads, as the database knows."""
        if self._generation is None or await connection.fetchrow(SQL.leads, self.instance, self._generation) is None:
            raise NotLeading("another control plane leads by now")

    def on(self, word: str, heard: Heard) -> None:
        """Call `heard` with the ids whenever another control plane tells `word`."""
        self._heard[word] = heard

    def tell(self, word: str, *ids: object) -> None:
        """See `Others.tell`."""
        if self.others:
            self._told[" ".join([word, *map(str, ids)]) if len(self._told) < MAX_TOLD else MISSED] = None
            self._news.set()

    @asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Be there for the length of the block, and lead if nobody else does: in it, whether that is so is known.

        Raises `AnotherHome` when control planes with another home are there.
        """
        async with asyncio.TaskGroup() as group:
            being = group.create_task(self._be_there())
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await self._looked.wait()
                if self._stranger is not None:
                    raise AnotherHome(
                        f"the control plane at {self._stranger} uses this database with another EMPLA_HOME, or on another "
                        "machine; all of one database have the same home on the same machine: start this one there, with "
                        "that home, or give it a database of its own, or stop that one"
                    )
                yield
            finally:
                being.cancel()
                await asyncio.wait([being])
                await self._leave()

    async def _be_there(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            while True:
                try:
                    await self._connected()
                except StoreUnavailable as error:
                    self._outage.lasts(error)
                except Exception:
                    log.exception("the control planes hear of each other again with the next connection")
                await asyncio.sleep(RETRY_SECONDS)

    async def leading(self, *work: Work) -> None:
        """Do all of `work` as long as this control plane leads; runs until cancelled, and leads no more after that."""
        try:
            while True:
                await self._until(lambda: self.has_lease)
                await self._lead(self._generation, work)
        finally:
            self._resign()

    def _resign(self) -> None:
        """Let another one lead at once, whatever this one has yet to finish before it is gone."""
        self._resigned, self._generation = True, None
        self._changed.set()
        self._look_now()

    async def _lead(self, generation: int | None, work: Sequence[Work]) -> None:
        log.info("this control plane leads, generation %s", generation)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each()) for each in work]
            await self._until(lambda: self._generation != generation)
            log.warning("another control plane leads, or has led meanwhile")
            for task in tasks:
                task.cancel()

    async def is_last(self) -> bool:
        """Say that this control plane is about to end; whether no other one stays, and this one leads to its end."""
        self._leaving = True
        with suppress(TimeoutError):  # as far as anybody knows, then
            async with asyncio.timeout(ANSWER_SECONDS):
                while not self._said_leaving:
                    self._looked.clear()
                    self._look_now()
                    await self._looked.wait()
        if self.others:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(self._lease + ANSWER_SECONDS):
                await self._until(lambda: self.has_lease or self._resigned)
        return True

    async def _leave(self) -> None:
        """Be gone: another one may lead from now on."""
        self._generation = None
        try:
            async with self._connection() as connection:
                with translated():
                    await connection.execute(SQL.leave, self.instance)
                    await connection.execute(SQL.tell, CHANNEL, [f"{self.instance} left"])
        except StoreUnavailable as error:
            log.warning("the others find out by themselves that this control plane is gone: %s", error)

    def _connection(self) -> Any:
        return connect_once(self._dsn, application_name="empla control planes", command_timeout=ANSWER_SECONDS)

    async def _connected(self) -> None:
        async with self._connection() as connection:
            connection.add_termination_listener(lambda _: self._news.set())
            with translated():
                await connection.add_listener(CHANNEL, self._hear)
            self._look_at = 0.0
            if self._looked.is_set():  # it is not the first connection
                self._told_is_lost()
            while not connection.is_closed():
                self._news.clear()
                if time.monotonic() >= self._look_at:
                    await self._look(connection)
                await self._tell(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, self._look_at - time.monotonic())):
                        await self._news.wait()
        raise StoreUnavailable("the server has ended the connection")

    async def _look(self, connection: Connection) -> None:
        began, leaving = time.monotonic(), self._leaving
        unsure, self._unsure, self._looked_at = self._unsure, [], began
        dropped, self._dropped = self._dropped, set()
        with translated():
            self.others, self._stranger, self._backends = await self._say(connection, leaving)
            generation = await self._take_lease(connection)
            leader = await connection.fetchrow(SQL.leader) if generation is None else None
        self.leader_address = leader["address"] if leader else None
        self._lease_ends = began + self._lease
        if generation != self._generation:
            self._generation = generation
            self._changed.set()
        self._said_leaving = leaving
        self._look_at = began + (SOON_SECONDS if self._unsure else self._renew)  # some may have come meanwhile
        self._looked.set()
        self._outage.over()
        self._judge(unsure)
        if dropped & self._backends:
            self._told_is_lost()

    async def _say(self, connection: Connection, leaving: bool) -> tuple[int, str | None, frozenset[int]]:
        """Say that this one is there. Of those that come or end at once each sees what the one before has said."""
        here = self.instance, self.address, leaving, self._lease + self._renew, self._home, self.clock.skew
        began = time.monotonic()
        if leaving == self._said_leaving:
            [row] = await connection.fetch(SQL.seen, *here)
        else:
            async with connection.transaction():
                await connection.execute(SQL.one_at_a_time)
                began = time.monotonic()
                [row] = await connection.fetch(SQL.seen, *here)
        self.clock.heard(row["clock"], began)
        return row["others"], row["stranger"], frozenset(row["backends"])

    async def _take_lease(self, connection: Connection) -> int | None:
        generation = None
        if not self._resigned:
            generation = await connection.fetchval(SQL.lead, self.instance, self._lease)
        if self._resigned:  # it may have been meanwhile
            await connection.execute(SQL.resign, self.instance, CHANNEL, f"{self.instance} left")
            return None
        return generation

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Until that is so of the lease. Another one has led if the generation is another; what ran out may be kept yet."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _look_now(self) -> None:
        self._look_at = 0.0
        self._news.set()

    def _look_soon(self) -> None:
        self._look_at = min(self._look_at, self._looked_at + SOON_SECONDS)
        self._news.set()

    async def _tell(self, connection: Connection) -> None:
        told, self._told = self._told, {}
        if not told:
            return
        try:
            with translated():
                await connection.execute(SQL.tell, CHANNEL, [f"{self.instance} {each}" for each in told])
        except StoreUnavailable:
            self._told = told | self._told  # for the next connection
            raise

    def _hear(self, _connection: object, backend: int, _channel: str, payload: object) -> None:
        instance, _, told = str(payload).partition(" ")
        if instance == self.instance:
            return
        if told == "left":  # through a connection of its own, and whoever says so, all that it leads to is a look
            self._look_soon()
        elif backend in self._backends:
            self._heed(told)
        elif len(self._unsure) < MAX_HEARD:
            self._unsure.append((backend, told))
            self._look_soon()
        else:  # no more of them than the server has had processes since the last look
            self._dropped.add(backend)

    def _judge(self, unsure: Sequence[tuple[int, str]]) -> None:
        """Follow what came from those who turn out to be control planes, which have just come."""
        strangers = {backend for backend, _ in unsure} - self._backends
        for backend, told in unsure:
            if backend not in strangers:
                self._heed(told)
        now = time.monotonic()
        if strangers and now - self._strangers_said_at >= STRANGER_SECONDS:
            self._strangers_said_at = now
            who = ", ".join(map(str, sorted(strangers)[:10]))
            log.warning(
                "hints that no control plane sent, or one that is gone, come to nothing: from the server's process %s",
                who,
            )

    def _heed(self, told: str) -> None:
        word, *ids = told.split(" ")
        if heard := self._heard.get(word):
            self._follow(heard, word, ids)

    def _follow(self, heard: Heard, word: str, ids: Sequence[str]) -> None:
        if self._following >= MAX_HEARD:
            if not self._too_many:
                log.warning(
                    "more than %d hints at once: those beyond are lost, and all is looked at instead", MAX_HEARD
                )
            self._too_many = True
            return
        assert self._group is not None
        self._following += 1
        self._group.create_task(_done(heard, word, ids), name=f"hear {word}").add_done_callback(self._followed)

    def _followed(self, task: asyncio.Task[None]) -> None:
        self._following -= 1
        if self._too_many and not self._following and not task.cancelled():
            self._too_many = False
            self._told_is_lost()

    def _told_is_lost(self) -> None:
        if missed := self._heard.get(MISSED):
            self._follow(missed, MISSED, [])


async def _done(heard: Heard, word: str, ids: Sequence[str]) -> None:
    """Whatever a hint leads to, it is only a hint."""
    try:
        work = heard(*ids)
        if work is not None:
            await work
    except Exception:
        log.exception("the hint %s %s comes to nothing", word, " ".join(ids))
