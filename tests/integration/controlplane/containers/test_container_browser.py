"""A browser in a container: its one way out is the proxy in its sidecar."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from controlplane.launchers.confinement import host_configuration
from controlplane.launchers.container import ContainerLauncher
from controlplane.launchers.engine import Engine
from controlplane.launchers.interface import BROWSER, COMPUTE
from empla import rpc
from empla.leases import Lease, mint
from empla.store.ids import new_id
from empla.v1 import control_pb2, sidecar_pb2, sidecar_pb2_grpc
from tests.integration.controlplane.containers.conftest import Images, Order
from workstation.errors import NavigationFailed, WorkstationError
from workstation.interface import Browser

pytestmark = pytest.mark.timeout(900)

PORT = 8000
PAGE = "from the container beside"


@pytest.fixture
async def site(engine: Engine, images: Images, order: Order) -> AsyncIterator[str]:
    """The address of a site in the containers' own network."""
    serve = f"echo '<h1>{PAGE}</h1>' >/tmp/index.html; exec python3 -m http.server -d /tmp {PORT}"
    host = {
        **host_configuration(),
        "NetworkMode": "bridge",
        "Binds": [f"{order.workspace}:/workspace"],
        "Tmpfs": {"/tmp": "mode=1777"},
    }
    name = f"empla-site-{new_id()}"
    container = await engine.create(name, {"Image": images(COMPUTE), "Cmd": ["sh", "-c", serve], "HostConfig": host})
    try:
        await engine.start(container)
        yield (await engine._docker.containers.get(container))["NetworkSettings"]["IPAddress"]
    finally:
        await engine.remove(container)


async def allow(order: Order, address: str) -> None:
    """Configure the sidecar as its employee would."""
    rule = control_pb2.EgressRule(domain=address, ports=[PORT], private=True)
    token = mint(order.key, Lease(order.sidecar_id, order.employee_id, order.expires_at))
    async with rpc.dialing(f"unix:{order.socket}", token) as channel:
        stub = sidecar_pb2_grpc.SidecarControlStub(channel)
        await stub.Configure(sidecar_pb2.SidecarConfiguration(egress=[rule]), timeout=10)


async def arrive(browser: Browser, address: str) -> None:
    """Go there as soon as the site answers, which has only just been started."""
    async with asyncio.timeout(30):
        while True:
            try:
                await browser.navigate("page", address)
            except NavigationFailed:
                await asyncio.sleep(0.1)
            else:
                return


async def test_a_page_is_reached_through_the_proxy_and_only_where_a_rule_allows_it(
    launcher: ContainerLauncher, images: Images, order: Order, site: str
):
    images(BROWSER)
    order = replace(order, kind=BROWSER, memory_bytes=1 << 30)
    await launcher.launch(order.spec(browser_profile=str(order.directory / "profile")))
    address = f"http://{site}:{PORT}/"
    async with order.reached() as station:
        await station.browser.open_page("page")
        with pytest.raises(WorkstationError):
            await station.browser.navigate("page", address)
        await allow(order, site)
        await arrive(station.browser, address)
        assert PAGE in str(await station.browser.read_text("page"))
        with pytest.raises(WorkstationError):
            await station.browser.navigate("page", f"http://{site}:{PORT + 1}/")
    assert (order.directory / "profile").stat().st_uid == order.workspace.stat().st_uid
