"""Watching employees over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import grpc
import grpc.aio
import pytest

import controlplane.calls.watching
import controlplane.watching
from controlplane.auth import hashed, new_secret
from empla import rpc
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc
from tests.factories import add_employee, add_tenant
from tests.integration.controlplane.conftest import Plane


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlplane.watching, "LOOK_SECONDS", 0.1)


class Watcher:
    """One stream, read an event at a time."""

    def __init__(self, stub: Any) -> None:
        self.call = stub.WatchEmployees(pb.WatchEmployeesRequest(), timeout=60)
        self._events: AsyncIterator[pb.EmployeeEvent] = aiter(self.call)

    async def next(self) -> tuple[str, pb.Employee]:
        event = await anext(self._events)
        kind = event.WhichOneof("event") or ""
        return kind, event.changed if kind == "changed" else event.deleted

    async def names(self) -> list[str]:
        """Who is told of until all are."""
        found = []
        while (told := await self.next())[0] == "changed":
            found.append(told[1].name)
        assert told[0] == "complete"
        return found

    async def until(self, state: pb.ObservedState.ValueType) -> pb.Employee:
        while True:
            kind, employee = await self.next()
            assert kind == "changed"
            if employee.observed_state == state:
                return employee


async def create(plane: Plane, name: str) -> None:
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name=name, profile_name="sales-ae"), timeout=10)


async def test_all_are_told_once_then_each_change_to_everybody_who_watches(plane: Plane) -> None:
    await create(plane, "ada")
    await create(plane, "bo")
    watchers = [Watcher(plane.stub) for _ in range(2)]
    for watcher in watchers:
        assert await watcher.names() == ["ada", "bo"]
    await create(plane, "cy")
    for watcher in watchers:
        kind, employee = await watcher.next()
        assert (kind, employee.name, employee.desired_state) == ("changed", "cy", pb.DESIRED_STATE_STOPPED)
    await plane.stub.UpdateEmployee(pb.UpdateEmployeeRequest(employee="bo", autonomy=pb.AUTONOMY_SHADOW), timeout=10)
    for watcher in watchers:
        kind, employee = await watcher.next()
        assert (kind, employee.name, employee.autonomy) == ("changed", "bo", pb.AUTONOMY_SHADOW)
    await plane.stub.DeleteEmployee(pb.DeleteEmployeeRequest(employee="ada"), timeout=10)
    for watcher in watchers:
        kind, employee = await watcher.next()
        assert (kind, employee.name) == ("deleted", "ada")


async def test_a_start_is_followed_and_heartbeats_alone_are_no_change(plane: Plane) -> None:
    await create(plane, "ada")
    watcher = Watcher(plane.stub)
    await watcher.names()
    await plane.stub.StartEmployee(pb.StartEmployeeRequest(employee="ada"), timeout=10)
    attached = await watcher.until(pb.OBSERVED_STATE_ATTACHED)
    assert attached.pid
    told = [attached]
    reading = asyncio.create_task(_collect(watcher, told))
    beats = set[int]()
    async with asyncio.timeout(30):
        while len(beats) < 5:
            now = await plane.stub.GetEmployee(pb.GetEmployeeRequest(employee="ada"), timeout=10)
            beats.add(now.health.heartbeat_at.ToNanoseconds())
            await asyncio.sleep(controlplane.watching.LOOK_SECONDS)
    reading.cancel()
    different = [_without_measures(employee) for employee in told]
    assert all(before != after for before, after in pairwise(different))
    await plane.stub.StopEmployee(pb.StopEmployeeRequest(employee="ada", drain_seconds=1), timeout=30)


async def _collect(watcher: Watcher, told: list[pb.Employee]) -> None:
    while True:
        told.append((await watcher.next())[1])


def _without_measures(employee: pb.Employee) -> pb.Employee:
    for name in ("heartbeat_at", "memory_bytes", "loop_lag_ms", "reported"):
        employee.health.ClearField(name)
    return employee


async def test_a_tenants_token_watches_its_own_only(plane: Plane) -> None:
    await create(plane, "ada")
    tenant_id = await add_tenant(plane.pool, "other")
    await add_employee(plane.pool, tenant_id, "theirs")
    secret = new_secret()
    await plane.pool.execute(
        "INSERT INTO operator_tokens (token_id, tenant_id, name, secret_hash, scope) VALUES ($1, $2, 't', $3, 'read')",
        new_id(), tenant_id, hashed(secret),
    )  # fmt: skip
    async with rpc.dialing(plane.running.grpc_address, secret) as channel:
        watcher = Watcher(control_pb2_grpc.ControlPlaneStub(channel))
        assert await watcher.names() == ["theirs"]
        await create(plane, "bo")
        await plane.pool.execute("UPDATE employees SET paused = true WHERE name = 'theirs'")
        assert (await watcher.next())[1].name == "theirs"


async def test_only_so_many_watch(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlplane.watching, "MAX_WATCHERS", 1)
    first = Watcher(plane.stub)
    await first.names()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await Watcher(plane.stub).next()
    assert (refused.value.code(), rpc.reason_of(refused.value)) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_WATCHERS",
    )
    first.call.cancel()
    async with asyncio.timeout(20):
        while True:
            try:
                assert await Watcher(plane.stub).names() == []
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.1)  # the place is free once the control plane knows
            else:
                return


async def test_whoever_reads_nothing_is_ended_and_told(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlplane.calls.watching, "SLOW_SECONDS", 0.5)
    tenant_id = await add_tenant(plane.pool, "large")
    profile = {"role": "Tester", "goals": ["x" * 100_000]}
    for number in range(20):  # more than the window of the channel, which else grows with what it carries
        await add_employee(plane.pool, tenant_id, f"e-{number:02}", profile=profile)
    small_window = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
    credentials = (("authorization", f"Bearer {plane.token}"),)
    async with grpc.aio.insecure_channel(plane.running.grpc_address, options=small_window) as channel:
        call = control_pb2_grpc.ControlPlaneStub(channel).WatchEmployees(
            pb.WatchEmployeesRequest(), metadata=credentials, timeout=60
        )
        await asyncio.sleep(3)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            assert len([event async for event in call]) <= 20
    assert (ended.value.code(), rpc.reason_of(ended.value)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "WATCH_TOO_SLOW")
    monkeypatch.undo()
    assert len(await Watcher(plane.stub).names()) == 20
