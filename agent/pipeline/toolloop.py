"""The tool loop: ask a model, commit its response, run the calls of it, tell the model what came of them, ask again."""

import json
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from pydantic import JsonValue

from agent.capabilities.base import EffectKey, result_text
from agent.capabilities.narrowed import Actions
from agent.capabilities.policy import Risky
from agent.errors import ApprovalNeeded, CapabilityError, Superseded
from agent.identity import Identity
from agent.models.interface import ChatMessage, Model, ModelRequest, ModelResponse, TextSink, Tool, ToolCall, ToolResult
from agent.pipeline.asking import Asked, refused
from agent.pipeline.effects import StoredEffects
from agent.pipeline.progress import Progress
from agent.pipeline.step import Answer, Work
from agent.pipeline.transitions import SQL
from agent.prompts import shortened
from empla.store.connect import Pool, translated

MAX_CALLS_A_RESPONSE = 16
MAX_SAME_CALL = 3
MAX_RESULT_CHARACTERS = 64 * 1024
RESPONSE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Means:
    """What a loop works with."""

    pool: Pool
    identity: Identity
    model: Model
    capabilities: Actions
    progress: Progress
    instructions: str


class ToolLoop(ABC):
    """One run of a loop of `unit_id`, whose earlier runs are replayed; it works for a worker, or is that worker's own."""

    ask_for_words: ClassVar[str]
    own_tools: ClassVar[tuple[Tool, ...]] = ()
    sub_agent: dict[str, JsonValue] | None = None
    number: int = 0

    def __init__(
        self,
        means: Means,
        work: Work,
        step: str,
        messages: list[ChatMessage],
        *,
        worker_id: UUID,
        sub_agent_id: UUID | None = None,
        led: bool = False,
    ) -> None:
        self._means, self._work, self.step, self._messages = means, work, step, messages
        self.worker_id, self.sub_agent_id = worker_id, sub_agent_id
        self.unit_id = sub_agent_id or worker_id
        self._effects = StoredEffects(means.pool, means.identity, work.unrecorded)
        self._seen: Counter[str] = Counter()
        self._asked_again = False
        self._done: list[str] = []
        self._said = ""
        self._used: set[str] = set()
        # A call is led by what was read before its response was made, not by what its neighbours read.
        self._led, self._looked = led, False
        self.index = 0
        self.calls = 0

    @abstractmethod
    async def _write(self, response: ModelResponse, recorded: JsonValue) -> object:
        """Make a response durable as `recorded`; None when a newer launch owns the employee."""

    def _own_call(self, asked: Asked, call: ToolCall, answer: Answer | None) -> ToolResult | None:
        """What comes of a call of one of the loop's own tools; None for an action."""
        return None

    async def _execute(self, call: ToolCall, key: EffectKey) -> JsonValue:
        return await self._means.capabilities.execute(call.name, call.arguments, key, self._effects)

    async def _transcript(self) -> list[ModelResponse]:
        with translated():
            rows = await self._means.pool.fetch(SQL.responses, self.unit_id, self._means.identity.employee_id)
        return [ModelResponse.model_validate(row["response"]) for row in rows]

    def _ask_for_words(self, silent: ModelResponse) -> None:
        """A model that has acted and says nothing is asked once for the answer itself."""
        self._asked_again = True
        if silent.provider_state:
            self._messages.append(silent.turn())
        self._messages.append(ChatMessage(role="user", text=self.ask_for_words))

    async def _ask(self, sink: TextSink | None, *, seconds: float = RESPONSE_SECONDS) -> ModelResponse:
        request = ModelRequest(
            system=self._means.instructions,
            messages=tuple(self._messages),
            tools=(*self._means.capabilities.tools(), *self.own_tools),
            deadline=min(RESPONSE_SECONDS, seconds),
        )
        return await self._means.model.generate(request, sink)

    async def _commit(self, response: ModelResponse) -> None:
        recorded = self._means.capabilities.recorded(response).model_dump(mode="json")
        with translated():
            committed = await self._write(response, recorded)
        if committed is None:
            raise Superseded("a newer launch owns this employee")

    async def _act(self, response: ModelResponse) -> None:
        results = [await self._call(response, position, call) for position, call in enumerate(response.calls)]
        self._messages += [
            response.turn(),
            ChatMessage(role="tool", results=tuple(results)),
        ]
        self.index += 1
        self._said = response.text or self._said
        self._looked |= "browser" in self._used
        self._led |= "agents" in self._used

    async def _call(self, response: ModelResponse, position: int, call: ToolCall) -> ToolResult:
        same = f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"
        self._seen[same] += 1
        if position >= MAX_CALLS_A_RESPONSE:
            return not_done(call, f"at most {MAX_CALLS_A_RESPONSE} calls at once")
        if self._seen[same] > MAX_SAME_CALL:
            return not_done(call, "you have made this very call before; use its result, or answer")
        told, answer = self._means.capabilities.masked(call), self._answer(position)
        place = (self.index, position)
        asked = Asked(self.worker_id, self.step, place, told, response, tuple(self._done), self.sub_agent)
        if (own := self._own_call(asked, call, answer)) is not None:
            return own
        if answer is not None and answer.decision != "approve":
            return refused(call, answer)
        return await self._acted(asked, call, answer)

    async def _acted(self, asked: Asked, call: ToolCall, allowed: Answer | None) -> ToolResult:
        if self._means.capabilities.changes(call.name):
            # Whatever was looked at or tried before may come out differently now.
            same = f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"
            self._seen = Counter({same: self._seen[same]})
        self.calls += 1
        self._used.add(self._means.capabilities.owner_of(call.name))
        with self._means.progress.tool_call(self._work.message, asked.call, self.number) as came:
            try:
                result = await self._execute(call, self._key(asked.place, allowed))
            except CapabilityError as error:
                came.outcome = "failed"
                return not_done(call, str(error))
            except ApprovalNeeded as error:
                if allowed is not None:  # it led elsewhere than what was approved
                    raise
                raise asked.waits("approval", str(error), error.held) from error
        self._done.append(call.name)
        return ToolResult(call_id=call.call_id, name=call.name, content=_bounded(result))

    def _answer(self, position: int) -> Answer | None:
        """What a person has decided about the call at this position of the present response."""
        mine = (self.sub_agent_id, (self.index, position))
        answers = self._work.answers.get(self.worker_id, ())
        return next((one for one in answers if (one.sub_agent_id, one.call) == mine), None)

    def _key(self, place: tuple[int, int], allowed: Answer | None) -> EffectKey:
        last = self._work.last_answer(self.worker_id)
        # What was allowed may have been cut off since: then the later word of a person counts.
        said = [allowed] if allowed is not None else []
        said += [last] if last is not None and last.kind == "needs_manual_intervention" else []
        return EffectKey(
            self.unit_id,
            self._work.message.message_id,
            *place,
            approved=allowed is not None,
            held=None if allowed is None or allowed.held is None else Risky.from_json(allowed.held),
            anew_since=max((answer.at for answer in said), default=None),
            worker_id=None if self.sub_agent_id is None else self.worker_id,
            led=self._led,
        )


def not_done(call: ToolCall, why: str) -> ToolResult:
    """What the model reads of a call that came to nothing."""
    return ToolResult(call_id=call.call_id, name=call.name, content=why, is_error=True)


def _bounded(result: JsonValue) -> str:
    text = result_text(result)
    if len(text) <= MAX_RESULT_CHARACTERS:
        return text
    return shortened(text, MAX_RESULT_CHARACTERS) + f" … cut: the result has {len(text)} characters"
