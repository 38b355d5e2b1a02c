"""Fewer of an employee's capabilities, for who may use no more of them."""

from typing import Any

from pydantic import JsonValue

from agent.capabilities.base import CapabilityRegistry, EffectKey, EffectLog
from agent.errors import ActionDenied
from agent.models.interface import ModelResponse, Tool, ToolCall


class NarrowedRegistry:
    """Of a registry, the capabilities of these names; what its profile and policy say holds as it does there."""

    def __init__(self, registry: CapabilityRegistry, names: frozenset[str]) -> None:
        self._registry, self._names = registry, names

    def tools(self) -> tuple[Tool, ...]:
        """Every action that may be used, as a model sees it."""
        return tuple(tool for tool in self._registry.tools() if self.owner_of(tool.name) in self._names)

    def owner_of(self, name: str) -> str:
        """See `CapabilityRegistry.owner_of`."""
        return self._registry.owner_of(name)

    def changes(self, name: str) -> bool:
        """See `CapabilityRegistry.changes`."""
        return self._registry.changes(name)

    def masked(self, call: ToolCall) -> ToolCall:
        """See `CapabilityRegistry.masked`."""
        return self._registry.masked(call)

    def recorded(self, response: ModelResponse) -> ModelResponse:
        """See `CapabilityRegistry.recorded`."""
        return self._registry.recorded(response)

    async def execute(self, name: str, arguments: dict[str, Any], key: EffectKey, effects: EffectLog) -> JsonValue:
        """Run the action `name`; raises what `CapabilityRegistry.execute` does, and `ActionDenied` for one of the others."""
        if (owner := self.owner_of(name)) and owner not in self._names:
            raise ActionDenied(f"{name} belongs to the capability {owner!r}, which this task may not use")
        return await self._registry.execute(name, arguments, key, effects)


type Actions = CapabilityRegistry | NarrowedRegistry
