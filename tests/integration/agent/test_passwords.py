"""A password that a model gave to a process that died: it stands in no table, so the next process asks for it again."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from agent.capabilities.base import MASK
from agent.models.interface import ModelRequest, ModelResponse, ToolCall
from agent.models.scripted import ScriptedModel, Step, echo
from empla.v1 import control_pb2
from tests.integration.agent.conftest import Office
from tests.integration.agent.test_browser_capability import everything_kept

PASSWORD = "Tr0ub4dor-and-3"
LOGIN = "<!doctype html><title>Log in</title><label>Password <input type=password></label>"


@dataclass
class HeldSite:
    """A login page that is held back."""

    url: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def form(self, _: web.Request) -> web.Response:
        self.asked.set()
        await self.let_go.wait()
        return web.Response(text=LOGIN, content_type="text/html")


@pytest.fixture
async def site(office: Office) -> AsyncIterator[HeldSite]:
    """The page, which the employee may reach."""
    found = HeldSite()
    application = web.Application()
    application.router.add_get("/", found.form)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    found.url = f"http://127.0.0.1:{port}/"
    office.record.profile.egress.append(control_pb2.EgressRule(domain="127.0.0.1", ports=[port], private=True))
    yield found
    found.let_go.set()
    await runner.cleanup()


def calls(*made: tuple[str, dict[str, Any]]) -> ModelResponse:
    """A response with these calls, whose provider wants its own form of them back."""
    tools = tuple(ToolCall(call_id=f"c{n}", name=name, arguments=given) for n, (name, given) in enumerate(made))
    used = [{"type": "tool_use", "name": call.name, "input": call.arguments} for call in tools]
    return ModelResponse(calls=tools, model="scripted", provider_state=({"provider": "x", "content": used},))


async def test_the_next_launch_asks_the_model_for_it_again(office: Office, site: HeldSite):
    def step(request: ModelRequest) -> Step:
        if request.output is not None:
            return echo(request)
        told = [result.content for message in request.messages for result in message.results]
        if not told:
            typed = {"ref": "e1", "password": PASSWORD}
            return calls(
                ("open_page", {"url": site.url}),
                ("type_password", typed),
                ("type_password", typed | {"pasword": PASSWORD}),
            )
        if len(told) == 3:
            [ref] = re.findall(r'textbox "Password" \[ref=(\w+)\]', told[0])
            return calls(("type_password", {"ref": ref, "password": PASSWORD}))
        return "\n".join(told)

    message_id = await office.store("Log in, please")
    async with asyncio.TaskGroup() as life:
        gateway, running = await office.begin(life, ScriptedModel(step))
        await office.deliver_all(gateway)
        async with asyncio.timeout(60):
            await site.asked.wait()
        running.cancel()
    site.let_go.set()
    async with office.employee(ScriptedModel(step)) as gateway:
        await office.deliver_all(gateway)
        async with asyncio.timeout(60):
            await gateway.handed_over(message_id)
    [reply] = await office.replies(message_id)
    assert "SECRET_FORGOTTEN" in reply
    assert "filled, hidden" in reply
    kept = await everything_kept(office)
    assert MASK in kept
    assert PASSWORD not in kept
