"""The way of every action: validate → record the intent → policy → run within a deadline → record the result.

A capability says which actions it has, as pydantic models in and out, and implements one method. What it raises as
`CapabilityError` the model may read and react to; any other error fails the step. The record comes before the policy, so
that what happened stays so when a policy changes, and what was not done is on record as well.
"""

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol
from uuid import UUID

from pydantic import BaseModel, JsonValue, SecretStr, ValidationError

from agent.capabilities.places import noted, noting
from agent.capabilities.policy import Policy, Risky
from agent.errors import (
    ActionDenied,
    ActionFailed,
    ActionTimedOut,
    ActionUnknown,
    ApprovalNeeded,
    ArgumentsInvalid,
    CapabilityError,
    EffectAmbiguous,
)
from agent.models.interface import ModelResponse, Tool, ToolCall, storable
from agent.moments import calling
from agent.pausing import Pause
from agent.prompts import json_without_marks
from empla import telemetry

log = logging.getLogger(__name__)

MASK = "**********"
"""What stands in every record in the place of a secret argument."""
MARKED = "marked"
"""The field of a result that holds text of others in its marks (`agent.prompts.mark`): it is shown as it is, not as JSON."""
ABANDON_SECONDS = 10.0
_ALLOW_ALL = Policy()


_UNSHOWN = frozenset(("title", "minLength", "maxLength", "pattern", "format", "writeOnly", "additionalProperties"))
"""Of a schema, what repeats a name, or is told soon enough to who goes beyond it."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a capability can do.

    `name` is what a model calls ([a-z0-9_]); `repeatable` says that doing it twice is the same as doing it once, as with
    all that only reads; `deadline` is in seconds. `moves` says that what is looked at afterwards may be another thing,
    though it is repeatable. An argument of type `SecretStr` stands in no record.
    """

    name: str
    description: str
    takes: type[BaseModel]
    gives: type[BaseModel]
    repeatable: bool
    deadline: float = 30.0
    moves: bool = False

    def as_tool(self) -> Tool:
        """The action as a model sees it."""
        schema = _lean(self.takes.model_json_schema())
        schema.pop("description", None)  # of the class, for readers of the code
        return Tool(name=self.name, description=self.description, parameters=schema)

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the arguments that stand in no record."""
        return frozenset(name for name, field in self.takes.model_fields.items() if field.annotation is SecretStr)

    def masked(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as they are recorded: secrets, and beside them what has an unknown name, are masked."""
        if not (secrets := self.secrets):
            return arguments
        plain = self.takes.model_fields.keys() - secrets
        return {name: value if name in plain else MASK for name, value in arguments.items()}


def _lean(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema as short as it can be: a model reads each of them with every call."""
    given = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(given) == 1 and schema.get("default", ...) is None:  # what may be left out
        schema = given[0] | {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    lean = {key: value for key, value in schema.items() if key not in _UNSHOWN}
    for key in ("properties", "$defs"):
        if key in lean:
            lean[key] = {name: _lean(one) for name, one in lean[key].items()}
    if isinstance(items := lean.get("items"), dict):
        lean["items"] = _lean(items)
    return lean


@dataclass(frozen=True, slots=True)
class EffectKey:
    """Which call this is: unit, model response, and call within it. Never what the model happens to say.

    `approved`: a person has allowed it, and with it `held`, what it led to before and was held back. `anew_since` is when a
    person said that it be done after all: a record from before that, of a refusal or of a run that nobody knows the end of,
    does not stand in the way.

    `worker_id`: the unit is a sub-agent, which works for this worker and is stopped with it. `led`: text of others may have
    led to the call, though its unit has not read any itself.
    """

    unit_id: UUID
    message_id: UUID | None
    response_index: int
    call_index: int
    approved: bool = field(default=False, compare=False)
    held: Risky | None = field(default=None, compare=False)
    anew_since: datetime | None = field(default=None, compare=False)
    worker_id: UUID | None = field(default=None, compare=False)
    led: bool = field(default=False, compare=False)

    @property
    def works_for(self) -> UUID:
        """The worker that the call is made for."""
        return self.worker_id or self.unit_id


@dataclass(frozen=True, slots=True)
class RecordedEffect:
    """What is known of an earlier execution of the same call."""

    state: str  # intended, succeeded, failed, ambiguous
    result: JsonValue = None
    error: str = ""
    awaits: bool = False  # it failed for want of a person's approval


class EffectLog(Protocol):
    """Where intents and results are made durable."""

    async def begin(
        self, key: EffectKey, *, capability: str, action: Action, arguments: dict[str, Any]
    ) -> RecordedEffect | None:
        """Record the intent; None when it is new, else what an earlier execution left."""
        ...

    async def end(
        self,
        key: EffectKey,
        *,
        state: str,
        result: JsonValue = None,
        error: Exception | None = None,
        places: Sequence[JsonValue] = (),
    ) -> None:
        """Record what came of it: succeeded, failed or ambiguous; and where it worked."""
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

    async def risks(self, action: str, arguments: Any, key: EffectKey) -> tuple[Risky, ...]:
        """Why this call is risky, for the policy to decide about; most are not."""
        return ()

    def replayed(self, action: str, arguments: Any, key: EffectKey) -> None:  # noqa: B027
        """This call was done by an earlier execution, maybe of another process, and is not done again."""

    async def abandon(self, unit_id: UUID) -> None:  # noqa: B027
        """End whatever still runs of the calls of a unit: it is stopped, and nobody asks what comes of them."""

    @abstractmethod
    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        """Do it. `arguments` is an instance of the action's `takes`; the result is one of its `gives`.

        `key` is the same whenever the same call is made again: a name for what must not happen twice.
        """

    async def execute(
        self,
        action: Action,
        arguments: dict[str, Any],
        key: EffectKey,
        effects: EffectLog,
        policy: Policy = _ALLOW_ALL,
    ) -> JsonValue:
        """Run one call and return its result as JSON, or what an earlier execution of the same call returned.

        Raises `CapabilityError` for what the model may react to, `EffectAmbiguous` when an earlier execution was begun
        and never ended, and repeating it is not safe, `ApprovalNeeded` when a person must decide first.
        """
        valid = _validated(action, arguments)
        earlier = await effects.begin(key, capability=self.name, action=action, arguments=action.masked(arguments))
        if earlier is not None and earlier.state in ("succeeded", "failed"):
            self.replayed(action.name, valid, key)
            return _replayed(earlier)
        if earlier is not None and not action.repeatable and not await self._resumes(action, key, earlier):
            if earlier.state == "intended":
                await effects.end(key, state="ambiguous")
            raise EffectAmbiguous(
                f"{action.name} was begun before and never ended; a person must say whether it happened"
            )
        ids = {"message_id": str(key.message_id or ""), "unit_id": str(key.unit_id)}
        told = calling(self.name, action.name, unit_id=key.unit_id, message_id=key.message_id)
        with telemetry.span(f"capability {action.name}", capability=self.name, **ids), noting(), told:
            return await self._run(action, valid, key, effects, policy)

    async def _resumes(self, action: Action, key: EffectKey, earlier: RecordedEffect) -> bool:
        return earlier.state == "intended" and await self.can_resume(action.name, key)

    async def _run(
        self, action: Action, arguments: BaseModel, key: EffectKey, effects: EffectLog, policy: Policy
    ) -> JsonValue:
        try:
            async with asyncio.timeout(action.deadline):
                _require_secrets(action, arguments)
                reasons = await self.risks(action.name, arguments, key)
                reasons += () if key.held is None else (key.held,)
                policy.check(action.name, reasons, approved=key.approved)
                output = await self._execute_action_impl(action.name, arguments, key)
        except TimeoutError as error:
            late = ActionTimedOut(f"{action.name} did not end within {action.deadline:g} s")
            await effects.end(key, state="failed" if action.repeatable else "ambiguous", error=late, places=noted())
            if action.repeatable:
                raise late from error
            # What it left behind is unknown. A model that read of a failure would do it again.
            raise EffectAmbiguous(f"{late}; a person must say what it did") from error
        except ApprovalNeeded as error:
            await effects.end(key, state="failed", result=error.held, error=error, places=noted())
            raise
        except CapabilityError as error:
            await effects.end(key, state="failed", error=error, places=noted())
            raise
        result: JsonValue = storable(output.model_dump(mode="json"))
        await effects.end(key, state="succeeded", result=result, places=noted())
        return result


def _validated(action: Action, arguments: dict[str, Any]) -> BaseModel:
    try:
        return action.takes.model_validate(arguments)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or action.name}: {e['msg']}" for e in error.errors())
        raise ArgumentsInvalid(f"{action.name}: {wrong}") from error


def _require_secrets(action: Action, arguments: BaseModel) -> None:
    """A retry that another process begins has only the record of what the model said."""
    for name in action.secrets:
        if getattr(arguments, name).get_secret_value() == MASK:
            raise ActionFailed(
                f"SECRET_FORGOTTEN: {name} is kept in no record and is not known any more: give it again"
            )


def _replayed(earlier: RecordedEffect) -> JsonValue:
    if earlier.awaits:
        raise ApprovalNeeded(earlier.error, earlier.result)
    if earlier.state == "failed":
        raise CapabilityError(earlier.error)
    return earlier.result


class CapabilityRegistry:
    """The capabilities of one employee, found by the names of their actions.

    `granted` are the names in the employee's profile; an action of any other capability is refused, and said to be off.
    """

    def __init__(self, capabilities: list[BaseCapability], granted: frozenset[str] = frozenset()) -> None:
        self._capabilities, self.granted = capabilities, granted
        self.policy = _ALLOW_ALL
        self.pause = Pause()
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

    def owner_of(self, name: str) -> str:
        """The name of the capability that the action belongs to; '' where there is no such action."""
        return self._actions[name][0].name if name in self._actions else ""

    def changes(self, name: str) -> bool:
        """Whether after the action `name` the same look may show something else."""
        if name not in self._actions:
            return False
        action = self._actions[name][1]
        return action.moves or not action.repeatable

    def masked(self, call: ToolCall) -> ToolCall:
        """The call as it may be told and recorded."""
        if call.name not in self._actions or not (action := self._actions[call.name][1]).secrets:
            return call
        return call.model_copy(update={"arguments": action.masked(call.arguments)})

    def recorded(self, response: ModelResponse) -> ModelResponse:
        """The response as it may be kept: without secret arguments, also where its provider wants its turn back."""
        calls = tuple(map(self.masked, response.calls))
        if calls == response.calls:
            return response
        masked = [(call.arguments, safe.arguments) for call, safe in zip(response.calls, calls, strict=True)]
        state = tuple(_replaced(part, masked) for part in response.provider_state)
        return response.model_copy(update={"calls": calls, "provider_state": state})

    async def abandon(self, unit_id: UUID) -> None:
        """End whatever still runs of the calls of a unit that is stopped; what cannot be ended is left to its own limits."""
        for capability in self._capabilities:
            try:
                async with asyncio.timeout(ABANDON_SECONDS):
                    await capability.abandon(unit_id)
            except Exception:
                log.exception("what %s still runs for a stopped unit is left to its limits", capability.name)

    async def execute(
        self,
        name: str,
        arguments: dict[str, Any],
        key: EffectKey,
        effects: EffectLog,
        *,
        on_start: Callable[[], None] = lambda: None,
    ) -> JsonValue:
        """Run the action `name`; raises what `BaseCapability.execute` does, `ActionUnknown`, `ActionDenied` and `Paused`."""
        self.pause.check()
        if name not in self._actions:
            raise ActionUnknown(f"there is no action {name!r}; there are: {', '.join(sorted(self._actions))}")
        owner, action = self._actions[name]
        if owner.name not in self.granted:
            raise ActionDenied(
                f"{name} belongs to the capability {owner.name!r}, which this employee's profile turns off"
            )
        on_start()
        return await owner.execute(action, arguments, key, effects, self.policy)


def _replaced(value: Any, masked: list[tuple[dict[str, Any], dict[str, Any]]]) -> Any:
    """`value` with the arguments of calls, wherever they stand in it, as they are recorded."""
    if isinstance(value, dict):
        safe = next((safe for given, safe in masked if value == given), None)
        return {key: _replaced(one, masked) for key, one in value.items()} if safe is None else safe
    return [_replaced(one, masked) for one in value] if isinstance(value, list) else value


def result_text(result: JsonValue) -> str:
    """A result as the text a model reads: JSON, and below it the text of others in its marks."""
    if not isinstance(result, dict) or not isinstance(marked := result.get(MARKED), str):
        return json_without_marks(json.dumps(result, ensure_ascii=False))
    rest = {key: value for key, value in result.items() if key != MARKED}
    return f"{json_without_marks(json.dumps(rest, ensure_ascii=False))}\n{marked}" if rest else marked
