"""Sidecars in real containers: what they can do, how they end, and what is left of them."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.launchers.container import ContainerLauncher
from controlplane.launchers.engine import Engine
from controlplane.launchers.interface import COMPUTE
from empla.store.ids import new_id
from tests.cable import Cable
from tests.conformance.programs import run
from tests.integration.controlplane.containers.conftest import IMAGES, Images, Order
from workstation.interface import EndReason

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def _built(images: Images) -> None:
    images(COMPUTE)


async def test_a_sidecar_works_on_the_workspace_of_its_employee(launcher: ContainerLauncher, order: Order):
    await launcher.launch(order.spec())
    async with order.reached() as station:
        ran = await run(station.compute, "sh", "-c", "echo written > file; id -u; grep CapBnd /proc/self/status")
        assert ran.text.split() == ["1000", "CapBnd:", "0000000000000000"]
        assert (await station.files.stat("file")).size == len("written\n")
    written = (order.workspace / "file").stat()
    assert (written.st_uid, written.st_gid) == (order.workspace.stat().st_uid, order.workspace.stat().st_gid)
    assert "serving at" in await asyncio.to_thread(order.log.read_text)


async def test_a_program_that_takes_too_much_memory_ends_alone(launcher: ContainerLauncher, order: Order):
    await launcher.launch(order.spec())
    async with order.reached() as station:
        ran = await run(station.compute, "python3", "-c", "x = bytearray(2 << 30)")
        assert ran.end.reason is EndReason.OUT_OF_MEMORY
        assert (await run(station.compute, "true")).end.exit_code == 0


async def test_a_container_has_the_bounds_and_labels_of_its_launch(
    launcher: ContainerLauncher, engine: Engine, order: Order, installation: str
):
    process = await launcher.launch(order.spec())
    (container,) = await engine.containers({"empla.installation": installation})
    assert (
        container["Labels"]
        | {
            "empla.kind": COMPUTE,
            "empla.sidecar": str(order.sidecar_id),
            "empla.employee": str(order.employee_id),
            "empla.epoch": "3",
        }
        == container["Labels"]
    )
    assert process.identity() == {"container": container["Id"]}
    host = (await engine._docker.containers.get(container["Id"]))["HostConfig"]
    assert order.memory_bytes < host["Memory"] == host["MemorySwap"] < order.memory_bytes * 2
    assert (host["NanoCpus"], host["NetworkMode"], host["Privileged"]) == (10**9, "none", False)
    assert host["PidsLimit"] > 0


async def test_it_ends_in_order_when_it_is_told_to(launcher: ContainerLauncher, order: Order):
    process = await launcher.launch(order.spec())
    process.kill(signal.SIGTERM)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
    assert not order.socket.exists()
    assert await launcher.running() == []


async def test_it_ends_itself_when_its_lease_runs_out(launcher: ContainerLauncher, order: Order):
    process = await launcher.launch(replace(order, seconds=10).spec())
    async with asyncio.timeout(60):
        assert await process.wait() == 0


async def test_a_killed_one_is_gone_with_its_programs(
    launcher: ContainerLauncher, order: Order, left_containers: Callable[[str], list[str]]
):
    process = await launcher.launch(order.spec())
    async with order.reached() as station:
        program = asyncio.ensure_future(run(station.compute, "sleep", "1000"))
        while not await station.compute.list():
            await asyncio.sleep(0.01)
        process.kill(signal.SIGKILL)
        async with asyncio.timeout(60):
            assert await process.wait() == await process.wait() == -signal.SIGKILL
        program.cancel()
        await asyncio.wait([program])
    assert left_containers(str(order.sidecar_id)) == []
    process.kill(signal.SIGKILL)  # of one that is gone: nothing


async def test_a_later_launcher_finds_what_an_earlier_one_started(
    engine_address: str, launcher: ContainerLauncher, order: Order, installation: str
):
    async with ContainerLauncher(engine_address, installation, IMAGES) as earlier:
        started = await earlier.launch(order.spec())
    (found,) = await launcher.running(order.employee_id)
    assert (found.identity(), found.kind, found.epoch) == (started.identity(), COMPUTE, 3)
    assert (found.sidecar_id, found.employee_id) == (order.sidecar_id, order.employee_id)
    assert await launcher.running(new_id()) == []
    async with ContainerLauncher(engine_address, "another", IMAGES) as another:
        assert await another.running() == []
    found.kill(signal.SIGKILL)
    async with asyncio.timeout(60):
        assert await found.wait() == -signal.SIGKILL


async def test_what_ended_while_nobody_looked_is_removed(
    engine_address: str,
    launcher: ContainerLauncher,
    engine: Engine,
    order: Order,
    installation: str,
    left_containers: Callable[[str], list[str]],
):
    async with ContainerLauncher(engine_address, installation, IMAGES) as earlier:
        process = await earlier.launch(order.spec())
    await engine.signal(process.identity()["container"], signal.SIGKILL)
    await engine.ended(process.identity()["container"])
    assert left_containers(str(order.sidecar_id)) != []
    assert await launcher.running() == []
    assert left_containers(str(order.sidecar_id)) == []


async def test_an_engine_that_is_away_for_a_while_costs_no_sidecar(
    cable: Cable, launcher: ContainerLauncher, order: Order, installation: str
):
    async with ContainerLauncher(f"unix://{cable.place}", installation, IMAGES) as ours:
        process = await ours.launch(order.spec())
        waiting = asyncio.ensure_future(process.wait())
        await asyncio.sleep(0.1)
        cable.refusing = True
        cable.cut()
        async with order.reached() as station:
            assert (await run(station.compute, "true")).end.exit_code == 0
        await asyncio.sleep(1.5)  # in which it is asked for in vain
        assert not waiting.done()
        cable.refusing = False
        process.kill(signal.SIGKILL)
        async with asyncio.timeout(60):
            assert await waiting == -signal.SIGKILL


async def test_three_sidecars_of_one_employee_share_a_workspace_and_nothing_else(
    launcher: ContainerLauncher, order: Order, short_directory: Path
):
    orders = [Order(short_directory / name, order.workspace, employee_id=order.employee_id) for name in ("a", "b", "c")]
    for each in orders:
        each.directory.mkdir()
        os.chmod(each.directory, 0o711)
    async with asyncio.TaskGroup() as launching:
        for each in orders:
            launching.create_task(launcher.launch(each.spec()))
    for number, each in enumerate(orders):
        async with each.reached() as station:
            ran = await run(station.compute, "sh", "-c", f"ls /tmp; touch /tmp/mine; echo {number} >> shared")
            assert (ran.end.exit_code, ran.text) == (0, "")
            assert len(await station.compute.list()) == 1
    assert (order.workspace / "shared").read_text() == "0\n1\n2\n"
    assert len(await launcher.running(order.employee_id)) == 3
