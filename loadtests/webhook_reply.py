"""From a signed webhook to the reply at its callback, through `empla up` and real employee processes.

Arrivals are a Poisson process that does not wait for answers. The clock starts just before the POST and ends when the
callback's request has been read; the process that measures takes part of the machine, as a real peer would.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import aiohttp
from aiohttp import web

from controlplane.channels import verify
from controlplane.cli.client import connected
from controlplane.cli.target import local_target
from loadtests.breakdown import breakdown
from loadtests.database import temporary_home
from loadtests.disk import probing
from loadtests.report import Figure, percentile
from loadtests.slow_model import SlowModel, serving_slow_model
from loadtests.staff import Desk, hire
from loadtests.system import System, free_port, own_system

EMPLOYEES = 20
RATE = 20.0
CONVERSATIONS = 5
"""Each employee's, while the model takes no time; with a slow one each message has its own, for within one they queue."""
REPLY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds of load, and how many messages of it warm up."""

    seconds: float
    warm_up: float
    employees: int = EMPLOYEES
    rate: float = RATE
    conversations: int = CONVERSATIONS


FULL = Lengths(seconds=45, warm_up=8)
QUICK = Lengths(seconds=2, warm_up=1, employees=3)


@dataclass
class Sent:
    """One message: seconds on the monotonic clock, 0 for what has not happened; `posted_at` is Unix time."""

    desk: Desk
    event_id: str
    posted_at: float
    posted: float
    acknowledged: float = 0.0
    replied: float = 0.0
    message_id: str = ""

    @property
    def reply_ms(self) -> float:
        return (self.replied - self.posted) * 1000

    @property
    def acknowledge_ms(self) -> float:
        return (self.acknowledged - self.posted) * 1000


@dataclass
class Replies:
    """Takes callbacks and notes when each event's reply came."""

    sent: dict[str, Sent] = field(default_factory=dict)
    wrong: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        now = time.perf_counter()
        reply = await request.json()
        sent = self.sent.get(reply["event_id"])
        if sent is None or sent.replied or reply["kind"] != "reply":
            self.wrong += 1  # a second reply, or one that nobody asked for
        else:
            verify(
                sent.desk.secret.encode(),
                timestamp=request.headers["X-Empla-Timestamp"],
                signature=request.headers["X-Empla-Signature"],
                body=body,
                now=time.time(),
            )
            sent.replied = now
        self.news.set()
        return web.Response()

    async def all(self, seconds: float) -> None:
        """Wait until every message has its reply, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while not all(sent.replied for sent in self.sent.values()):
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            return


def measure(lengths: Lengths) -> list[Figure]:
    """With a model that takes no time: the system's own cost."""
    callback = free_port()
    with temporary_home() as home, own_system(home, {"EMPLA_MODEL_PROVIDER": "scripted"}) as system:
        with connected(local_target(system.settings)) as stub:
            desks = hire(stub, lengths.employees, f"http://127.0.0.1:{callback}/")
        sent, wrong, written = asyncio.run(_load_on_disk(system, desks, callback, lengths, home))
        return [*_disk(written), *_figures(sent, wrong, lengths), *breakdown(system, sent)]


def measure_with_slow_model(lengths: Lengths) -> list[Figure]:
    """With a model that takes 1 to 2 s a call, over the OpenAI SDK; each message makes two calls."""
    callback, model_port = free_port(), free_port()
    environment = {
        "EMPLA_MODEL_PROVIDER": "openai",
        "EMPLA_MODEL_NAME": "slow",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{model_port}/v1",
    }
    with temporary_home() as home, own_system(home, environment) as system:
        with connected(local_target(system.settings)) as stub:
            desks = hire(stub, lengths.employees, f"http://127.0.0.1:{callback}/")
        apart = replace(lengths, conversations=10_000)
        sent, wrong, waited = asyncio.run(_load_with_slow_model(system, desks, callback, model_port, apart))
        return _slow_figures(sent, wrong, waited)


async def _load(system: System, desks: list[Desk], callback: int, lengths: Lengths) -> tuple[list[Sent], int]:
    async with replying(callback) as replies, aiohttp.ClientSession() as session:
        await send_all(session, system, desks, replies, lengths, lengths.warm_up)
        await replies.all(REPLY_SECONDS)
        before = len(replies.sent)
        await send_all(session, system, desks, replies, lengths, lengths.seconds)
        await replies.all(REPLY_SECONDS)
        return list(replies.sent.values())[before:], replies.wrong


async def _load_on_disk(
    system: System, desks: list[Desk], callback: int, lengths: Lengths, home: Path
) -> tuple[list[Sent], int, list[float]]:
    async with probing(home) as written:
        sent, wrong = await _load(system, desks, callback, lengths)
    return sent, wrong, written


async def _load_with_slow_model(
    system: System, desks: list[Desk], callback: int, model_port: int, lengths: Lengths
) -> tuple[list[Sent], int, dict[str, float]]:
    async with AsyncExitStack() as stack:
        model: SlowModel = await stack.enter_async_context(serving_slow_model(model_port))
        sent, wrong = await _load(system, desks, callback, lengths)
        return sent, wrong, model.waited


@asynccontextmanager
async def replying(port: int) -> AsyncIterator[Replies]:
    """Take callbacks on a port of loopback for the length of the block."""
    replies = Replies()
    application = web.Application()
    application.router.add_post("/", replies.receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield replies
    finally:
        await runner.cleanup()


async def send_all(
    session: aiohttp.ClientSession,
    system: System,
    desks: Sequence[Desk],
    replies: Replies,
    lengths: Lengths,
    seconds: float,
) -> None:
    """Post messages for `seconds`, to each employee in its turn."""
    arrivals = random.Random(11)
    start = time.perf_counter()
    due = 0.0
    async with asyncio.TaskGroup() as group:
        number = 0
        while (due := due + arrivals.expovariate(lengths.rate)) < seconds:
            await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
            desk, conversation = desks[number % len(desks)], f"thread-{number // len(desks) % lengths.conversations}"
            group.create_task(send(session, system, desk, conversation, replies))
            number += 1


async def send(session: aiohttp.ClientSession, system: System, desk: Desk, conversation: str, replies: Replies) -> None:
    event_id = uuid4().hex
    body, headers = desk.request(event_id, conversation, f"How many open deals do the notes list? event:{event_id}")
    sent = replies.sent[event_id] = Sent(desk, event_id, time.time(), time.perf_counter())
    async with session.post(f"http://{system.http_address}{desk.receive_path}", data=body, headers=headers) as answer:
        content = await answer.json()
        sent.acknowledged = time.perf_counter()
        answer.raise_for_status()
    sent.message_id = content["message_id"]


def _disk(written: list[float]) -> list[Figure]:
    name = "floor: 8 KiB written durably to the disk during this"
    return [Figure(f"{name}, p{percent}", percentile(written, percent), "ms") for percent in (50, 99)]


def _figures(sent: list[Sent], wrong: int, lengths: Lengths) -> list[Figure]:
    name = f"webhook → reply, {lengths.rate:g} msg/s over {lengths.employees} employees"
    answered = [one.reply_ms for one in sent if one.replied]
    acknowledged = [one.acknowledge_ms for one in sent]
    return [
        Figure(f"{name}, p50", percentile(answered, 50), "ms", 15),
        Figure(f"{name}, p99", percentile(answered, 99), "ms", 60),
        Figure(f"{name}, lost or doubled", len(sent) - len(answered) + wrong, "messages", 0),
        Figure("webhook acknowledged, p50", percentile(acknowledged, 50), "ms"),
        Figure("webhook acknowledged, p99", percentile(acknowledged, 99), "ms", 50),
    ]


def _slow_figures(sent: list[Sent], wrong: int, waited: dict[str, float]) -> list[Figure]:
    name = "the same, two model calls of 1–2 s each"
    answered = [one.reply_ms / 1000 for one in sent if one.replied]
    alone = list(waited.values())
    overhead = [one.reply_ms - waited[one.event_id] * 1000 for one in sent if one.replied and one.event_id in waited]
    return [
        Figure(f"{name}, p50", percentile(answered, 50), "s", peer="model alone", peer_value=percentile(alone, 50)),
        Figure(f"{name}, p95", percentile(answered, 95), "s", 3, peer="model alone", peer_value=percentile(alone, 95)),
        Figure(f"{name}, beyond the model's time, p95", percentile(overhead, 95), "ms"),
        Figure(f"{name}, lost or doubled", len(sent) - len(answered) + wrong, "messages", 0),
    ]
