"""Long work: acknowledged at once, done in the background over deaths of the process, reported, cancellable."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from agent.local import LocalGateway
from agent.models.interface import ModelRequest, ModelResponse
from agent.models.scripted import ScriptedModel, Step, echo
from agent.pipeline.background import INTERACTIVE_RESPONSES, INTERACTIVE_SECONDS, MAX_RESPONSES
from controlplane.auth import Operator
from controlplane.errors import Unknown
from controlplane.stopping import Stopping
from empla import notices
from empla.store.ids import new_id
from empla.v1 import control_pb2
from tests.factories import said_in
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import Desk, call
from tests.integration.agent.test_pausing import WAIT
from tests.integration.agent.test_pipeline import answered

TASK = "Research the market"
MINUTES = 30


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Researcher(ScriptedModel):
    """Works on `TASK` for half an hour of `clock`, a note a minute, and echoes all else; `asked` counts its answers.

    At the note `held_at` it stands still until `released`.
    """

    def __init__(self, clock: Clock, *, held_at: int | None = None, says_so: bool = True, steps: int = MINUTES) -> None:
        super().__init__(self._step)
        self._clock, self._held_at, self._says_so, self._steps = clock, held_at, says_so, steps
        self.held, self.released = asyncio.Event(), asyncio.Event()
        self.asked = 0

    async def generate(self, request: ModelRequest, *arguments: Any) -> ModelResponse:
        if self._noted(request) == self._held_at:
            self.held.set()
            await self.released.wait()
        return await super().generate(request, *arguments)

    def _noted(self, request: ModelRequest) -> int:
        """How many results it has for the task; -1 when it is asked something else."""
        results = sum(len(turn.results) for turn in request.messages)
        return results if results or (request.output is None and TASK in said_in(request)) else -1

    def _step(self, request: ModelRequest) -> Step:
        if (noted := self._noted(request)) < 0:
            return echo(request)
        self.asked += 1
        if noted == 0 and self._says_so:
            return call("work_in_background")
        if noted > self._steps:
            return "the report"
        self._clock.now += 60
        note = call("append_file", path="notes.txt", content=f"note {noted}\n")
        return note.model_copy(update={"text": f"Noted {noted}."})


BOSS = Operator("boss", control_pb2.SCOPE_OPERATE, None)


@pytest.fixture
def clock(office: Office) -> Clock:
    office.clock = clock = Clock()
    office.record = replace(office.record, autonomy="autonomous")
    return clock


@pytest.fixture
def desk(office: Office) -> Desk:
    return Desk(office)


async def message(office: Office, gateway: LocalGateway, text: str) -> UUID:
    message_id, state = await answered(office, gateway, text, conversation="thread")
    assert state == "sending"
    return message_id


async def killed_at(office: Office, model: Researcher, *, first: bool = False) -> UUID | None:
    """A launch that dies while the model thinks about a note, after it has answered another message."""
    async with asyncio.TaskGroup() as life:
        gateway, process = await office.begin(life, model)
        task = await message(office, gateway, TASK) if first else None
        await asyncio.wait_for(model.held.wait(), 20)
        await message(office, gateway, "Are you there?")
        process.cancel()
    return task


async def test_half_an_hour_of_work_survives_two_deaths_and_keeps_its_conversation_going(
    office: Office, desk: Desk, clock: Clock
):
    models = [Researcher(clock, held_at=minute) for minute in (9, 19, 29)]
    began = clock.now
    task = await killed_at(office, models[0], first=True)
    assert task is not None
    assert await desk.told(task) == [
        ("reply", 0, notices.TAKES_LONGER),
        ("progress", 8, f"{notices.STILL_AT_IT}\n\nNoted 5."),
    ]
    await killed_at(office, models[1])
    async with office.employee(models[2]) as gateway:
        await asyncio.wait_for(models[2].held.wait(), 20)
        other = await message(office, gateway, "And now?")
        models[2].released.set()
        told = await desk.told_more(task, 8)
        last = await message(office, gateway, "Thanks")
    assert clock.now - began == MINUTES * 60
    assert await office.replies(other) == ["You said: And now?"]
    reports = [(part, text) for kind, part, text in told if kind == "progress"]
    assert reports == [(8 * n, f"{notices.STILL_AT_IT}\n\nNoted {5 * n}.") for n in range(1, 7)]
    assert told[-1] == ("follow_up", 0, "the report")
    assert (office.workspace / "notes.txt").read_text() == "".join(f"note {n}\n" for n in range(1, MINUTES + 1))
    assert sum(model.asked for model in models) == 1 + MINUTES + 1  # nothing was thought, or paid, twice
    assert await office.pool.fetchval("SELECT count(*) FROM effects WHERE state = 'succeeded'") == MINUTES
    stretches = [outcome for step, outcome in await office.attempts(task) if step == "background"]
    assert (stretches.count("lost"), stretches.count("succeeded")) == (2, 7)
    assert "the report" in str(await turns_of(office, last))


async def turns_of(office: Office, message_id: UUID) -> Any:
    return await office.pool.fetchval(
        "SELECT output -> 'turns' FROM step_attempts WHERE message_id = $1 AND step = 'context_retrieval'", message_id
    )


@pytest.mark.parametrize("why", ["it takes too long", "it needs too many responses"])
async def test_what_exceeds_the_patience_of_a_conversation_goes_on_in_the_background(
    office: Office, desk: Desk, clock: Clock, why: str
):
    model = Researcher(clock, says_so=False)
    if why == "it needs too many responses":
        office.clock = Clock()  # in which no time passes
    async with office.employee(model) as gateway:
        task = await message(office, gateway, TASK)
        told = await desk.told_more(task, 7 if why == "it takes too long" else 2)
    planned = await output_of(office, task, "action_planning")
    most = INTERACTIVE_SECONDS // 60 if why == "it takes too long" else INTERACTIVE_RESPONSES
    assert planned["responses"] == most
    assert (told[0][2], told[-1][2]) == (notices.TAKES_LONGER, "the report")
    assert len((office.workspace / "notes.txt").read_text().splitlines()) == MINUTES + 1
    assert await desk.workers(task) == ["done"]


async def test_reports_that_nobody_reads_first_are_of_fixed_words(office: Office, desk: Desk, clock: Clock):
    office.record = replace(office.record, autonomy="supervised")
    async with office.employee(Researcher(clock, steps=6)) as gateway:
        task = await message(office, gateway, TASK)
        told = await desk.told_more(task, 3)
    assert told == [
        ("reply", 0, notices.TAKES_LONGER),
        ("progress", 8, notices.STILL_AT_IT),
        ("follow_up", 0, "the report"),
    ]
    proposals = await office.pool.fetch("SELECT proposal FROM outbox ORDER BY queued_at")
    assert [row["proposal"] for row in proposals] == ["send", "send", "review"]


async def test_one_that_is_cancelled_stops_before_it_asks_its_model_again(office: Office, desk: Desk, clock: Clock):
    model = Researcher(clock, held_at=3)
    async with office.employee(model) as gateway:
        task = await message(office, gateway, TASK)
        await asyncio.wait_for(model.held.wait(), 20)
        await desk.sent(task)
        await cancel(office, task)
        other = Operator("eve", control_pb2.SCOPE_OPERATE, new_id())
        with pytest.raises(Unknown):
            await Stopping(office.pool).cancel(task, other, "of another tenant")
        model.released.set()
        told = await desk.told_more(task, 2)
        await cancel(office, task)  # which changes nothing any more
    assert told[1] == ("notice", 8, notices.CANCELLED)
    assert await desk.workers(task) == ["cancelled"]
    assert (
        await office.pool.fetchval("SELECT reason FROM message_workers WHERE state = 'cancelled'") == "boss: too dear"
    )
    assert model.asked == 4  # the one that was being asked came to its end
    assert await office.pool.fetchval("SELECT count(*) FROM reviews") == 0
    [entry] = await office.pool.fetch("SELECT * FROM audit_log WHERE action = 'message.cancel'")
    assert (entry["actor"], entry["subject"], entry["detail"]) == ("boss", str(task), {"reason": "too dear"})


async def test_one_that_is_cancelled_while_nobody_is_there_is_not_gone_on_with(
    office: Office, desk: Desk, clock: Clock
):
    task = await killed_at(office, Researcher(clock, held_at=3), first=True)
    assert task is not None
    await desk.sent(task)
    await cancel(office, task)
    model = Researcher(clock)
    async with office.employee(model):
        await desk.told_more(task, 2)
    assert (await desk.workers(task), model.asked) == (["cancelled"], 0)


async def test_one_that_fails_for_good_is_told_and_left_to_a_person(office: Office, desk: Desk, clock: Clock):
    """Work without an end, here."""
    office.clock = Clock()
    async with office.employee(Researcher(clock, steps=MAX_RESPONSES)) as gateway:
        task = await message(office, gateway, TASK)
        told = await desk.told_more(task, 2)
        await desk.decide("needs_manual_intervention", "answer", gateway, text="I did it by hand.")
        told = await desk.told_more(task, 3)
    assert [text for _, _, text in told] == [notices.TAKES_LONGER, notices.FAILURE, "I did it by hand."]


async def test_it_may_ask_its_sender_and_goes_on_with_the_answer(office: Office, desk: Desk, clock: Clock):
    class Asking(Researcher):
        def _step(self, request: ModelRequest) -> Step:
            if self._noted(request) != 3:
                return super()._step(request)
            return call("ask_sender", question="Which market?")

    model = Asking(clock, steps=8)
    async with office.employee(model) as gateway:
        task = await message(office, gateway, TASK)
        await desk.told_more(task, 2)
        assert await desk.workers(task) == ["waiting_for_input"]
        await desk.decide("question", "answer", gateway, text="Tea")
        told = await desk.told_more(task, 4)
    assert [(kind, part) for kind, part, _ in told] == [
        ("reply", 0),
        ("follow_up", 0),
        ("progress", 8),
        ("follow_up", 8),
    ]
    assert (told[1][2], told[3][2]) == ("Which market?", "the report")


async def test_a_task_that_kills_its_process_ends_with_a_person(office: Office, desk: Desk, clock: Clock):
    task = await killed_at(office, Researcher(clock, held_at=3), first=True)
    assert task is not None
    for _ in range(3):
        await killed_at(office, Researcher(clock, held_at=3))
    async with office.employee(Researcher(clock)):
        review = await desk.review("needs_manual_intervention")
        told = await desk.told_more(task, 2)
    assert "ended 4 times" in review["reason"]
    assert told[1][2] == notices.FAILURE


async def test_deaths_between_which_it_comes_forward_are_not_counted_together(office: Office, desk: Desk, clock: Clock):
    task = await killed_at(office, Researcher(clock, held_at=7), first=True)
    assert task is not None
    for minute in (13, 19, 25, 30):
        await killed_at(office, Researcher(clock, held_at=minute))
    async with office.employee(Researcher(clock)):
        told = await desk.told_more(task, 8)
    assert told[-1][2] == "the report"
    assert (await office.attempts(task)).count(("background", "lost")) == 5


async def test_a_drain_ends_the_stretch_and_cuts_nothing_short(office: Office, desk: Desk, clock: Clock):
    model = Researcher(clock, held_at=3)
    async with office.employee(model) as gateway:
        task = await message(office, gateway, TASK)
        await asyncio.wait_for(model.held.wait(), 20)
        gateway.drain(20_000)
        model.released.set()
    assert model.asked == 4  # the one that was being asked came to its end
    async with office.employee(Researcher(clock)):
        told = await desk.told_more(task, 8)
    assert told[-1][2] == "the report"
    assert {outcome for _, outcome in await office.attempts(task)} == {"succeeded"}


async def test_what_a_pause_holds_at_a_drain_counts_as_no_death(office: Office, desk: Desk, clock: Clock):
    model = Researcher(clock, held_at=3)
    async with office.employee(model) as gateway:
        task = await message(office, gateway, TASK)
        await asyncio.wait_for(model.held.wait(), 20)
        gateway.pause(paused=True)
        await asyncio.sleep(0)
        model.released.set()
        await asyncio.sleep(WAIT)  # for it to come to its next action, which it does not begin
    async with office.employee(Researcher(clock)):
        told = await desk.told_more(task, 8)
    assert told[-1][2] == "the report"
    assert "lost" not in {outcome for _, outcome in await office.attempts(task)}


async def cancel(office: Office, task: UUID) -> None:
    await Stopping(office.pool).cancel(task, BOSS, "too dear")


async def output_of(office: Office, task: UUID, step: str) -> Any:
    return await office.pool.fetchval(
        "SELECT output FROM step_attempts WHERE message_id = $1 AND step = $2", task, step
    )
