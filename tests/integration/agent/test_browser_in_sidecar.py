"""Pages of an employee in a sidecar: a real Chromium in a process of its own, told what it may reach and download."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from agent.capabilities.base import EffectKey
from agent.capabilities.browser import BrowserCapability
from agent.capabilities.policy import Policy
from agent.errors import ActionFailed
from agent.identity import Identity
from agent.local import LocalGateway
from agent.local_sidecars import SidecarProcesses
from agent.placed import placed_browser
from agent.placement import Choice, Placement
from agent.sidecars import Sidecars
from empla.v1 import control_pb2, sidecar_pb2
from empla.v1 import gateway_pb2 as pb
from tests.unit.agent.capabilities.conftest import Effects
from workstation.egress import EgressPolicy, EgressProxy
from workstation.local.browser.browser import LocalBrowser
from workstation.local.files import LocalFileSystem

PAGE = "<title>Plans</title><main><h1>Plans</h1><p>Basic is 10 EUR a month.</p></main><a href=/list.csv>Prices</a>"


@dataclass
class Desk:
    """The Browser capability of one employee, the site that it may reach, and the processes of its sidecars."""

    capability: BrowserCapability
    processes: SidecarProcesses
    sidecars: Sidecars
    url: str
    rules: list[control_pb2.EgressRule]
    placement: Placement = field(default_factory=lambda: Placement(browser=Choice.SIDECAR))
    unit: Any = field(default_factory=uuid4)
    calls: int = 0

    async def __call__(self, name: str, /, **arguments: Any) -> tuple[Any, list[str]]:
        """Call an action; what came of it, and where it was done."""
        self.calls += 1
        effects, key = Placed(), EffectKey(self.unit, None, self.calls, 0)
        action = next(action for action in self.capability.actions if action.name == name)
        result = await self.capability.execute(action, arguments, key, effects, Policy())
        return result, [place["place"].split()[0] for place in effects.places]

    def configure(self, *, rules: list[control_pb2.EgressRule], download_refusal: str = "") -> None:
        self.sidecars.configure(sidecar_pb2.SidecarConfiguration(egress=rules, download_refusal=download_refusal))


class Placed(Effects):
    """An effect log that keeps where actions worked."""

    async def end(self, *_: Any, state: str, places: Any = (), **__: Any) -> None:
        self.states.append(state)
        self.places: list[dict[str, Any]] = list(places)


@pytest.fixture
async def site() -> AsyncIterator[int]:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def prices(_: web.Request) -> web.Response:
        return web.Response(body=b"plan,price\n", headers={"Content-Disposition": 'attachment; filename="list.csv"'})

    application = web.Application()
    application.add_routes([web.get("/", page), web.get("/list.csv", prices)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def desk(jailable_workspace: Path, site: int) -> AsyncIterator[Desk]:
    rules = [control_pb2.EgressRule(domain="127.0.0.1", ports=[site], private=True)]
    async with (
        LocalFileSystem(jailable_workspace) as files,
        EgressProxy(EgressPolicy(())) as egress,
        SidecarProcesses(Identity(uuid4(), uuid4(), 1), jailable_workspace) as processes,
        Sidecars(LocalGateway(pb.EmployeeConfiguration(), sidecars=processes)) as sidecars,
    ):
        capability = BrowserCapability(
            lambda: placed_browser(lambda: LocalBrowser(files, egress=egress), sidecars, lambda: made.placement), files
        )
        made = Desk(capability, processes, sidecars, f"http://127.0.0.1:{site}/", rules)
        made.configure(rules=rules)
        await capability.initialize()
        yield made
        await capability.shutdown()


async def test_pages_are_read_pictured_and_printed_in_a_sidecar(desk: Desk, jailable_workspace: Path):
    opened, places = await desk("open_page", url=desk.url)
    assert "Basic is 10 EUR a month." in opened["marked"]
    assert places == ["sidecar"]
    assert len(desk.processes.pids) == 1
    saved, places = await desk("save_pdf", path="plans.pdf")
    assert (jailable_workspace / "plans.pdf").read_bytes().startswith(b"%PDF")
    assert saved["size"] == (jailable_workspace / "plans.pdf").stat().st_size
    await desk("save_screenshot", path="plans.png")
    assert (jailable_workspace / "plans.png").stat().st_size > 0
    assert len(desk.processes.pids) == 1


async def test_what_it_may_reach_and_download_is_what_the_employee_says(desk: Desk, jailable_workspace: Path):
    desk.configure(rules=desk.rules, download_refusal="it may not")
    downloaded, _ = await desk("open_page", url=f"{desk.url}list.csv")
    assert "it may not" in str(downloaded)
    desk.configure(rules=desk.rules)
    downloaded, _ = await desk("open_page", url=f"{desk.url}list.csv")
    assert [path.name for path in jailable_workspace.rglob("list*.csv")] == ["list.csv"]
    desk.configure(rules=[])
    with pytest.raises(ActionFailed, match="NAVIGATION_BLOCKED"):
        await desk("open_page", url=desk.url)
    assert len(desk.processes.pids) == 1


async def test_a_browser_that_is_killed_is_gone_with_its_pages_and_the_next_page_gets_another(desk: Desk):
    await desk("open_page", url=desk.url)
    [(before, pid)] = desk.processes.pids.items()
    os.kill(pid, signal.SIGKILL)
    with suppress(ActionFailed):  # it was asked before its end was known
        await asyncio.wait_for(desk("list_pages"), 15)
    listed, _ = await desk("list_pages")
    assert "Plans" not in str(listed)
    opened, _ = await desk("open_page", url=desk.url)
    assert "Basic is 10 EUR" in opened["marked"]
    assert before not in desk.processes.pids


async def test_a_profile_that_changes_moves_the_pages_that_are_opened_next(desk: Desk):
    await desk("open_page", url=desk.url)
    desk.placement = Placement(browser=Choice.LOCAL)
    with pytest.raises(ActionFailed, match="NAVIGATION_BLOCKED"):  # the way out of this one allows nothing
        await desk("open_page", url=desk.url, page="other")
