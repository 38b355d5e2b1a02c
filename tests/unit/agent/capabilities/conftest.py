"""Capabilities over a real workspace, each call under a key of its own."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from agent.capabilities.base import Action, BaseCapability, EffectKey, RecordedEffect
from agent.capabilities.compute import ComputeCapability
from agent.capabilities.workspace import WorkspaceCapability
from workstation.interface import Compute
from workstation.local.compute import LocalCompute
from workstation.local.files import LocalFileSystem

_calls = itertools.count()


class Effects:
    """Keeps nothing but what an earlier execution is said to have left."""

    def __init__(self, earlier: RecordedEffect | None = None) -> None:
        self.earlier = earlier
        self.states: list[str] = []

    async def begin(self, *_: Any, **__: Any) -> RecordedEffect | None:
        return self.earlier

    async def end(self, *_: Any, state: str, **__: Any) -> None:
        self.states.append(state)


class Caller:
    """Calls actions as the worker does."""

    def __init__(self, capability: BaseCapability) -> None:
        self.capability = capability
        self._actions: dict[str, Action] = {action.name: action for action in capability.actions}

    async def __call__(
        self, action: str, /, *, key: EffectKey | None = None, effects: Effects | None = None, **arguments: Any
    ) -> Any:
        key = key or fresh_key()
        return await self.capability.execute(self._actions[action], arguments, key, effects or Effects())


def fresh_key() -> EffectKey:
    return EffectKey(uuid4(), None, 0, next(_calls))


@pytest.fixture
def workspace(jailable_workspace: Path) -> Path:
    """Where the files are."""
    return jailable_workspace


@pytest.fixture
async def files(workspace: Path) -> AsyncIterator[LocalFileSystem]:
    async with LocalFileSystem(workspace) as opened:
        yield opened


@pytest.fixture
def act(files: LocalFileSystem) -> Caller:
    """Calls an action on the workspace."""
    return Caller(WorkspaceCapability(files))


@pytest.fixture
async def computing(workspace: Path, files: LocalFileSystem) -> AsyncIterator[Callable[..., Awaitable[Caller]]]:
    """Makes callers of the actions of compute, by how it is opened."""
    made: list[ComputeCapability] = []

    async def open_one(
        open_compute: Callable[[], AbstractAsyncContextManager[Compute]] = lambda: LocalCompute(workspace, warm=1),
    ) -> Caller:
        made.append(ComputeCapability(open_compute, files))
        await made[-1].initialize()
        return Caller(made[-1])

    yield open_one
    for capability in made:
        await capability.shutdown()


@pytest.fixture
async def run(computing: Callable[..., Awaitable[Caller]]) -> Caller:
    """Calls an action of compute."""
    return await computing()
