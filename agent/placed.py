"""Workstations at a place that was chosen for them: each call is noted, and keeps its sidecar from being given back."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from typing import Any, cast

from agent.capabilities.places import LOCAL, working_at
from agent.placement import USUAL_MEMORY, Choice, Placement
from agent.sidecars import Sidecar, Sidecars
from empla.v1 import control_pb2
from workstation.forwarding import Forwarding
from workstation.interface import Browser
from workstation.opening import OpenedOnUse

Using = Callable[[], AbstractAsyncContextManager[None]]
"""A block in which a place is used."""


class AtPlace:
    """Any of the workstation's Protocols, whose calls are made while its place is in use."""

    def __init__(self, protocol: object, using: Using) -> None:
        self._protocol, self._using = protocol, using

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._protocol, name)
        return partial(self._stream if inspect.isasyncgenfunction(method) else self._ask, method)

    async def _ask(self, method: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        async with self._using():
            return await method(*arguments, **named)

    async def _stream(self, method: Callable[..., Any], /, *arguments: Any, **named: Any) -> AsyncGenerator[Any]:
        """Item by item: what the caller does with one is none of the place's business."""
        async with aclosing(method(*arguments, **named)) as items:
            while True:
                async with self._using():
                    try:
                        item = await anext(items)
                    except StopAsyncIteration:
                        return
                yield item


@asynccontextmanager
async def beside_employee() -> AsyncIterator[None]:
    """Use this machine."""
    with working_at(LOCAL, USUAL_MEMORY):
        yield


def inside(sidecar: Sidecar) -> Using:
    """Use a sidecar."""

    @asynccontextmanager
    async def using() -> AsyncIterator[None]:
        with working_at(f"sidecar {sidecar.sidecar_id}", sidecar.memory_bytes):
            async with sidecar.in_use():
                yield

    return using


def note_wait(sidecar: Sidecar) -> None:
    """Note that the action of now had to wait for this sidecar."""
    with working_at(f"sidecar {sidecar.sidecar_id}", sidecar.memory_bytes, waited=sidecar.waited):
        pass


class _BrowserPlaces:
    """Where the profile wants the Browser; another sidecar when that of before is gone."""

    def __init__(self, local: OpenedOnUse[Browser], sidecars: Sidecars, placement: Callable[[], Placement]) -> None:
        self._local, self._sidecars, self._placement = local, sidecars, placement
        self._sidecar: Sidecar | None = None
        self._getting = asyncio.Lock()

    async def here(self) -> Browser:
        """The one that the next call goes to."""
        if self._placement().browser is not Choice.SIDECAR:
            return cast("Browser", AtPlace(await self._local.get(), beside_employee))
        sidecar = await self._held()
        return cast("Browser", AtPlace(sidecar.workstation.browser, inside(sidecar)))

    async def _held(self) -> Sidecar:
        async with self._getting:
            if self._sidecar is None or self._sidecar.ended:
                memory = min(USUAL_MEMORY, self._placement().sidecar_memory)
                self._sidecar = await self._sidecars.acquire(control_pb2.SIDECAR_KIND_BROWSER, memory)
                note_wait(self._sidecar)
            return self._sidecar


@asynccontextmanager
async def placed_browser(
    open_local: Callable[[], AbstractAsyncContextManager[Browser]],
    sidecars: Sidecars,
    placement: Callable[[], Placement],
) -> AsyncIterator[Browser]:
    """A Browser that is where the placement of each moment wants it; this machine's is opened when it is first used."""
    async with OpenedOnUse(open_local) as local:
        yield cast("Browser", Forwarding(Browser, _BrowserPlaces(local, sidecars, placement).here))
