"""Launches that cannot succeed say why and what to do, and leave nothing."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.errors import LaunchFailed
from controlplane.launchers.container import ContainerLauncher
from controlplane.launchers.containers import Image
from controlplane.launchers.interface import COMPUTE
from empla.store.ids import new_id
from tests import container_engine
from tests.cable import Cable
from tests.conformance.programs import run
from tests.integration.controlplane.containers.conftest import IMAGES, Images, Order
from workstation.errors import WorkstationUnavailable

pytestmark = pytest.mark.timeout(900)

type Left = Callable[[str], list[str]]


async def refusal(launcher: ContainerLauncher, order: Order, left: Left) -> LaunchFailed:
    """Why a launch fails, after which nothing of it is left."""
    with pytest.raises(LaunchFailed) as caught:
        await launcher.launch(order.spec())
    assert left(str(order.sidecar_id)) == []
    return caught.value


async def test_an_image_that_is_missing(engine_address: str, order: Order, left_containers: Left):
    absent = {COMPUTE: Image("localhost/empla/no-such-image:latest")}
    async with ContainerLauncher(engine_address, "test", absent) as launcher:
        failure = await refusal(launcher, order, left_containers)
    assert failure.reason == "IMAGE_MISSING"
    assert "localhost/empla/no-such-image:latest: build it with deploy/images/build.sh" in str(failure)


async def test_a_network_that_is_missing(engine_address: str, images: Images, order: Order, left_containers: Left):
    async with ContainerLauncher(engine_address, "test", {COMPUTE: Image(images(COMPUTE), "nowhere")}) as launcher:
        failure = await refusal(launcher, order, left_containers)
    assert failure.reason == "NETWORK_MISSING"
    assert "docker network create" in str(failure)


async def test_a_kind_without_an_image(engine_address: str, order: Order, left_containers: Left):
    async with ContainerLauncher(engine_address, "test", {}) as launcher:
        assert (await refusal(launcher, order, left_containers)).reason == "IMAGE_MISSING"


async def test_an_engine_that_is_down(order: Order, short_directory: Path):
    async with ContainerLauncher(f"unix://{short_directory}/nobody.sock", "test", IMAGES) as launcher:
        for call in (launcher.launch(order.spec()), launcher.running()):
            with pytest.raises(LaunchFailed) as caught:
                await call
            assert caught.value.reason == "ENGINE_UNREACHABLE"
            assert "start it" in str(caught.value)


async def test_an_engine_that_goes_away_during_a_launch(cable: Cable, images: Images, order: Order):
    images(COMPUTE)
    async with ContainerLauncher(f"unix://{cable.place}", "test", IMAGES) as launcher:
        cable.refusing = True
        cable.cut()
        with pytest.raises(LaunchFailed) as caught:
            await launcher.launch(order.spec())
        assert caught.value.reason == "ENGINE_UNREACHABLE"


async def test_a_workspace_that_is_missing(
    launcher: ContainerLauncher, images: Images, order: Order, left_containers: Left
):
    images(COMPUTE)
    order.workspace.rmdir()
    failure = await refusal(launcher, order, left_containers)
    assert failure.reason == "VOLUME_MISSING"
    assert str(order.workspace) in str(failure)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's directories are at stake")
async def test_a_workspace_of_root(launcher: ContainerLauncher, images: Images, order: Order, left_containers: Left):
    images(COMPUTE)
    os.chown(order.workspace, 0, 0)
    failure = await refusal(launcher, order, left_containers)
    assert failure.reason == "ENDED"
    assert "the workspace belongs to root" in str(failure)
    assert "give it to an unprivileged account" in str(failure)


async def test_settings_that_the_sidecar_refuses(
    launcher: ContainerLauncher, images: Images, order: Order, left_containers: Left
):
    images(COMPUTE)
    with pytest.raises(LaunchFailed) as caught:
        await launcher.launch(order.spec(key="no key"))
    assert caught.value.reason == "ENDED"
    assert "no key" not in str(caught.value)
    assert left_containers(str(order.sidecar_id)) == []


async def test_the_same_sidecar_twice(launcher: ContainerLauncher, images: Images, order: Order):
    images(COMPUTE)
    await launcher.launch(order.spec())
    with pytest.raises(LaunchFailed) as caught:
        await launcher.launch(order.spec())
    assert caught.value.reason == "ALREADY_THERE"
    async with order.reached() as station:
        assert (await run(station.compute, "true")).end.exit_code == 0


async def test_a_launch_that_is_given_up_leaves_no_container(
    launcher: ContainerLauncher, images: Images, order: Order, left_containers: Left
):
    images(COMPUTE)
    launching = asyncio.ensure_future(launcher.launch(order.spec()))
    while not left_containers(str(order.sidecar_id)):
        await asyncio.sleep(0.01)
    launching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launching
    assert left_containers(str(order.sidecar_id)) == []


@pytest.mark.skipif("DOCKER_HOST" in os.environ, reason="it restarts the engine, which is somebody else's")
async def test_an_engine_that_is_restarted_takes_its_sidecars_along(
    launcher: ContainerLauncher, images: Images, order: Order, short_directory: Path
):
    images(COMPUTE)
    process = await launcher.launch(order.spec())
    async with order.reached() as station:
        program = asyncio.ensure_future(run(station.compute, "sleep", "1000"))
        while not await station.compute.list():
            await asyncio.sleep(0.01)
        await asyncio.to_thread(container_engine.restart)
        async with asyncio.timeout(60):
            await process.wait()
            with pytest.raises(WorkstationUnavailable):
                await program
    assert await launcher.running() == []
    (short_directory / "next").mkdir(mode=0o711)
    following = replace(order, directory=short_directory / "next", sidecar_id=new_id())
    await launcher.launch(following.spec())
    async with following.reached() as station:
        assert (await run(station.compute, "true")).end.exit_code == 0
