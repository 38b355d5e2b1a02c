"""A worker: plan and act in a loop with the model, draft the reply, propose how it leaves."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from agent.capabilities.base import CapabilityRegistry, EffectKey, result_text
from agent.capabilities.policy import Risky
from agent.errors import ApprovalNeeded, CapabilityError, StepFailed, Superseded
from agent.identity import Identity
from agent.models.interface import ChatMessage, Model, ModelRequest, ModelResponse, ToolCall, ToolResult
from agent.pipeline.analyze import NO_CONTEXT, conversation_turns, remembered
from agent.pipeline.asking import ASK_SENDER, MAX_QUESTION_CHARACTERS, Asked, Waits, answered, question_of, refused
from agent.pipeline.background import (
    GONE_ON,
    WORK_IN_BACKGROUND,
    InBackground,
    Interactive,
    Pace,
    Pauses,
    Stretch,
    report_due,
    reported,
    sent_to_background,
)
from agent.pipeline.busy import Waiting
from agent.pipeline.effects import StoredEffects
from agent.pipeline.parts import own_part
from agent.pipeline.progress import Progress
from agent.pipeline.step import Answer, Done, Step, Work
from agent.pipeline.stopping import go_on_unless_stopped
from agent.pipeline.transitions import SQL
from agent.pipeline.units import BACKGROUND, Place
from agent.prompts import mark, shortened
from empla.goals import STEP
from empla.store.connect import Pool, translated

MAX_CALLS_A_RESPONSE = 16
MAX_SAME_CALL = 3
MAX_RESULT_CHARACTERS = 64 * 1024
MAX_REPLY_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Worker:
    """The steps of a worker, over one employee's model and capabilities."""

    pool: Pool
    identity: Identity
    model: Model
    capabilities: CapabilityRegistry
    progress: Progress
    instructions: str
    supervised: bool
    draining: Callable[[], bool]
    steers: bool = False
    clock: Callable[[], float] = time.time

    def steps(self) -> tuple[Step, ...]:
        """Action planning, in the background where it takes long, draft generation and routing; three retries each."""
        return (
            Step("action_planning", "work", retries=3, deadline=300, run=self.action_planning),
            Step("background", "work", retries=3, deadline=3600, run=self.background),
            Step("draft_generation", "work", retries=3, deadline=60, run=self.draft_generation),
            Step("routing", "work", retries=3, deadline=10, run=self.routing),
        )

    async def action_planning(self, work: Work, unit_id: UUID) -> Done:
        """Let the model act until it has its answer. What an earlier attempt did is replayed, not done again."""
        loop = _ToolLoop(self, work, unit_id, "action_planning", Interactive(self.clock))
        try:
            return await self._planned(work, loop)
        except Pauses:
            return sent_to_background(self.clock(), loop.stretch())

    async def background(self, work: Work, unit_id: UUID) -> Done:
        """Go on where it was left, until there is an answer or a report is due."""
        pace = InBackground(self.clock, report_due(work, unit_id), self.draining)
        loop = _ToolLoop(self, work, unit_id, BACKGROUND.step, pace)
        try:
            return await self._planned(work, loop)
        except Pauses:
            unseen = self.supervised or work.output("security_filter")["injection_score"] > 0
            return reported(work, unit_id, self.clock(), loop.stretch(), unseen=unseen)

    async def _planned(self, work: Work, loop: "_ToolLoop") -> Done:
        if given := work.given_draft(loop.unit_id):
            output = {"answer": given, "cut": False, "responses": 0, "calls": 0}
            return Done(Place("running", "draft_generation"), output)
        try:
            answer = await loop.run()
        except Waits as waits:
            return self._waiting(work, waits, loop)
        output = {
            "answer": answer.text.strip(),
            "cut": answer.stop_reason == "length",
            "responses": loop.index,
            "calls": loop.calls,
        }
        return Done(Place("running", "draft_generation"), output)

    def _waiting(self, work: Work, waits: Waits, loop: "_ToolLoop") -> Done:
        review = waits.review
        suspicious = work.output("security_filter")["injection_score"] > 0
        output = {
            "kind": review["kind"],
            "asked": review["reason"],
            "review_id": review["review_id"],
            "proposal": "review" if self.supervised or suspicious else "send",
        }
        place = Place("waiting_for_input", loop.step)
        return Done(place, output, reason=review["reason"][:1000], reviews=[review], waits=True)

    async def draft_generation(self, work: Work, unit_id: UUID) -> Done:
        """The reply as it would leave, checked: it says something, is whole, and not longer than a message may be."""
        if given := work.given_draft(unit_id):
            return Done(Place("running", "routing"), {"text": given, "cut": False})
        planned = _plan(work, unit_id)
        if not planned["answer"]:
            raise StepFailed("the model gave no reply")
        cut = planned["cut"] or len(planned["answer"]) > MAX_REPLY_CHARACTERS
        text = planned["answer"][:MAX_REPLY_CHARACTERS] + (" …" if cut else "")
        return Done(Place("running", "routing"), {"text": text, "cut": cut})

    async def routing(self, work: Work, unit_id: UUID) -> Done:
        """Propose how the reply leaves. The Sender decides, from tables that this process cannot write."""
        if work.given_draft(unit_id):  # a person wrote it
            return Done(Place("done"), {"proposal": "send", "suspicious": False}, ends=True)
        suspicious = work.output("security_filter")["injection_score"] > 0
        acted = _plan(work, unit_id)["calls"] > 0
        cut = work.output("draft_generation", unit_id)["cut"]
        review = self.supervised or cut or (suspicious and acted)
        return Done(Place("done"), {"proposal": "review" if review else "send", "suspicious": suspicious}, ends=True)


def _plan(work: Work, unit_id: UUID) -> Any:
    """What the planning came to, where it came to its end."""
    return work.output(BACKGROUND.step if work.goes_on(unit_id) else "action_planning", unit_id)


def opening(work: Work, unit_id: UUID) -> list[ChatMessage]:
    """The conversation, then the message with what memory holds on it, and which part of it this worker is for.

    Everything from outside is marked as data.
    """
    context = work.outputs.get((work.message.message_id, "context_retrieval"), NO_CONTEXT)
    memories = [mark("memory", m["text"], source=m["source"] or m["kind"]) for m in remembered(work)]
    message = mark("message", work.output("security_filter")["text"], sender=work.message.sender)
    before = [
        mark("interrupted", f"{one['text']}\n\n{one['done']}", sender=one["sender"])
        for one in context.get("interrupted", ())
    ]
    told = [*memories, *before, *_goal(work), message, *filter(None, [own_part(work, unit_id)])]
    return [*conversation_turns(context), ChatMessage(role="user", text="\n".join(told))]


def _goal(work: Work) -> list[str]:
    """What the message is a step of, if it is one of the employee's own."""
    step = work.message.metadata.get(STEP)
    if step is None:
        return []
    place = f"Step {step['step']:.0f} of {step['of']:.0f}: {step['name']}"
    return [mark("goal", f"Goal: {step['goal']}\nPlan: {step['title']}\n{place}")]


class _ToolLoop:
    """One run of the loop: ask, commit the response, run its calls, tell the model what came of them, ask again."""

    def __init__(self, worker: Worker, work: Work, unit_id: UUID, step: str, pace: Pace) -> None:
        self._worker, self._work, self.unit_id, self.step, self._pace = worker, work, unit_id, step, pace
        self._effects = StoredEffects(worker.pool, worker.identity, work.unrecorded)
        self._messages = opening(work, unit_id)
        self._waiting = Waiting(worker.pool, worker.identity)
        # Parts of a message are worked on side by side: what comes meanwhile would be for one of them only.
        self._steers = worker.steers and len(work.parts) < 2 and step == "action_planning"
        self._seen: Counter[str] = Counter()
        self._asked_again = False
        self._done: list[str] = []
        self._long, self._said = False, ""
        self.index = 0
        self.calls = 0

    async def run(self) -> ModelResponse:
        """The response without calls that ends the loop.

        Raises `Waits` where only a person can say how to go on, `Cancelled` where somebody wants it stopped, and whatever
        its pace does where it stops before its end.
        """
        shown = await self._waiting.shown_before(self.unit_id) if self._steers else {}
        for earlier in await self._transcript():
            self._show(shown.get(self.index, ()))
            await self._act(earlier)
        self._show(shown.get(self.index, ()))
        while True:
            if self._steers:
                self._show(await self._waiting.steer(self._work.message, self.unit_id, self.index))
            await go_on_unless_stopped(self._worker.pool, self.unit_id)
            await self._pace.before(self.index, long=self._long)
            response = await self._ask()
            if response.calls:
                await self._commit(response)
                await self._act(response)
            elif response.text.strip() or self._asked_again:
                return response
            else:
                self._ask_for_words(response)

    def stretch(self) -> Stretch:
        """How far this run went."""
        return Stretch(self.index, self.calls, self._said)

    def _show(self, texts: Sequence[str]) -> None:
        """Show the model what came while it worked, as rows that the next attempt finds at the same place."""
        self._work.steered |= bool(texts)
        self._messages += [ChatMessage(role="user", text=text) for text in texts]

    async def _transcript(self) -> list[ModelResponse]:
        with translated():
            rows = await self._worker.pool.fetch(SQL.responses, self.unit_id, self._worker.identity.employee_id)
        return [ModelResponse.model_validate(row["response"]) for row in rows]

    def _ask_for_words(self, silent: ModelResponse) -> None:
        """A model that has acted and says nothing is asked once for the reply itself."""
        self._asked_again = True
        if silent.provider_state:
            self._messages.append(silent.turn())
        self._messages.append(ChatMessage(role="user", text="Write the reply to the message now."))

    async def _ask(self) -> ModelResponse:
        request = ModelRequest(
            system=self._worker.instructions,
            messages=tuple(self._messages),
            tools=(*self._worker.capabilities.tools(), ASK_SENDER, WORK_IN_BACKGROUND),
            deadline=120,
        )
        # Texts of several parts at once would be read as one.
        alone = len(self._work.parts) < 2
        sink = self._worker.progress.text(self._work.message) if alone else None
        return await self._worker.model.generate(request, sink)

    async def _commit(self, response: ModelResponse) -> None:
        identity = self._worker.identity
        with translated():
            committed = await self._worker.pool.fetchval(
                SQL.commit_response,
                self.unit_id,
                self.index,
                self._work.message.message_id,
                self._worker.capabilities.recorded(response).model_dump(mode="json"),
                identity.employee_id,
                identity.epoch,
            )
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

    async def _call(self, response: ModelResponse, position: int, call: ToolCall) -> ToolResult:
        same = f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"
        self._seen[same] += 1
        if position >= MAX_CALLS_A_RESPONSE:
            return _refused(call, f"at most {MAX_CALLS_A_RESPONSE} calls at once")
        if self._seen[same] > MAX_SAME_CALL:
            return _refused(call, "you have made this very call before; use its result, or answer")
        if call.name == WORK_IN_BACKGROUND.name:
            self._long = True
            return ToolResult(call_id=call.call_id, name=call.name, content=GONE_ON)
        told, answer = self._worker.capabilities.masked(call), self._answer(position)
        asked = Asked(self.unit_id, self.step, (self.index, position), told, response, tuple(self._done))
        if call.name == ASK_SENDER.name:
            return _asked(asked, answer)
        if answer is not None and answer.decision != "approve":
            return refused(call, answer)
        return await self._acted(asked, call, answer)

    async def _acted(self, asked: Asked, call: ToolCall, allowed: Answer | None) -> ToolResult:
        if self._worker.capabilities.changes(call.name):
            # Whatever was looked at or tried before may come out differently now.
            same = f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"
            self._seen = Counter({same: self._seen[same]})
        self.calls += 1
        key, capabilities = self._key(asked.place, allowed), self._worker.capabilities
        with self._worker.progress.tool_call(self._work.message, asked.call) as outcome:
            try:
                result = await capabilities.execute(call.name, call.arguments, key, self._effects)
            except CapabilityError as error:
                outcome.failed = True
                return _refused(call, str(error))
            except ApprovalNeeded as error:
                if allowed is not None:  # it led elsewhere than what was approved
                    raise
                raise asked.waits("approval", str(error), error.held) from error
        self._done.append(call.name)
        return ToolResult(call_id=call.call_id, name=call.name, content=_bounded(result))

    def _answer(self, position: int) -> Answer | None:
        """What a person has decided about the call at this position of the present response."""
        place = (self.index, position)
        return next((one for one in self._work.answers.get(self.unit_id, ()) if one.call == place), None)

    def _key(self, place: tuple[int, int], allowed: Answer | None) -> EffectKey:
        last = self._work.last_answer(self.unit_id)
        if allowed is None and last is not None and last.kind == "needs_manual_intervention":
            anew: datetime | None = last.at
        else:
            anew = allowed.at if allowed is not None else None
        message_id = self._work.message.message_id
        held = None if allowed is None or allowed.held is None else Risky.from_json(allowed.held)
        return EffectKey(self.unit_id, message_id, *place, approved=allowed is not None, held=held, anew_since=anew)


def _asked(asked: Asked, answer: Answer | None) -> ToolResult:
    question = question_of(asked.call)
    if not question:
        return _refused(asked.call, f"question: some text of at most {MAX_QUESTION_CHARACTERS} characters")
    if answer is None:
        raise asked.waits("question", question)
    return answered(asked.call, answer)


def _refused(call: ToolCall, why: str) -> ToolResult:
    return ToolResult(call_id=call.call_id, name=call.name, content=why, is_error=True)


def _bounded(result: JsonValue) -> str:
    text = result_text(result)
    if len(text) <= MAX_RESULT_CHARACTERS:
        return text
    return shortened(text, MAX_RESULT_CHARACTERS) + f" … cut: the result has {len(text)} characters"
