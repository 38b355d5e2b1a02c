"""What one employee that is out of hand costs the others: the same load on them without it and beside it, in turns."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from controlplane.cli.client import connected
from controlplane.cli.target import local_target
from empla.v1 import control_pb2
from loadtests.database import temporary_home
from loadtests.fairness import load_for
from loadtests.report import Figure, percentile
from loadtests.staff import Desk, hire
from loadtests.system import System, free_port, own_system
from loadtests.webhook_reply import Lengths, Sent, replying, send_all
from tests.e2e import trouble

TROUBLES = {
    "spinner": "one that spins",
    "leaker": "one that leaks",
    "writer": "a flood of output",
    "asker": "a flood of database statements",
}
"""By the name of the employee that makes it; of messages, see `fairness`."""
FLOOD_SECONDS = 3600
"""Until it is deleted."""
MEMORY_BYTES = 256 << 20
BEGIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds of so much load without and with each trouble."""

    load: Lengths
    rounds: int


FULL = Plan(Lengths(seconds=20, warm_up=5, employees=8, rate=10.0), rounds=2)
QUICK = Plan(Lengths(seconds=4, warm_up=1, employees=2, rate=2.0), rounds=1)


def measure(plan: Plan) -> list[Figure]:
    """The others' latency from webhook to reply."""
    callback = free_port()
    with trouble.installed(FLOOD_SECONDS) as package, temporary_home() as home:
        environment = {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", "")))),
            "EMPLA_HOOKS": trouble.NAMED,
            "EMPLA_EMPLOYEE_MEMORY_BYTES": str(MEMORY_BYTES),
            "EMPLA_MODEL_PROVIDER": "scripted",
        }
        with own_system(home, environment) as system:
            with connected(local_target(system.settings)) as stub:
                desks = hire(stub, plan.load.employees, f"http://127.0.0.1:{callback}/")
            return asyncio.run(_compare(system, desks, callback, plan))


async def _compare(system: System, desks: Sequence[Desk], callback: int, plan: Plan) -> list[Figure]:
    figures: list[Figure] = []
    async with replying(callback) as replies, aiohttp.ClientSession() as session:
        await send_all(session, system, desks, replies, plan.load, plan.load.warm_up)
        for name, what in TROUBLES.items():
            alone: list[Sent] = []
            beside: list[Sent] = []
            for _ in range(plan.rounds):
                alone += await load_for(session, system, desks, replies, plan.load)
                async with _beside(system, name):
                    beside += await load_for(session, system, desks, replies, plan.load)
            figures += _figures(what, alone, beside, plan)
    return figures


@asynccontextmanager
async def _beside(system: System, name: str) -> AsyncIterator[None]:
    """The employee of that name is there for the length of the block."""
    with connected(local_target(system.settings)) as stub:
        wanted = control_pb2.CreateEmployeeRequest(name=name, profile_name="sales-ae", start=True)
        await asyncio.to_thread(stub.CreateEmployee, wanted)
        await asyncio.sleep(BEGIN_SECONDS)
        try:
            yield
        finally:
            dismissed = control_pb2.DeleteEmployeeRequest(employee=name, force=True)
            await asyncio.to_thread(stub.DeleteEmployee, dismissed, timeout=60)


def _figures(what: str, alone: list[Sent], beside: list[Sent], plan: Plan) -> list[Figure]:
    name = f"webhook → reply, {plan.load.rate:g} msg/s over {plan.load.employees} employees beside {what}"
    quiet, loud = ([one.reply_ms for one in sent if one.replied] for sent in (alone, beside))
    found = [
        Figure(
            f"{name}, p{percent}",
            percentile(loud, percent),
            "ms",
            1.2 * percentile(quiet, percent),
            peer="without",
            peer_value=percentile(quiet, percent),
        )
        for percent in (50, 99)
    ]
    lost = len(alone) + len(beside) - len(quiet) - len(loud)
    return [*found, Figure(f"{name}, lost", lost, "messages", 0)]
