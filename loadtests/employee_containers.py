"""Employees in containers: what an idle one takes, and how soon one that was killed answers again."""

import asyncio
import time
from typing import Any

import aiohttp

from controlplane.cli.client import connected
from controlplane.cli.target import local_target
from controlplane.launchers.employee_container import IMAGE
from controlplane.launchers.engine import Engine
from empla.v1 import control_pb2, control_pb2_grpc
from loadtests.database import temporary_home
from loadtests.density import SETTLE_SECONDS, answering_again, children, pss
from loadtests.report import Figure, percentile
from loadtests.staff import Desk, hire
from loadtests.system import System, free_port, own_system
from loadtests.webhook_reply import replying


async def measure(address: str, employees: int) -> list[Figure]:
    """The figures of so many employees, in containers of the engine at `address`; raises `LaunchFailed` without it."""
    async with Engine(address) as engine:
        size = await engine.size(IMAGE)
    memory, recovery = await asyncio.to_thread(_lived, address, employees)
    return [
        Figure("image of an employee", size / 1e6, "MB", 250),
        Figure("employee in a container, idle: memory (PSS), mean", sum(memory) / len(memory) / 1e6, "MB", 110),
        Figure("employee in a container, killed → answering again, p95", percentile(recovery, 95), "s", 2),
    ]


def _lived(address: str, employees: int) -> tuple[list[int], list[float]]:
    callback, told = free_port(), {"EMPLA_LAUNCHER": "container", "EMPLA_SIDECARS_ENGINE": address}
    told |= {"EMPLA_MODEL_PROVIDER": "scripted", "EMPLA_EMPLOYEES_NETWORK": "none"}
    with (
        temporary_home() as home,
        own_system(home, told) as system,
        connected(local_target(system.settings)) as stub,
    ):
        desks = hire(stub, employees, f"http://127.0.0.1:{callback}/")
        time.sleep(SETTLE_SECONDS)
        memory = [sum(map(pss, [first, *children(first)])) for first in (_pid(stub, desk) for desk in desks)]
        return memory, asyncio.run(_killed(system, stub, desks, callback))


def _pid(stub: control_pb2_grpc.ControlPlaneStub, desk: Desk) -> int:
    """Of the first program in the container, whose child is the employee."""
    return int(stub.GetEmployee(control_pb2.GetEmployeeRequest(employee=desk.employee)).pid)


async def _killed(system: System, stub: Any, desks: list[Desk], callback: int) -> list[float]:
    async with replying(callback) as replies, aiohttp.ClientSession() as session:
        return [await answering_again(system, stub, desk, session, replies) for desk in desks]
