"""Two control planes of one installation, over one database and one home, and an employee that is attached to either."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import grpc
import grpc.aio
import pytest

from controlplane import alerts, forwarding, gateway, health, lifecycle, pauses, telling, vitals
from controlplane.auth import new_secret
from controlplane.backoff import CRASH_LOOP
from controlplane.settings import Settings
from empla import rpc
from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.integration.controlplane.conftest import Plane, free_port, serving
from tests.integration.controlplane.seats import held, lives, seat

NEVER = 3600.0
ADA = "ada"


@dataclass
class Pair:
    """`first` leads, and the employee's process is told of `second` alone."""

    first: Plane
    second: Plane
    leading: AsyncExitStack
    """Closing it ends `first`."""


@pytest.fixture
async def pair(database: Database, short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """What is not told at once would be found out in an hour only."""
    monkeypatch.setattr(gateway, "SWEEP_SECONDS", NEVER)
    monkeypatch.setattr(lifecycle, "RECONCILE_SECONDS", NEVER)
    monkeypatch.setattr(telling, "LOOK_SECONDS", NEVER)
    monkeypatch.setattr(pauses, "ROUND_SECONDS", NEVER)
    first, second = (f"127.0.0.1:{free_port()}" for _ in range(2))

    def settings(address: str) -> Settings:
        return Settings(
            home=short_directory / "home",
            grpc_address=address,
            gateways=second,
            http_address="127.0.0.1:0",
            heartbeat_ms=500,
            drain_seconds=2,
            sidecars_per_employee=2,
            sidecars_queue_seconds=0,
            model_provider="offline",
        )

    token = new_secret()
    async with database.connect() as pool, AsyncExitStack() as both, AsyncExitStack() as leading:
        one = await leading.enter_async_context(serving(settings(first), database.dsn, token, pool))
        await until(lambda: _leads(one))
        two = await both.enter_async_context(serving(settings(second), database.dsn, token, pool))
        await until(lambda: _know_each_other(one, two))
        try:
            yield Pair(one, two, leading)
        finally:
            for plane in (two, one):
                if plane.running.planes.has_lease:
                    await plane.running.lifecycle.stop_all()
            await one.running.launcher.stop()


async def _leads(plane: Plane) -> bool:
    return plane.running.planes.leads


async def _know_each_other(one: Plane, two: Plane) -> bool:
    return one.running.planes.others == two.running.planes.others == 1


async def _beats(plane: Plane) -> str:
    return (await shown(plane)).health.state


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.05)


async def shown(plane: Plane, name: str = ADA) -> pb.Employee:
    employee: pb.Employee = await plane.stub.GetEmployee(pb.GetEmployeeRequest(employee=name), timeout=10)
    return employee


async def attached(plane: Plane) -> pb.Employee:
    async def look() -> bool:
        return (await shown(plane)).observed_state == pb.OBSERVED_STATE_ATTACHED

    await until(look)
    return await shown(plane)


async def answered(plane: Plane, text: str = "What is 17 * 23?") -> pb.Message:
    request = pb.SendMessageRequest(employee=ADA, text=text, wait_ms=60_000)
    message: pb.Message = await plane.stub.SendMessage(request, timeout=40)
    assert message.state == "answered"
    return message


async def create(plane: Plane) -> None:
    profile = pb.CreateEmployeeRequest(name=ADA, profile_name="sales-ae", start=True)
    await plane.stub.CreateEmployee(profile, timeout=20)
    update = pb.UpdateEmployeeRequest(employee=ADA, autonomy=pb.AUTONOMY_AUTONOMOUS)
    await plane.stub.UpdateEmployee(update, timeout=20)


async def test_whatever_is_asked_of_either_is_done_by_the_one_that_can(pair: Pair):
    first, second = pair.first, pair.second
    await create(second)  # which does not launch it
    here, there = await attached(first), await attached(second)
    assert (here.pid, here.epoch) == (there.pid, there.epoch)
    assert lives(here.pid)
    await until(partial(_beats, first))
    assert second.running.planes.leader_address == first.running.grpc_address

    for plane in (first, second):
        assert "391" in (await answered(plane)).replies[0].text

    restarted = await second.stub.RestartEmployee(pb.RestartEmployeeRequest(employee=ADA, drain_seconds=1), timeout=60)
    assert restarted.epoch == here.epoch + 1
    assert not lives(here.pid)
    for plane in (second, first):
        stopped = await plane.stub.StopEmployee(pb.StopEmployeeRequest(employee=ADA, drain_seconds=1), timeout=60)
        assert stopped.observed_state == pb.OBSERVED_STATE_STOPPED
        assert not lives(restarted.pid)
        await second.stub.StartEmployee(pb.StartEmployeeRequest(employee=ADA), timeout=20)
        restarted = await attached(second)
    await second.stub.DeleteEmployee(pb.DeleteEmployeeRequest(employee=ADA, force=True), timeout=30)
    assert not lives(restarted.pid)


async def test_whoever_converses_by_the_other_one_sees_each_step_and_one_answer(pair: Pair):
    await create(pair.first)
    await attached(pair.first)
    steps: dict[int, list[str]] = {}
    for number, plane in enumerate((pair.first, pair.second)):
        seen = steps.setdefault(number, [])
        async for event in plane.stub.Converse(pb.ConverseRequest(employee=ADA, text="What is 17 * 23?"), timeout=40):
            seen.append(event.WhichOneof("event"))
    for seen in steps.values():
        assert (seen[0], seen[-1]) == ("accepted", "reply")
        assert "step" in seen


async def test_where_the_one_that_has_the_stream_does_not_answer_a_conversation_goes_on_from_here(pair: Pair):
    await create(pair.first)
    employee = await attached(pair.first)
    streams, nowhere = pair.first.running.lifecycle._streams, f"127.0.0.1:{free_port()}"
    pair.second.running.planes.address = nowhere

    async def is_lost() -> bool:
        return streams.address_of(UUID(employee.employee_id)) == nowhere

    await until(is_lost)
    call = pair.first.stub.Converse(pb.ConverseRequest(employee=ADA, text="What is 17 * 23?"), timeout=40)
    events = [event async for event in call]
    assert [event.WhichOneof("event") for event in (events[0], events[-1])] == ["accepted", "reply"]
    assert events[-1].reply.message_id == events[0].accepted.message_id


async def test_a_pause_is_heard_by_the_one_that_has_the_stream(pair: Pair):
    await create(pair.first)
    await attached(pair.first)

    async def is_paused() -> bool:
        return (await shown(pair.second)).health.state == "paused"

    await pair.first.stub.Pause(pb.PauseRequest(employee=ADA), timeout=10)
    await until(is_paused)
    await pair.first.stub.Resume(pb.ResumeRequest(employee=ADA), timeout=10)

    async def works() -> bool:
        return not await is_paused()

    await until(works)


async def test_a_restart_ends_a_crash_loop_whichever_is_asked(pair: Pair):
    await create(pair.first)
    before = await attached(pair.second)
    known = pair.first.running.lifecycle._observed[UUID(before.employee_id)]
    for _ in range(CRASH_LOOP):
        known.failed("exit code 7")
    os.kill(before.pid, signal.SIGKILL)

    async def loop() -> bool:
        states = [(await shown(plane)).observed_state for plane in (pair.first, pair.second)]
        return states == 2 * [pb.OBSERVED_STATE_CRASH_LOOPING]

    await until(loop)
    first, second = [await shown(plane) for plane in (pair.first, pair.second)]
    assert first.restarts == second.restarts == 1
    assert first.last_end == second.last_end
    assert first.last_end.reason == "killed by SIGKILL"
    assert first.last_end.log
    assert first.last_end.HasField("next_start")
    after = await pair.second.stub.RestartEmployee(pb.RestartEmployeeRequest(employee=ADA), timeout=60)
    assert after.epoch == before.epoch + 1


async def told(plane: Plane) -> tuple[list[pb.Employee], list[str]]:
    """The employee by each call that tells of it, and its metrics, without what differs with each heartbeat."""
    listed = await plane.stub.ListEmployees(pb.ListEmployeesRequest(), timeout=10)
    overview = await plane.stub.GetOverview(pb.GetOverviewRequest(), timeout=10)
    employees = [await shown(plane), *listed.employees, *overview.employees]
    for employee in employees:
        for name in ("heartbeat_at", "memory_bytes", "loop_lag_ms"):
            employee.health.ClearField(name)
    return employees, [line for line in await scraped(plane) if line.startswith("empla_employee")]


async def scraped(plane: Plane) -> list[str]:
    headers, address = {"Authorization": f"Bearer {plane.token}"}, f"http://{plane.running.http_address}/metrics"
    async with aiohttp.ClientSession() as client, client.get(address, headers=headers) as response:
        return (await response.text()).splitlines()


async def test_both_tell_the_same_of_an_employee_however_it_fares(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    for module, name in ((alerts, "ROUND_SECONDS"), (vitals, "LOOK_SECONDS"), (lifecycle, "RECONCILE_SECONDS")):
        monkeypatch.setattr(module, name, 0.1)
    first, second = pair.first, pair.second
    await create(first)
    employee = await attached(first)

    async def both(state: pb.HealthState.ValueType) -> pb.Employee:
        async def same() -> bool:
            (employees, metrics), others = await told(first), await told(second)
            measured = f'empla_employee_health{{employee="ada",tenant="default"}} {float(state)}'
            return (employees, metrics) == others and employees[0].health_state == state and measured in metrics

        await until(same)
        return await shown(second)

    async def is_known_when_idle() -> bool:
        return all([(await shown(plane)).figures.idle_memory_bytes > 0 for plane in (first, second)])

    await both(pb.HEALTH_STATE_HEALTHY)
    await until(is_known_when_idle)
    assert "empla_leader 1.0" in await scraped(first)
    assert "empla_leader 0.0" in await scraped(second)

    await first.stub.Pause(pb.PauseRequest(employee=ADA), timeout=10)
    assert list((await both(pb.HEALTH_STATE_DEGRADED)).health_reasons) == ["it is paused"]
    await first.stub.Resume(pb.ResumeRequest(employee=ADA), timeout=10)

    async def are_lost() -> bool:
        states = {one.health_state for plane in (first, second) for one in (await told(plane))[0]}
        return states == {pb.HEALTH_STATE_LOST}

    os.kill(employee.pid, signal.SIGSTOP)
    await until(are_lost)
    known = first.running.lifecycle._observed[UUID(employee.employee_id)]
    for _ in range(CRASH_LOOP):
        known.failed("exit code 7")
    os.kill(employee.pid, signal.SIGKILL)
    failing = await both(pb.HEALTH_STATE_UNHEALTHY)
    assert failing.observed_state == pb.OBSERVED_STATE_CRASH_LOOPING

    for number in range(health.SIDECARS_FAILED):
        first.running.planes.tell("sidecar_failed", employee.employee_id, number)

    async def knows_of_sidecars() -> bool:
        return any("3 sidecars could not be launched" in why for why in (await shown(second)).health_reasons)

    await until(knows_of_sidecars)


async def test_a_sidecar_is_asked_of_the_next_leader_when_that_one_is_gone(pair: Pair):
    asking = await seat(pair.second, "grace")
    pair.second.running.planes.leader_address = f"127.0.0.1:{free_port()}"  # until it looks again
    lease = await asking.acquire()
    await asking.release(lease)


async def test_when_the_one_that_leads_ends_the_other_adopts_and_nobody_is_restarted(pair: Pair, database: Database):
    await create(pair.first)
    before = await attached(pair.second)
    grace = await seat(pair.second, "grace")
    lease = await grace.acquire(idle_ttl_seconds=600)
    await pair.leading.aclose()
    await until(lambda: _leads(pair.second))
    after = await attached(pair.second)
    await grace.renew(lease)
    await until(lambda: asyncio.to_thread(lambda: before.pid in held()))
    holding = await asyncio.to_thread(held)
    assert len(holding) == len(set(holding)), "the one that has ended has let go of them"
    assert (after.pid, after.epoch, after.restarts) == (before.pid, before.epoch, 0)
    await answered(pair.second)
    stopped = await pair.second.stub.StopEmployee(pb.StopEmployeeRequest(employee=ADA, drain_seconds=1), timeout=60)
    assert stopped.observed_state == pb.OBSERVED_STATE_STOPPED
    assert not lives(before.pid)


async def test_the_leader_hears_of_employees_of_one_that_cannot_say_that_it_is_there(pair: Pair):
    await create(pair.first)
    employee_id = UUID((await attached(pair.first)).employee_id)
    planes, streams = pair.first.running.planes, pair.first.running.lifecycle._streams

    async def alone() -> bool:
        return not planes.others

    async def is_heard_again() -> bool:
        seen = streams.seen(employee_id)
        return seen is not None and seen.seen_at > since

    cut_off = pair.second.running.planes
    cut_off._dsn = cut_off._dsn.replace("host=", "host=/nowhere")
    query = "SELECT pg_terminate_backend(backend) FROM control_planes WHERE instance = $1"
    await pair.second.pool.execute(query, cut_off.instance)
    await until(alone)
    since = time.monotonic()
    await until(is_heard_again)


async def test_sidecars_are_kept_by_the_one_that_leads(pair: Pair, database: Database):
    first, second = pair.first, pair.second
    asking = await seat(second, "grace")
    leases = [await asking.acquire()]
    asking.plane = first
    leases.append(await asking.acquire())
    asking.plane = second
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await asking.acquire()
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await asking.renew(leases[0])).sidecar_id == leases[0].sidecar_id
    await asking.release(leases[1])
    stop = pb.StopSidecarRequest(sidecar_id=leases[0].sidecar_id)
    await second.stub.StopSidecar(stop, timeout=30)
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await asking.renew(leases[0])
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND


async def test_an_upload_by_the_other_one_may_take_as_long_as_by_the_one_that_leads(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(forwarding, "LONGEST_SECONDS", 0.5)
    await seat(pair.second, "grace")

    async def slowly() -> AsyncIterator[pb.WriteFileRequest]:
        yield pb.WriteFileRequest(employee="grace", path="a", data=b"1")
        await asyncio.sleep(1)
        yield pb.WriteFileRequest(data=b"2", end=True)

    assert (await pair.second.stub.WriteFile(slowly())).size == 2


async def test_files_are_read_and_written_by_the_one_that_leads(pair: Pair):
    second, content = pair.second, bytes(range(256)) * 10_000
    await seat(second, "grace")
    parts = [content[:1_000_000], content[1_000_000:]]
    requests = [pb.WriteFileRequest(employee="grace", path="a"), *(pb.WriteFileRequest(data=part) for part in parts)]
    requests.append(pb.WriteFileRequest(end=True))
    written = await second.stub.WriteFile(iter(requests), timeout=30)
    read = second.stub.ReadFile(pb.ReadFileRequest(employee="grace", path="a"), timeout=30)
    assert b"".join([chunk.data async for chunk in read]) == content
    assert list((await second.stub.ListFiles(pb.ListFilesRequest(employee="grace"), timeout=30)).files) == [written]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await second.stub.RemoveFile(pb.RemoveFileRequest(employee="grace", path="../a"), timeout=30)
    assert rpc.reason_of(refused.value) == "PATH_OUTSIDE_WORKSPACE"
    await second.stub.RemoveFile(pb.RemoveFileRequest(employee="grace", path="a"), timeout=30)
