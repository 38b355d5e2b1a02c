"""A worker: plan and act in a loop with the model, draft the reply, propose how it leaves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from agent.capabilities.agents import working_with
from agent.capabilities.base import CapabilityRegistry, EffectKey
from agent.errors import StepFailed
from agent.identity import Identity
from agent.models.interface import ChatMessage, Model, ModelResponse, ToolCall, ToolResult
from agent.pipeline.analyze import NO_CONTEXT, conversation_turns, known_how, remembered
from agent.pipeline.asking import ASK_SENDER, MAX_QUESTION_CHARACTERS, Asked, Waits, answered, question_of
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
    steady_clock,
)
from agent.pipeline.busy import Waiting
from agent.pipeline.caps import RateCaps
from agent.pipeline.parts import own_part
from agent.pipeline.progress import Progress
from agent.pipeline.step import Answer, Done, Step, Work
from agent.pipeline.stopping import go_on_unless_stopped
from agent.pipeline.subagents import SubAgents
from agent.pipeline.toolloop import Means, ToolLoop, not_done
from agent.pipeline.transitions import SQL
from agent.pipeline.units import BACKGROUND, Place
from agent.prompts import mark
from empla.goals import STEP
from empla.store.connect import Pool

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
    caps: RateCaps
    steers: bool = False
    clock: Callable[[], float] = field(default_factory=steady_clock)

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
        loop = _WorkerLoop(self, work, unit_id, "action_planning", Interactive(self.clock))
        try:
            return await self._planned(work, loop)
        except Pauses:
            return sent_to_background(self.clock(), loop.stretch())

    async def background(self, work: Work, unit_id: UUID) -> Done:
        """Go on where it was left, until there is an answer or a report is due."""
        pace = InBackground(self.clock, report_due(work, unit_id), self.draining)
        loop = _WorkerLoop(self, work, unit_id, BACKGROUND.step, pace)
        try:
            return await self._planned(work, loop)
        except Pauses:
            unseen = self.supervised or work.output("security_filter")["injection_score"] > 0
            return reported(work, unit_id, self.clock(), loop.stretch(), unseen=unseen)

    async def _planned(self, work: Work, loop: "_WorkerLoop") -> Done:
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

    def _waiting(self, work: Work, waits: Waits, loop: "_WorkerLoop") -> Done:
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
    memories = [_memory(one) for one in remembered(work)]
    message = mark("message", work.output("security_filter")["text"], sender=work.message.sender)
    before = [
        mark("interrupted", f"{one['text']}\n\n{one['done']}", sender=one["sender"])
        for one in context.get("interrupted", ())
    ]
    known = [mark("procedure", one["text"], went_well=one["went_well"]) for one in known_how(work)]
    noted = [mark("note", one["text"], id=one["note_id"], until=one["until"]) for one in context.get("notes", ())]
    told = [*memories, *known, *noted, *before, *_goal(work), message, *filter(None, [own_part(work, unit_id)])]
    return [*conversation_turns(context), ChatMessage(role="user", text="\n".join(told))]


def _memory(one: dict[str, str]) -> str:
    day = {"day": one["day"]} if "day" in one else {}  # a belief holds now, whenever it was formed
    return mark("memory", one["text"], source=one["source"] or one["kind"], **day)


def _goal(work: Work) -> list[str]:
    """What the message is a step of, if it is one of the employee's own."""
    step = work.message.metadata.get(STEP)
    if step is None:
        return []
    place = f"Step {step['step']:.0f} of {step['of']:.0f}: {step['name']}"
    return [mark("goal", f"Goal: {step['goal']}\nPlan: {step['title']}\n{place}")]


class _WorkerLoop(ToolLoop):
    """The loop of a worker: at its pace, shown what comes meanwhile, with leave to ask the sender and to have help."""

    ask_for_words = "Write the reply to the message now."
    own_tools = (ASK_SENDER, WORK_IN_BACKGROUND)

    def __init__(self, worker: Worker, work: Work, unit_id: UUID, step: str, pace: Pace) -> None:
        means = Means(
            worker.pool, worker.identity, worker.model, worker.capabilities, worker.progress, worker.instructions
        )
        super().__init__(means, work, step, opening(work, unit_id), worker_id=unit_id)
        self._worker, self._pace = worker, pace
        self._waiting = Waiting(worker.pool, worker.identity, worker.caps)
        # Parts of a message are worked on side by side: what comes meanwhile would be for one of them only.
        self._steers = worker.steers and len(work.parts) < 2 and step == "action_planning"
        self._long = False

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
        # Texts of several parts at once would be read as one.
        alone = len(self._work.parts) < 2
        while True:
            if self._steers:
                self._show(await self._waiting.steer(self._work.message, self.unit_id, self.index))
            await go_on_unless_stopped(self._worker.pool, self.unit_id)
            await self._pace.before(self.index, long=self._long)
            response = await self._ask(self._worker.progress.text(self._work.message) if alone else None)
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

    async def _write(self, response: ModelResponse, recorded: JsonValue) -> object:
        identity = self._worker.identity
        return await self._worker.pool.fetchval(
            SQL.commit_response,
            self.unit_id,
            self.index,
            self._work.message.message_id,
            recorded,
            identity.employee_id,
            identity.epoch,
        )

    def _own_call(self, asked: Asked, call: ToolCall, answer: Answer | None) -> ToolResult | None:
        if call.name == WORK_IN_BACKGROUND.name:
            self._long = True
            return ToolResult(call_id=call.call_id, name=call.name, content=GONE_ON)
        return _asked(asked, answer) if call.name == ASK_SENDER.name else None

    async def _execute(self, call: ToolCall, key: EffectKey) -> JsonValue:
        worker, led = self._worker, self._led or self._looked
        team = SubAgents(
            self._means, worker.capabilities, self._work, self.unit_id, self.step, self._pace, worker.clock, led
        )
        with working_with(team):
            return await super()._execute(call, key)


def _asked(asked: Asked, answer: Answer | None) -> ToolResult:
    question = question_of(asked.call)
    if not question:
        return not_done(asked.call, f"question: some text of at most {MAX_QUESTION_CHARACTERS} characters")
    if answer is None:
        raise asked.waits("question", question)
    return answered(asked.call, answer)
