"""`python -m loadtests.density`: many idle employees on one machine, each a process: what they take and how they answer."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import click

from controlplane.cli.client import connected
from controlplane.cli.pages import listed
from controlplane.cli.target import local_target
from empla.v1 import control_pb2, control_pb2_grpc
from loadtests import report
from loadtests.database import temporary_home
from loadtests.fairness import load_for
from loadtests.picture import panel, write_picture
from loadtests.report import Figure, percentile
from loadtests.staff import Desk, hire
from loadtests.system import System, free_port, own_system
from loadtests.webhook_reply import REPLY_SECONDS, Lengths, Replies, Sent, replying, send

RATE = 20.0
STARTING = 8
"""Starts that an operator asks for at once."""
ATTACH_SECONDS = 600.0
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 40.0
"""After the last employee attached: connections to the database that it no longer uses are closed by then."""
FIRST_ROUND = 1.2
"""Of the time in which each gets one message on average: they come at random times, and by then each has one."""
_TICKS = os.sysconf("SC_CLK_TCK")
_TARGETS = {100: {"attached": 15.0, "cpu": 5.0}, 500: {"memory": 12.5, "p99": 250.0}}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long employees idle, how many of them are killed, and how long messages come, in seconds.

    Before these, each has been written to: what is first done then, as connecting to the database, has figures of its own.
    """

    idle: float = 60.0
    kills: int = 20
    load: float = 45.0


QUICK = Plan(idle=5.0, kills=2, load=5.0)


@dataclass
class Density:
    """What a number of employees came to; times in seconds, memory in bytes, latencies in milliseconds."""

    employees: int
    attached: list[tuple[float, int]] = field(default_factory=list)
    """How many were attached, so long after the first start was asked for."""
    memory: list[int] = field(default_factory=list)
    """Of each employee, while nothing happens."""
    whole: int = 0
    """Of employees, control plane and database, when the messages are answered."""
    cpu: dict[str, float] = field(default_factory=dict)
    """Share of one core while nothing happens, of employees, control plane and database."""
    recovery: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    """Latencies of the first messages to employees that have been idle."""
    latencies: list[float] = field(default_factory=list)
    lost: int = 0

    def figures(self) -> list[Figure]:
        """As rows of the table; targets stand where one is set for so many employees."""
        name, targets = f"{self.employees} employees", _TARGETS.get(self.employees, {})
        return [
            Figure(f"{name}, all attached after", self.attached[-1][0], "s", targets.get("attached")),
            Figure(f"{name}, memory of each (PSS), mean", sum(self.memory) / len(self.memory) / 1e6, "MB", 20),
            Figure(f"{name}, memory of all", sum(self.memory) / 1e9, "GB"),
            Figure(
                f"{name}, memory with control plane and database, at work",
                self.whole / 1e9,
                "GB",
                targets.get("memory"),
            ),
            Figure(f"{name}, idle: employees", self.cpu["employees"], "% of a core", targets.get("cpu")),
            Figure(f"{name}, idle: control plane", self.cpu["control plane"], "% of a core"),
            Figure(f"{name}, idle: database", self.cpu["database"], "% of a core"),
            Figure(f"{name}, killed → answering again, p95", percentile(self.recovery, 95), "s", 2),
            Figure(
                f"{name}, webhook → reply, {RATE:g} msg/s, the first to each, p50", percentile(self.first, 50), "ms"
            ),
            Figure(f"{name}, webhook → reply, the first to each, p99", percentile(self.first, 99), "ms"),
            Figure(f"{name}, webhook → reply, {RATE:g} msg/s, p50", percentile(self.latencies, 50), "ms"),
            Figure(f"{name}, webhook → reply, p99", percentile(self.latencies, 99), "ms", targets.get("p99")),
            Figure(f"{name}, not answered within a minute, or doubled", self.lost, "messages", 0),
        ]

    def panels(self) -> list[str]:
        """As pictures."""
        end, name = self.attached[-1][0], f"{self.employees} employees"
        values: dict[str, Sequence[float]] = {
            f"{name}: attached, over {end:.0f} s": [float(count) for _, count in self.attached],
            f"{name}: memory of each, PSS (MB)": sorted(size / 1e6 for size in self.memory),
            f"{name}: killed → answering again (s)": sorted(self.recovery),
            f"{name}: webhook → reply at {RATE:g} msg/s (ms)": sorted(self.latencies),
        }
        return [panel(title, {"": line}, {0: "first", len(line) - 1: "last"}) for title, line in values.items()]


@click.command()
@click.option("--employees", type=int, multiple=True, default=(100, 500), show_default=True, help="May be repeated.")
@click.option("--quick", is_flag=True, help="Seconds instead of minutes: shows that it runs, says little.")
def density(employees: tuple[int, ...], *, quick: bool) -> None:
    """Measure how many employees fit on this machine; 500 of them take about 10 GB of memory."""
    facts = report.machine()
    measured = [measure(count, QUICK if quick else Plan()) for count in employees]
    figures = [figure for one in measured for figure in one.figures()]
    click.echo(report.table(figures))
    path = report.write(figures, {"quick": quick, **facts}, name="density")
    picture = write_picture([drawn for one in measured for drawn in one.panels()], path.with_suffix(".svg"))
    click.echo(f"\nwritten to {path} and {picture}")


def measure(employees: int, plan: Plan) -> Density:
    """A system of its own with so many employees."""
    found, callback = Density(employees), free_port()
    with (
        temporary_home() as home,
        own_system(home, {"EMPLA_MODEL_PROVIDER": "scripted"}) as system,
        connected(local_target(system.settings)) as stub,
    ):
        desks = hire(stub, employees, f"http://127.0.0.1:{callback}/", start=False)
        click.echo(f"{employees} employees: starting …", err=True)
        _start_all(stub, desks, found)
        time.sleep(SETTLE_SECONDS)
        pids = [one.pid for one in _of_ours(stub)]
        found.memory = [pss(pid) for pid in pids]
        click.echo(f"{employees} employees: idling …", err=True)
        found.cpu = _idle(pids, home, plan.idle)
        click.echo(f"{employees} employees: kills, then messages …", err=True)
        asyncio.run(_answer(system, stub, desks, callback, plan, found))
        pids = [one.pid for one in _of_ours(stub)]
        found.whole = sum(map(pss, [*pids, *_control_plane(home), *_database(home)]))
    return found


def _start_all(stub: control_pb2_grpc.ControlPlaneStub, desks: Sequence[Desk], found: Density) -> None:
    begun = time.monotonic()
    with ThreadPoolExecutor(STARTING) as threads:
        asked = [
            threads.submit(stub.StartEmployee, control_pb2.StartEmployeeRequest(employee=desk.employee))
            for desk in desks
        ]
        while not found.attached or found.attached[-1][1] < len(desks):
            if time.monotonic() - begun > ATTACH_SECONDS:
                raise TimeoutError(f"{found.attached[-1][1]} of {len(desks)} attached in {ATTACH_SECONDS:g} s")
            time.sleep(LOOK_SECONDS)
            states = [one.observed_state for one in _of_ours(stub)]
            attached = states.count(control_pb2.OBSERVED_STATE_ATTACHED)
            found.attached.append((time.monotonic() - begun, attached))
        for one in asked:
            one.result()


def _of_ours(stub: control_pb2_grpc.ControlPlaneStub) -> list[Any]:
    """The employees but for the one that every new system begins with."""
    found = listed(stub.ListEmployees, control_pb2.ListEmployeesRequest(), "employees")
    return [one for one in found if one.name.startswith("load-")]


def _idle(pids: Sequence[int], home: Path, seconds: float) -> dict[str, float]:
    def cpu_seconds() -> dict[str, float]:
        groups = {"employees": pids, "database": _database(home), "control plane": _control_plane(home)}
        return {name: sum(map(_cpu_seconds, group)) for name, group in groups.items()}

    before = cpu_seconds()
    time.sleep(seconds)
    return {name: 100 * (spent - before[name]) / seconds for name, spent in cpu_seconds().items()}


def _control_plane(home: Path) -> list[int]:
    told = f"EMPLA_HOME={home}\0".encode()
    return [pid for pid in children(os.getpid()) if told in Path(f"/proc/{pid}/environ").read_bytes()]


def _database(home: Path) -> list[int]:
    server = int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    return [server, *children(server)]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process and of those of its children that it has waited for; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def pss(pid: int) -> int:
    """The memory that a process has for itself, with its share of what it shares."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


async def _answer(
    system: System,
    stub: control_pb2_grpc.ControlPlaneStub,
    desks: Sequence[Desk],
    callback: int,
    plan: Plan,
    found: Density,
) -> None:
    load = Lengths(seconds=plan.load, warm_up=0, employees=len(desks), rate=RATE)
    async with replying(callback) as replies, aiohttp.ClientSession() as session:
        for desk in desks[:: max(1, len(desks) // plan.kills)][: plan.kills]:
            found.recovery.append(await answering_again(system, stub, desk, session, replies))
        around = replace(load, seconds=FIRST_ROUND * len(desks) / RATE)
        found.first = _answered(await load_for(session, system, desks, replies, around))
        found.latencies = _answered(await load_for(session, system, desks, replies, load))
        found.lost = sum(not one.replied for one in replies.sent.values()) + replies.wrong


def _answered(sent: Sequence[Sent]) -> list[float]:
    return [one.reply_ms for one in sent if one.replied]


async def answering_again(
    system: System,
    stub: control_pb2_grpc.ControlPlaneStub,
    desk: Desk,
    session: aiohttp.ClientSession,
    replies: Replies,
) -> float:
    """Seconds from the death of an employee's process to the reply to what was sent right after."""
    employee = await asyncio.to_thread(stub.GetEmployee, control_pb2.GetEmployeeRequest(employee=desk.employee))
    killed = time.perf_counter()
    os.kill(employee.pid, signal.SIGKILL)
    await send(session, system, desk, "after its death", replies)
    await replies.all(REPLY_SECONDS)
    return max(one.replied for one in replies.sent.values()) - killed


if __name__ == "__main__":
    density()
