"""From a signed webhook to the reply, in a system with few stored messages and in one with many, which take turns."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import aiohttp

from controlplane.channels import Channels
from controlplane.cli.client import connected
from controlplane.cli.target import local_target
from empla.store.connect import connect
from empla.store.embedded import EmbeddedPostgres
from loadtests import database, webhook_reply
from loadtests.growth import FLAT
from loadtests.history import fill
from loadtests.report import Figure, percentile
from loadtests.staff import Desk, hire
from loadtests.system import System, free_port, own_system
from loadtests.webhook_reply import REPLY_SECONDS, Sent, replying, send_all

OTHER_TENANTS = 3
EMPLOYEES_OF_ANOTHER = 3


@dataclass(frozen=True, slots=True)
class Lengths:
    """Stored messages of both systems, the load on each in its turn, and how many turns each has."""

    few: int
    many: int
    load: webhook_reply.Lengths
    turns: int


FULL = Lengths(1_000, 1_000_000, webhook_reply.Lengths(seconds=10, warm_up=5, employees=10), turns=6)
QUICK = Lengths(1_000, 10_000, webhook_reply.Lengths(seconds=2, warm_up=1, employees=2), turns=1)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two systems, and its employees."""

    system: System
    desks: list[Desk]


def measure(lengths: Lengths) -> list[Figure]:
    """Two systems on one server, each with a database of its own."""
    callback = free_port()
    with ExitStack() as stack:
        home = stack.enter_context(database.temporary_home())
        server = stack.enter_context(EmbeddedPostgres(home))
        sides = {}
        for name, stored in (("few", lengths.few), ("many", lengths.many)):
            dsn = asyncio.run(database.create_database(server, name))
            (own_home := home / name).mkdir(mode=0o711)
            environment = {"EMPLA_MODEL_PROVIDER": "scripted", "EMPLA_DATABASE_URL": dsn}
            system = stack.enter_context(own_system(own_home, environment))
            with connected(local_target(system.settings)) as stub:
                sides[name] = Side(system, hire(stub, lengths.load.employees, f"http://127.0.0.1:{callback}/"))
            asyncio.run(_fill(dsn, database.superuser_dsn(server, name), stored))
        sent, wrong = asyncio.run(_take_turns(sides, callback, lengths))
    return _figures(sent, wrong, lengths)


async def _fill(dsn: str, superuser_dsn: str, stored: int) -> None:
    async with connect(dsn, application_name="bench") as owner:
        for tenant in range(OTHER_TENANTS):
            for employee in range(EMPLOYEES_OF_ANOTHER):
                identity, _ = await database.hire(owner, dsn, f"other-{employee}", f"tenant-{tenant}")
            await Channels(owner).api(identity.tenant_id)
    await fill(superuser_dsn, stored)


async def _take_turns(sides: Mapping[str, Side], callback: int, lengths: Lengths) -> tuple[dict[str, list[Sent]], int]:
    load, sent = lengths.load, {name: list[Sent]() for name in sides}
    async with replying(callback) as replies, aiohttp.ClientSession() as session:

        async def turn(side: Side, seconds: float) -> list[Sent]:
            before = len(replies.sent)
            await send_all(session, side.system, side.desks, replies, load, seconds)
            await replies.all(REPLY_SECONDS)
            return list(replies.sent.values())[before:]

        for side in sides.values():
            await turn(side, load.warm_up)
        for number in range(lengths.turns):
            for name in sorted(sides, reverse=bool(number % 2)):
                sent[name] += await turn(sides[name], load.seconds)
        return sent, replies.wrong


def _figures(sent: Mapping[str, list[Sent]], wrong: int, lengths: Lengths) -> list[Figure]:
    name = f"webhook → reply, {lengths.many:,} messages stored"
    taken = {side: [one.reply_ms for one in those if one.replied] for side, those in sent.items()}
    few, many = taken["few"], taken["many"]
    lost = sum(map(len, sent.values())) - len(few) - len(many)
    peer, half, rare = f"{lengths.few:,} stored", percentile(few, 50), percentile(few, 99)
    return [
        Figure(f"{name}, p50", percentile(many, 50), "ms", half * FLAT, peer=peer, peer_value=half),
        Figure(f"{name}, p99", percentile(many, 99), "ms", peer=peer, peer_value=rare),
        Figure(f"{name}, lost or doubled", lost + wrong, "messages", 0),
    ]
