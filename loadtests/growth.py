"""What a step transition costs in a database with few stored messages and in one with many, which take turns in one run."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from controlplane.channels import Channels
from empla.store.embedded import EmbeddedPostgres
from loadtests.database import create_database, superuser_dsn, temporary_home
from loadtests.history import fill
from loadtests.report import Figure
from loadtests.transitions import EMPLOYEES, MANY, Employee, Samples, staffed, walk_in_turn

FLAT = 1.2
"""How many times as long it may take with many messages."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Stored messages of both databases, seconds of a turn, and how many turns each has."""

    few: int
    many: int
    turn: float
    turns: int


FULL = Lengths(few=1_000, many=1_000_000, turn=1.5, turns=12)
QUICK = Lengths(few=1_000, many=10_000, turn=0.3, turns=2)


async def measure(lengths: Lengths) -> list[Figure]:
    async with AsyncExitStack() as stack:
        home = stack.enter_context(temporary_home())
        server = await stack.enter_async_context(EmbeddedPostgres(home))
        staffs = {}
        for name, stored in (("few", lengths.few), ("many", lengths.many)):
            staffs[name] = await stack.enter_async_context(staffed(await create_database(server, name), EMPLOYEES))
            await _fill(server, name, staffs[name], stored)
        return [
            *await _compared(staffs, lengths, in_flight=1),
            *await _compared(staffs, lengths, in_flight=MANY),
        ]


async def _fill(server: EmbeddedPostgres, database: str, staff: list[Employee], stored: int) -> None:
    for tenant_id in {employee.identity.tenant_id for employee in staff}:
        await Channels(staff[0].owner).api(tenant_id)
    await fill(superuser_dsn(server, database), stored)


async def _compared(staffs: dict[str, list[Employee]], lengths: Lengths, *, in_flight: int) -> list[Figure]:
    taken = {name: Samples() for name in staffs}
    for staff in staffs.values():  # plans, caches and connections warm up
        await walk_in_turn(staff[:1], Samples(), in_flight=in_flight, seconds=lengths.turn)
    for turn in range(lengths.turns):
        for name in sorted(staffs, reverse=bool(turn % 2)):
            await walk_in_turn(staffs[name][:1], taken[name], in_flight=in_flight, seconds=lengths.turn)
    few, many = taken["few"], taken["many"]
    name = f"step transition, {in_flight} in flight, {lengths.many:,} messages stored"
    peer = f"{lengths.few:,} stored"
    return [
        Figure(f"{name}, p50", many.at(50), "ms", few.at(50) * FLAT, peer=peer, peer_value=few.at(50)),
        Figure(f"{name}, p99", many.at(99), "ms", peer=peer, peer_value=few.at(99)),
        Figure(f"{name}, rate", many.rate, "/s", few.rate / FLAT, "high", peer=peer, peer_value=few.rate),
    ]
