"""Step transitions: the product's own, as an employee's own role under row-level security, beside DBOS and beside the floor.

All of them take turns on one server within one run, so that a noisy moment of the machine meets each of them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

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
EMPLOYEES = 20
TENANTS = 4
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

    async def receive(self, count: int) -> list[tuple[UUID, UUID]]:
        """`count` new messages, claimed by this employee."""
        messages = await store_messages(self.owner, self.identity, count)
        await claim(self.own, self.identity, [message_id for message_id, _ in messages])
        return messages


async def walk_in_turn(employees: Sequence[Employee], samples: Samples, *, in_flight: int, seconds: float) -> None:
    """One turn, `in_flight` messages spread over `employees`; storing and claiming them is not part of what is measured."""
    enough = int(seconds * (MOST_EXPECTED if in_flight > 1 else 3_000) / MOVES / in_flight) + 1
    shares = [len(range(number, in_flight, len(employees))) for number in range(len(employees))]
    waiting = [await employee.receive(enough * share) for employee, share in zip(employees, shares, strict=True)]

    async def together() -> list[float]:
        walks = [
            walk(employee.transitions, messages, in_flight=share, seconds=seconds)
            for employee, messages, share in zip(employees, waiting, shares, strict=True)
        ]
        return [taken for one in await asyncio.gather(*walks) for taken in one]

    await samples.add(together())


async def measure(lengths: Lengths) -> tuple[list[Figure], dict[str, str]]:
    """The figures, and the server's durability settings."""
    async with AsyncExitStack() as stack:
        home = stack.enter_context(temporary_home())
        server = await stack.enter_async_context(EmbeddedPostgres(home))
        employees = await stack.enter_async_context(staffed(server.dsn, EMPLOYEES))
        peer = await stack.enter_async_context(dbos_process(await create_database(server, "dbos")))
        return await _take_turns(employees, peer, lengths), await durability(server.dsn)


@asynccontextmanager
async def staffed(dsn: str, count: int) -> AsyncIterator[list[Employee]]:
    """A new schema in an empty database, with `count` employees in `TENANTS` tenants, each with connections of its own."""
    await migrate(dsn)
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(connect(dsn, application_name="bench"))
        employees = []
        for number in range(count):
            identity, own_dsn = await hire(owner, dsn, f"ada-{number}", f"tenant-{number % TENANTS}")
            own = await stack.enter_async_context(connect(own_dsn, application_name="bench employee"))
            employees.append(Employee(owner, own, identity, await Transitions.load(own, identity)))
        yield employees


async def _take_turns(employees: list[Employee], peer: DbosProcess, lengths: Lengths) -> list[Figure]:
    one, many, spread, peer_one, peer_many, select, update = (Samples() for _ in range(7))
    for number, in_flight in ((1, 1), (1, MANY), (EMPLOYEES, MANY)):  # plans, caches and connections warm up
        await walk_in_turn(employees[:number], Samples(), in_flight=in_flight, seconds=lengths.turn)
        await peer.run(in_flight=in_flight, seconds=lengths.turn / 2)
    for _ in range(lengths.turns):
        async with employees[0].owner.acquire() as connection:
            await select.add(_repeat(lambda c=connection: _select(c), lengths.turn / 5))  # type: ignore[misc]
            await update.add(_repeat(lambda c=connection: _update(c), lengths.turn / 5))  # type: ignore[misc]
        await walk_in_turn(employees[:1], one, in_flight=1, seconds=lengths.turn)
        await peer_one.add(peer.run(in_flight=1, seconds=lengths.turn))
        await walk_in_turn(employees[:1], many, in_flight=MANY, seconds=lengths.turn)
        await peer_many.add(peer.run(in_flight=MANY, seconds=lengths.turn))
        await walk_in_turn(employees, spread, in_flight=MANY, seconds=lengths.turn)
    return [*_floor(select, update), *_one(one, peer_one), *_many(many, peer_many), *_spread(spread, peer_many)]


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
    return await connection.execute("UPDATE employees SET updated_at = now() WHERE name = 'ada-0'")


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


def _spread(own: Samples, peer: Samples) -> list[Figure]:
    name = f"step transition, {MANY} in flight over {EMPLOYEES} employees"
    return [
        Figure(f"{name}, p50", own.at(50), "ms", peer="DBOS step", peer_value=peer.at(50)),
        Figure(f"{name}, p99", own.at(99), "ms", peer="DBOS step", peer_value=peer.at(99)),
        Figure(f"{name}, rate", own.rate, "/s", better="high", peer="DBOS step", peer_value=peer.rate),
    ]
