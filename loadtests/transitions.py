"""Step transitions: the product's own, as an employee's own role under row-level security, beside DBOS and beside the floor.

All of them take turns on one server within one run, so that a noisy moment of the machine meets each of them.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from agent.identity import Identity
from agent.pipeline.transitions import Transitions
from empla.store.connect import AnyConnection, Pool, connect
from empla.store.embedded import EmbeddedPostgres
from empla.store.migrate import migrate
from loadtests.database import create_database, durability, hire, store_messages, temporary_home
from loadtests.dbos_steps import DbosProcess, dbos_process
from loadtests.report import Figure, percentile
from loadtests.walk import MOVES, claim, walk

MANY = 32
MOST_EXPECTED = 15_000
"""Transitions a second for which enough messages are stored beforehand."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds that each turn takes, and how many turns there are."""

    turn: float
    turns: int


FULL = Lengths(turn=2.5, turns=6)
QUICK = Lengths(turn=0.3, turns=1)


@dataclass
class Samples:
    """Milliseconds of each operation, and the seconds in which they were done."""

    taken: list[float] = field(default_factory=list)
    seconds: float = 0.0

    async def add(self, turn: Awaitable[list[float]]) -> None:
        before = time.perf_counter()
        self.taken += await turn
        self.seconds += time.perf_counter() - before

    def at(self, percent: float) -> float:
        return percentile(self.taken, percent)

    @property
    def rate(self) -> float:
        return len(self.taken) / self.seconds


@dataclass(frozen=True, slots=True)
class Employee:
    """An employee's side of the database, with the owner's pool beside it to store its messages."""

    owner: Pool
    own: Pool
    identity: Identity
    transitions: Transitions

    async def walk(self, samples: Samples, *, in_flight: int, seconds: float) -> None:
        """One turn; storing and claiming the messages is not part of what is measured."""
        enough = int(seconds * (MOST_EXPECTED if in_flight > 1 else 3_000) / MOVES) + in_flight
        messages = await store_messages(self.owner, self.identity, enough)
        await claim(self.own, self.identity, [message_id for message_id, _ in messages])
        await samples.add(walk(self.transitions, messages, in_flight=in_flight, seconds=seconds))


async def measure(lengths: Lengths) -> tuple[list[Figure], dict[str, str]]:
    """The figures, and the server's durability settings."""
    async with AsyncExitStack() as stack:
        home = stack.enter_context(temporary_home())
        server = await stack.enter_async_context(EmbeddedPostgres(home))
        employee = await stack.enter_async_context(_employee(server))
        peer = await stack.enter_async_context(dbos_process(await create_database(server, "dbos")))
        return await _take_turns(employee, peer, lengths), await durability(server.dsn)


@asynccontextmanager
async def _employee(server: EmbeddedPostgres) -> AsyncIterator[Employee]:
    await migrate(server.dsn)
    async with connect(server.dsn, application_name="bench") as owner:
        identity, dsn = await hire(owner, server.dsn, "ada")
        async with connect(dsn, application_name="bench employee") as own:
            yield Employee(owner, own, identity, await Transitions.load(own, identity))


async def _take_turns(employee: Employee, peer: DbosProcess, lengths: Lengths) -> list[Figure]:
    one, many, peer_one, peer_many, select, update = (Samples() for _ in range(6))
    for in_flight in (1, MANY):  # plans, caches and connections warm up
        await employee.walk(Samples(), in_flight=in_flight, seconds=lengths.turn)
        await peer.run(in_flight=in_flight, seconds=lengths.turn / 2)
    for _ in range(lengths.turns):
        async with employee.owner.acquire() as connection:
            await select.add(_repeat(lambda c=connection: _select(c), lengths.turn / 5))  # type: ignore[misc]
            await update.add(_repeat(lambda c=connection: _update(c), lengths.turn / 5))  # type: ignore[misc]
        await employee.walk(one, in_flight=1, seconds=lengths.turn)
        await peer_one.add(peer.run(in_flight=1, seconds=lengths.turn))
        await employee.walk(many, in_flight=MANY, seconds=lengths.turn)
        await peer_many.add(peer.run(in_flight=MANY, seconds=lengths.turn))
    return [*_floor(select, update), *_one(one, peer_one), *_many(many, peer_many)]


async def _repeat(operation: Callable[[], Awaitable[object]], seconds: float) -> list[float]:
    deadline = time.perf_counter() + seconds
    taken = []
    while (before := time.perf_counter()) < deadline:
        await operation()
        taken.append((time.perf_counter() - before) * 1000)
    return taken


async def _select(connection: AnyConnection) -> object:
    return await connection.fetchval("SELECT 1")


async def _update(connection: AnyConnection) -> object:
    return await connection.execute("UPDATE employees SET updated_at = now()")  # there is one


def _floor(select: Samples, update: Samples) -> list[Figure]:
    return [
        Figure("floor: SELECT 1, p50", select.at(50), "ms"),
        Figure("floor: durable UPDATE of one row, p50", update.at(50), "ms"),
        Figure("floor: durable UPDATE of one row, p99", update.at(99), "ms"),
    ]


def _one(own: Samples, peer: Samples) -> list[Figure]:
    name = "step transition, one in flight"
    return [
        Figure(f"{name}, p50", own.at(50), "ms", 0.8, peer="DBOS step", peer_value=peer.at(50)),
        Figure(f"{name}, p99", own.at(99), "ms", 8, peer="DBOS step", peer_value=peer.at(99)),
        Figure(f"{name}, DBOS's p50 over ours", peer.at(50) / own.at(50), "x", 5, "high"),
    ]


def _many(own: Samples, peer: Samples) -> list[Figure]:
    name = f"step transition, {MANY} in flight"
    return [
        Figure(f"{name}, p50", own.at(50), "ms", 3, peer="DBOS step", peer_value=peer.at(50)),
        Figure(f"{name}, p99", own.at(99), "ms", peer="DBOS step", peer_value=peer.at(99)),
        Figure(f"{name}, rate", own.rate, "/s", 8000, "high", peer="DBOS step", peer_value=peer.rate),
    ]
