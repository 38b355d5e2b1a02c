"""The way of every action: validate → policy → record the intent → run within a deadline → record the result.

A capability says which actions it has, as pydantic models in and out, and implements one method. What it raises as
`CapabilityError` the model may read and react to; any other error fails the step.
"""

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol
from uuid import UUID

from pydantic import BaseModel, JsonValue, ValidationError

from agent.errors import ActionDenied, ActionTimedOut, ActionUnknown, ArgumentsInvalid, CapabilityError, EffectAmbiguous
from agent.models.interface import Tool, storable
from empla import telemetry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a capability can do.

    `name` is what a model calls ([a-z0-9_]); `repeatable` says that doing it twice is the same as doing it once, as with
    all that only reads; `deadline` is in seconds.
    """

    name: str
    description: str
    takes: type[BaseModel]
    gives: type[BaseModel]
    repeatable: bool
    deadline: float = 30.0

    def as_tool(self) -> Tool:
        """The action as a model sees it."""
        return Tool(name=self.name, description=self.description, parameters=self.takes.model_json_schema())


@dataclass(frozen=True, slots=True)
class EffectKey:
    """Which call this is: unit, model response, and call within it. Never what the model happens to say."""

    unit_id: UUID
    message_id: UUID | None
    response_index: int
    call_index: int


@dataclass(frozen=True, slots=True)
class RecordedEffect:
    """What is known of an earlier execution of the same call."""

    state: str  # intended, succeeded, failed, ambiguous
    result: JsonValue = None
    error: str = ""


class EffectLog(Protocol):
    """Where intents and results are made durable."""

    async def begin(
        self, key: EffectKey, *, capability: str, action: Action, arguments: dict[str, Any]
    ) -> RecordedEffect | None:
        """Record the intent; None when it is new, else what an earlier execution left."""
        ...

    async def end(
        self, key: EffectKey, *, state: str, result: JsonValue = None, error: Exception | None = None
    ) -> None:
        """Record what came of it: succeeded, failed or ambiguous."""
        ...


class BaseCapability(ABC):
    """A named set of actions. Subclasses declare `name` and `actions` and write `_execute_action_impl()`."""

    name: ClassVar[str]
    actions: ClassVar[tuple[Action, ...]]

    async def initialize(self) -> None:  # noqa: B027 - most have nothing to open
        """Open what the actions need; called once before the first of them."""

    async def shutdown(self) -> None:  # noqa: B027
        """Close it again."""

    async def health(self) -> str:
        """'' when all is well, else what is wrong in a sentence."""
        return ""

    async def can_resume(self, action: str, key: EffectKey) -> bool:
        """Whether an execution of this call that was begun and cut short is still known here.

        Then executing it again takes up the first one instead of repeating it.
        """
        return False

    @abstractmethod
    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        """Do it. `arguments` is an instance of the action's `takes`; the result is one of its `gives`.

        `key` is the same whenever the same call is made again: a name for what must not happen twice.
        """

    async def execute(self, action: Action, arguments: dict[str, Any], key: EffectKey, effects: EffectLog) -> JsonValue:
        """Run one call and return its result as JSON, or what an earlier execution of the same call returned.

        Raises `CapabilityError` for what the model may react to, `EffectAmbiguous` when an earlier execution was begun
        and never ended, and repeating it is not safe.
        """
        valid = _validated(action, arguments)
        earlier = await effects.begin(key, capability=self.name, action=action, arguments=arguments)
        if earlier is not None and earlier.state in ("succeeded", "failed"):
            return _replayed(earlier)
        if earlier is not None and not action.repeatable and not await self._resumes(action, key, earlier):
            if earlier.state == "intended":
                await effects.end(key, state="ambiguous")
            raise EffectAmbiguous(
                f"{action.name} was begun before and never ended; a person must say whether it happened"
            )
        with telemetry.span(f"capability {action.name}", capability=self.name):
            return await self._run(action, valid, key, effects)

    async def _resumes(self, action: Action, key: EffectKey, earlier: RecordedEffect) -> bool:
        return earlier.state == "intended" and await self.can_resume(action.name, key)

    async def _run(self, action: Action, arguments: BaseModel, key: EffectKey, effects: EffectLog) -> JsonValue:
        try:
            async with asyncio.timeout(action.deadline):
                output = await self._execute_action_impl(action.name, arguments, key)
        except TimeoutError as error:
            late = ActionTimedOut(f"{action.name} did not end within {action.deadline:g} s")
            await effects.end(key, state="failed" if action.repeatable else "ambiguous", error=late)
            if action.repeatable:
                raise late from error
            # What it left behind is unknown. A model that read of a failure would do it again.
            raise EffectAmbiguous(f"{late}; a person must say what it did") from error
        except CapabilityError as error:
            await effects.end(key, state="failed", error=error)
            raise
        result: JsonValue = storable(output.model_dump(mode="json"))
        await effects.end(key, state="succeeded", result=result)
        return result


def _validated(action: Action, arguments: dict[str, Any]) -> BaseModel:
    try:
        return action.takes.model_validate(arguments)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or action.name}: {e['msg']}" for e in error.errors())
        raise ArgumentsInvalid(f"{action.name}: {wrong}") from error


def _replayed(earlier: RecordedEffect) -> JsonValue:
    if earlier.state == "failed":
        raise CapabilityError(earlier.error)
    return earlier.result


class CapabilityRegistry:
    """The capabilities of one employee, found by the names of their actions.

    `granted` are the names in the employee's profile; an action of any other capability is refused, and said to be off.
    """

    def __init__(self, capabilities: list[BaseCapability], granted: frozenset[str] = frozenset()) -> None:
        self._capabilities, self.granted = capabilities, granted
        self._actions = {action.name: (owner, action) for owner in capabilities for action in owner.actions}
        # Made once: a schema costs as much as several steps of a message.
        self._tools = {owner.name: tuple(action.as_tool() for action in owner.actions) for owner in capabilities}
        if len(self._actions) != sum(len(owner.actions) for owner in capabilities):
            raise ValueError("two actions have the same name")

    async def __aenter__(self) -> "CapabilityRegistry":
        for capability in self._capabilities:
            await capability.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        for capability in reversed(self._capabilities):
            await capability.shutdown()

    def tools(self) -> tuple[Tool, ...]:
        """Every granted action, as a model sees it."""
        return tuple(tool for owner, tools in self._tools.items() if owner in self.granted for tool in tools)

    def changes(self, name: str) -> bool:
        """Whether the action `name` does something, rather than only read or come to the same each time."""
        return name in self._actions and not self._actions[name][1].repeatable

    async def execute(
        self,
        name: str,
        arguments: dict[str, Any],
        key: EffectKey,
        effects: EffectLog,
        *,
        on_start: Callable[[], None] = lambda: None,
    ) -> JsonValue:
        """Run the action `name`; raises what `BaseCapability.execute` does, `ActionUnknown` and `ActionDenied`."""
        if name not in self._actions:
            raise ActionUnknown(f"there is no action {name!r}; there are: {', '.join(sorted(self._actions))}")
        owner, action = self._actions[name]
        if owner.name not in self.granted:
            raise ActionDenied(
                f"{name} belongs to the capability {owner.name!r}, which this employee's profile turns off"
            )
        on_start()
        return await owner.execute(action, arguments, key, effects)


def result_text(result: JsonValue) -> str:
    """A result as the text a model reads."""
    return json.dumps(result, ensure_ascii=False)
