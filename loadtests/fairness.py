"""What the flood of one employee's messages costs the others: the same load on them with it and without it, in turns.

The flood is sent as fast as it is taken, some of it nearly as long as a message may be; what is refused is sent again. What
is left of it at the end of its round is not worked on: each round has a flooded employee of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from uuid import uuid4

import aiohttp

from controlplane.cli.client import connected
from controlplane.cli.target import local_target
from loadtests.database import temporary_home
from loadtests.report import Figure, percentile
from loadtests.staff import Desk, dismiss, hire
from loadtests.system import System, free_port, own_system
from loadtests.webhook_reply import REPLY_SECONDS, Lengths, Replies, Sent, replying, send_all

FLOODING = 64
"""Posts of the flood that are under way at once."""
LONG_EVERY, LONG_CHARACTERS = 20, 200_000
AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds of so many seconds without the flood, then with it; `flood` is the most messages of it in a round."""

    load: Lengths
    rounds: int
    flood: int


FULL = Plan(Lengths(seconds=20, warm_up=5, employees=8, rate=10.0), rounds=3, flood=10_000)
QUICK = Plan(Lengths(seconds=2, warm_up=1, employees=2, rate=5.0), rounds=1, flood=200)


@dataclass
class Taken:
    """How much of the flood was taken, and how often it was asked to come again."""

    messages: int = 0
    refused: int = 0


def measure(plan: Plan) -> list[Figure]:
    """The others' latency from webhook to reply; their share of the machine is in it as well."""
    callback = free_port()
    with temporary_home() as home, own_system(home, {"EMPLA_MODEL_PROVIDER": "scripted"}) as system:
        with connected(local_target(system.settings)) as stub:
            desks = hire(stub, plan.load.employees + plan.rounds, f"http://127.0.0.1:{callback}/")
        return asyncio.run(_compare(system, desks[: plan.rounds], desks[plan.rounds :], callback, plan))


async def _compare(
    system: System, flooded: Sequence[Desk], others: Sequence[Desk], callback: int, plan: Plan
) -> list[Figure]:
    alone: list[Sent] = []
    beside: list[Sent] = []
    taken = Taken()
    connector = aiohttp.TCPConnector(limit=0)  # the flood takes no connection from the others
    async with replying(callback) as replies, aiohttp.ClientSession(connector=connector) as session:
        await send_all(session, system, others, replies, plan.load, plan.load.warm_up)
        for desk in flooded:
            alone += await load_for(session, system, others, replies, plan.load)
            async with _flooded(session, system, desk, plan.flood, taken):
                beside += await load_for(session, system, others, replies, plan.load)
            await asyncio.to_thread(_dismiss, system, desk)
    return _figures(alone, beside, taken, plan)


def _dismiss(system: System, desk: Desk) -> None:
    with connected(local_target(system.settings)) as stub:
        dismiss(stub, [desk])


async def load_for(
    session: aiohttp.ClientSession, system: System, desks: Sequence[Desk], replies: Replies, lengths: Lengths
) -> list[Sent]:
    """Load for as long as `lengths` says; returns what was sent, when it is answered or too late."""
    before = set(replies.sent)
    await send_all(session, system, desks, replies, replace(lengths, warm_up=0), lengths.seconds)
    sent = [one for event_id, one in replies.sent.items() if event_id not in before]
    await replies.all(REPLY_SECONDS)
    return sent


@asynccontextmanager
async def _flooded(
    session: aiohttp.ClientSession, system: System, desk: Desk, most: int, taken: Taken
) -> AsyncIterator[None]:
    """The flood comes in while the block runs, and what of it is taken is worked on."""
    numbers = count()

    async def pour() -> None:
        while (number := next(numbers)) < most:
            await _pour(session, system, desk, number, taken)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pour()) for _ in range(FLOODING)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _pour(session: aiohttp.ClientSession, system: System, desk: Desk, number: int, taken: Taken) -> None:
    text = f"How many open deals do the notes list? {number}" + "x" * (LONG_CHARACTERS * (number % LONG_EVERY == 0))
    body, headers = desk.request(uuid4().hex, f"flood-{number}", text)
    url = f"http://{system.http_address}{desk.receive_path}"
    while True:
        async with session.post(url, data=body, headers=headers) as answer:
            if answer.status != 503:
                answer.raise_for_status()
                taken.messages += 1
                return
        taken.refused += 1
        await asyncio.sleep(AGAIN_SECONDS)


def _figures(alone: list[Sent], beside: list[Sent], taken: Taken, plan: Plan) -> list[Figure]:
    name = f"webhook → reply, {plan.load.rate:g} msg/s over {plan.load.employees} employees beside a flood of another's"
    quiet, loud = ([one.reply_ms for one in sent if one.replied] for sent in (alone, beside))
    found = []
    for percent in (50, 99):
        without = percentile(quiet, percent)
        found.append(
            Figure(
                f"{name}, p{percent}", percentile(loud, percent), "ms", 1.2 * without,
                peer="without the flood", peer_value=without,
            )
        )  # fmt: skip
    lost = len(alone) + len(beside) - len(quiet) - len(loud)
    return [
        *found,
        Figure(f"{name}, lost", lost, "messages", 0),
        Figure("the flood: taken", taken.messages, "messages"),
        Figure("the flood: asked to come again", taken.refused, "times"),
    ]
