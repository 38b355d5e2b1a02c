"""Units that wait for a person: over restarts, and going on from the answer with nothing done or asked twice."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from agent.capabilities.policy import ASKED, Risk, Risky
from agent.capabilities.workspace import WorkspaceCapability
from agent.models.interface import ModelRefused, ModelRequest, ModelResponse, ModelUnavailable
from agent.models.scripted import ScriptedModel, Step, echo
from agent.pipeline.merge import APPROVAL_NOTICE, PARTIAL_NOTICE
from agent.pipeline.work import Worker
from empla import notices
from empla.store.connect import connect
from empla.store.roles import employee_dsn
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import Desk, Parts, asking, call, part_in, refusing, result_in, sorted_as
from tests.integration.agent.test_pipeline import answered

TEXT = "book the room"


@pytest.fixture
def desk(office: Office) -> Desk:
    return Desk(office)


@pytest.fixture
def risky(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """To append to a file is risky, and a person is asked."""
    office.record.profile.policy["submit"] = "ask"

    async def risks(_: Any, action: str, *__: Any) -> tuple[Risky, ...]:
        return (Risky(Risk.SUBMIT, "write it down"),) if action == "append_file" else ()

    monkeypatch.setattr(WorkspaceCapability, "risks", risks)


def writing(request: ModelRequest) -> Step:
    """Append a line, then say what came of it."""
    result = result_in(request)
    return f"result: {result}" if result else call("append_file", path="log.txt", content="once\n")


async def killed_while_waiting(office: Office, model: ScriptedModel, text: str = TEXT) -> Any:
    """A message whose part waits, and an employee that is gone."""
    async with asyncio.TaskGroup() as life:
        gateway, process = await office.begin(life, model)
        message_id, _ = await answered(office, gateway, text)
        process.cancel()
    return message_id


@pytest.mark.parametrize("answered_at", ["while it is away", "while it is there"])
async def test_a_question_waits_over_restarts_and_is_asked_once(office: Office, desk: Desk, answered_at: str):
    model = Parts(TEXT, {"": asking("Which day?")})
    message_id = await killed_while_waiting(office, model)
    assert await desk.told(message_id) == [("reply", 0, "Which day?")]
    if answered_at == "while it is away":
        await desk.decide("question", "answer", text="Friday")
    async with office.employee(model) as gateway:
        if answered_at == "while it is there":
            await desk.decide("question", "answer", gateway, text="Friday")
        told = await desk.told_more(message_id, 2)
        gateway.resume()
        await desk.taken()
    assert "Friday" in told[1][2]
    assert len(await desk.told(message_id)) == 2
    assert model.asked == {"": 2}
    assert await office.pool.fetchval("SELECT count(*) FROM reviews") == 1


async def test_a_process_that_dies_right_after_the_answer_does_nothing_twice(office: Office, desk: Desk):
    begun = asyncio.Event()

    class Dying(Parts):
        async def generate(self, request: ModelRequest, *arguments: Any) -> ModelResponse:
            if request.output is None and "wrote" not in result_in(request) and "append" in str(request.messages[-1]):
                begun.set()
                await asyncio.Event().wait()
            return await super().generate(request, *arguments)

    def script(request: ModelRequest) -> Step:
        results = sum(bool(turn.results) for turn in request.messages)
        steps: list[Step] = [
            call("ask_sender", question="Sure?"),
            call("append_file", path="log.txt", content="once\n"),
            "done",
        ]
        return steps[results]

    model = Parts(TEXT, {"": script})
    message_id = await killed_while_waiting(office, model)
    await desk.decide("question", "answer", text="yes")
    async with asyncio.TaskGroup() as life:
        _, process = await office.begin(life, Dying(TEXT, {"": script}))
        await asyncio.wait_for(begun.wait(), 20)
        process.cancel()
    assert (office.workspace / "log.txt").read_text() == "once\n"
    async with office.employee(model):
        told = await desk.told_more(message_id, 2)
    assert [body for _, _, body in told] == ["Sure?", "done"]
    assert (office.workspace / "log.txt").read_text() == "once\n"
    assert model.asked == {"": 2}  # the question, and the end; what came between is replayed
    assert await office.pool.fetchval("SELECT count(*) FROM effects") == 1


@pytest.mark.usefixtures("risky")
@pytest.mark.parametrize(
    ("decision", "fields", "written", "says"),
    [
        ("approve", {}, "once\n", "result: {"),
        ("reject", {"reason": "not there"}, None, "a person refused it: not there"),
        ("expired", {}, None, "nobody decided in time"),
    ],
)
async def test_an_approval_is_waited_for(
    office: Office, desk: Desk, decision: str, fields: dict[str, str], written: str | None, says: str
):
    model = Parts(TEXT, {"": writing})
    log = office.workspace / "log.txt"
    async with office.employee(model) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        assert await desk.told(message_id) == [("reply", 0, APPROVAL_NOTICE)]
        assert not log.exists()
        review = await desk.decide("approval", decision, gateway, **fields)
        told = await desk.told_more(message_id, 2)
        followed = [one.tool_call.outcome for one in gateway.progress if one.HasField("tool_call")]
    assert followed[:2] == ["", "waiting"]
    assert ASKED in review["reason"]
    assert review["payload"]["call"]["arguments"] == {"path": "log.txt", "content": "once\n"}
    assert review["expires_at"] is not None
    assert told[1][:2] == ("follow_up", 0)
    assert says in told[1][2]
    assert (log.read_text() if log.exists() else None) == written
    assert model.asked == {"": 2}
    assert await office.pool.fetchval("SELECT count(*) FROM effects") == 1


@pytest.mark.usefixtures("risky")
async def test_an_approved_action_is_done_once_over_a_restart(office: Office, desk: Desk):
    stuck = asyncio.Event()

    class Stuck(ScriptedModel):
        async def generate(self, request: ModelRequest, *_: Any) -> ModelResponse:
            stuck.set()
            await asyncio.Event().wait()
            raise AssertionError

    message_id = await killed_while_waiting(office, Parts(TEXT, {"": writing}))
    await desk.decide("approval", "approve")
    async with asyncio.TaskGroup() as life:
        _, process = await office.begin(life, Stuck())
        await asyncio.wait_for(stuck.wait(), 20)  # it was done, and the model is asked what to say
        process.cancel()
    async with office.employee(Parts(TEXT, {"": writing})):
        await desk.told_more(message_id, 2)
    assert (office.workspace / "log.txt").read_text() == "once\n"


async def test_a_question_that_a_person_gives_up_fails_its_part(office: Office, desk: Desk):
    model = Parts(TEXT, {"": asking("Which day?")})
    async with office.employee(model) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        await desk.decide("question", "reject", gateway, reason="no use")
        await desk.taken()
    assert await desk.workers(message_id) == ["failed"]
    assert await office.pool.fetchval("SELECT reason FROM message_workers") == "boss gave it up: no use"
    assert len(await desk.told(message_id)) == 1
    assert model.asked == {"": 1}


async def test_a_question_that_nobody_answers_is_no_refusal(office: Office, desk: Desk):
    async with office.employee(Parts(TEXT, {"": asking("Which day?")})) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        await desk.decide("question", "expired", gateway)
        told = await desk.told_more(message_id, 2)
    assert "nobody answered in time" in told[1][2]
    assert await desk.workers(message_id) == ["done"]


async def test_a_second_question_is_sent_by_itself(office: Office, desk: Desk):
    def script(request: ModelRequest) -> Step:
        results = sum(bool(turn.results) for turn in request.messages)
        steps: list[Step] = [call("ask_sender", question="Day?"), call("ask_sender", question="Hour?"), "booked"]
        return steps[results]

    async with office.employee(Parts(TEXT, {"": script})) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        await desk.decide("question", "answer", gateway, text="Friday")
        await desk.told_more(message_id, 2)
        await desk.decide("question", "answer", gateway, text="ten")
        told = await desk.told_more(message_id, 3)
    assert told == [("reply", 0, "Day?"), ("follow_up", 0, "Hour?"), ("follow_up", 8, "booked")]


async def test_the_sender_answers_in_the_thread(office: Office, desk: Desk):
    model = Parts(TEXT, {"": asking("Which day?")})
    async with office.employee(model) as gateway:
        message_id, _ = await answered(office, gateway, TEXT, conversation="thread")
        await desk.sent(message_id)
        other, _ = await answered(office, gateway, TEXT + ", elsewhere", conversation="another")
        assert (await office.row(other))["processing_state"] == "sending"
        reply, state = await answered(office, gateway, "Friday", conversation="thread")
        told = await desk.told_more(message_id, 2)
    assert state == "collected"
    assert str(message_id) in (await office.row(reply))["reason"]
    assert "Friday" in told[1][2]
    assert await desk.told(reply) == []
    [answer] = await office.pool.fetch("SELECT answer, answered_by FROM unit_answers")
    assert (answer["answer"], answer["answered_by"]) == ({"decision": "answer", "text": "Friday"}, "ada@example.com")
    assert await office.pool.fetchval("SELECT state FROM reviews WHERE message_id = $1", message_id) == "resolved"


async def test_a_message_before_the_question_was_sent_is_no_answer(office: Office, desk: Desk):
    async with office.employee(Parts(TEXT, {"": asking("Which day?")})) as gateway:
        await answered(office, gateway, TEXT, conversation="thread")
        _, state = await answered(office, gateway, "And Bo comes too", conversation="thread")
    assert state == "sending"
    assert await office.pool.fetchval("SELECT count(*) FROM unit_answers") == 0


async def test_a_unit_that_no_longer_waits_takes_no_answer(office: Office, desk: Desk):
    async with office.employee(Parts(TEXT, {"": asking("Which day?")})) as gateway:
        message_id, _ = await answered(office, gateway, TEXT, conversation="thread")
        await desk.sent(message_id)
        review = await desk.decide("question", "answer", gateway, text="Friday")
        await desk.told_more(message_id, 2)
        with pytest.raises(asyncpg.PostgresError, match=r"no open review|duplicate"):
            await desk.answer(review, "answer", text="Monday")
        _, state = await answered(office, gateway, "Monday", conversation="thread")
    assert state == "sending"
    assert await office.pool.fetchval("SELECT count(*) FROM unit_answers") == 1


async def test_a_part_that_failed_is_tried_again_when_a_person_says_so(office: Office, desk: Desk):
    answers: list[Step] = [ModelRefused("no key"), ModelUnavailable("busy"), "at last"]
    model = ScriptedModel(lambda request: echo(request) if request.output is not None else answers.pop(0))
    async with office.employee(model) as gateway:
        message_id, state = await answered(office, gateway, TEXT)
        assert state == "failed"
        await desk.decide("needs_manual_intervention", "approve", gateway)
        told = await desk.told_more(message_id, 2)
    assert told == [("notice", 0, notices.FAILURE), ("follow_up", 0, "at last")]
    assert (await office.row(message_id))["processing_state"] == "failed"
    planned = [outcome for step, outcome in await office.attempts(message_id) if step == "action_planning"]
    assert planned == ["failed", "failed", "succeeded"]


async def test_a_part_that_failed_is_answered_by_a_person(office: Office, desk: Desk):
    model = Parts(TEXT, {"": refusing(ModelRefused("no key"))})
    async with office.employee(model) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        await desk.decide("needs_manual_intervention", "answer", gateway, text="I booked it.")
        told = await desk.told_more(message_id, 2)
    assert told[1] == ("follow_up", 0, "I booked it.")
    assert model.asked == {"": 1}


async def test_a_part_that_is_given_up_stays_failed(office: Office, desk: Desk):
    model = Parts(TEXT, {"": refusing(ModelRefused("no key"))})
    async with office.employee(model) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        await desk.decide("needs_manual_intervention", "reject", gateway, reason="old")
        await desk.taken()
        await answered(office, gateway, "Hello?")
    assert await desk.workers(message_id) == ["failed"]
    assert len(await desk.told(message_id)) == 1
    assert model.asked[""] == 2


async def test_what_nobody_knows_the_end_of_is_done_anew_when_a_person_says_so(office: Office, desk: Desk):
    """Only what was in doubt before the person decided, and only once."""
    model = Parts(TEXT, {"": writing})
    stuck, act = asyncio.Event(), WorkspaceCapability._execute_action_impl

    async def sticking(*_: Any) -> Any:
        stuck.set()
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkspaceCapability, "_execute_action_impl", sticking)
        async with asyncio.TaskGroup() as life:
            gateway, process = await office.begin(life, model)
            await office.store(TEXT)
            await office.deliver_all(gateway)
            await asyncio.wait_for(stuck.wait(), 20)
            process.cancel()
    assert WorkspaceCapability._execute_action_impl is act
    async with office.employee(model) as gateway:
        review = await desk.review("needs_manual_intervention")
        assert await office.pool.fetchval("SELECT state FROM effects") == "ambiguous"
        await desk.decide("needs_manual_intervention", "approve", gateway)
        await desk.told_more(review["message_id"], 2)
    assert (office.workspace / "log.txt").read_text() == "once\n"
    assert await office.pool.fetchval("SELECT state FROM effects") == "succeeded"


async def unsorted(office: Office, gateway: Any) -> Any:
    message_id, state = await answered(office, gateway, "count, book")
    assert state == "waiting"
    return message_id


def lost(request: ModelRequest) -> Step:
    """A model that cannot sort, and says which part it works on."""
    if request.output is not None:
        return ModelRefused("no")
    return f"did {[word for word in ('count', 'book') if f'Do {word}' in request.messages[-1].text]}"


async def test_a_person_sorts_a_message_and_it_goes_on(office: Office, desk: Desk):
    async with office.employee(ScriptedModel(lost)) as gateway:
        message_id = await unsorted(office, gateway)
        assert await desk.told(message_id) == [("notice", 0, notices.FAILURE)]
        classification = sorted_as("count, book", "count", "book")
        await desk.decide("classification", "classify", gateway, classification=json.loads(classification))
        told = await desk.told_more(message_id, 2)
    assert told[1] == ("reply", 0, "did ['count']\n\ndid ['book']")
    assert (await office.row(message_id))["processing_state"] == "sending"


async def test_a_message_that_nobody_sorts_fails(office: Office, desk: Desk):
    async with office.employee(ScriptedModel(lost)) as gateway:
        message_id = await unsorted(office, gateway)
        await desk.decide("classification", "reject", gateway, reason="spam")
        await desk.taken()
        row = await office.row(message_id)
    assert (row["processing_state"], row["reason"]) == ("failed", "boss gave it up: spam")
    assert len(await desk.told(message_id)) == 1


async def test_a_message_waits_to_be_sorted_over_restarts(office: Office, desk: Desk):
    model = ScriptedModel(lost)
    async with office.employee(model) as gateway:
        message_id = await unsorted(office, gateway)
    await desk.decide("classification", "classify", classification=json.loads(sorted_as("count, book", "count")))
    async with office.employee(ScriptedModel(lambda _: "fine")):
        told = await desk.told_more(message_id, 2)
    assert told[1] == ("reply", 0, "fine")


async def test_an_employee_marks_its_own_answers_alone(office: Office, desk: Desk):
    message_id = await killed_while_waiting(office, Parts(TEXT, {"": asking("Which day?")}))
    review = await desk.review("question")
    dsn = employee_dsn(office.database.dsn, office.record.employee_id, "password")
    async with connect(dsn, application_name="tests") as pool:
        with pytest.raises(asyncpg.PostgresError):
            await pool.execute(
                "INSERT INTO unit_answers (unit_id, question_key, message_id, tenant_id, employee_id, answer, "
                "answered_by) VALUES ($1, $2, $3, $4, $5, $6, 'boss')",
                review["worker_id"], str(review["review_id"]), message_id, review["tenant_id"],
                review["employee_id"], {"decision": "answer", "text": "x"},
            )  # fmt: skip


@pytest.mark.usefixtures("risky")
async def test_a_refusal_that_was_recorded_before_it_could_wait_still_waits(
    office: Office, desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    """The attempt breaks off between the two: the next one finds the refusal on record, and does not answer with it."""
    waiting, broken = Worker._waiting, iter([True])

    def breaking(*arguments: Any) -> Any:
        if next(broken, False):
            raise RuntimeError("broke off")
        return waiting(*arguments)

    monkeypatch.setattr(Worker, "_waiting", breaking)
    model = Parts(TEXT, {"": writing})
    async with office.employee(model) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        assert await desk.told(message_id) == [("reply", 0, APPROVAL_NOTICE)]
        await desk.decide("approval", "approve", gateway)
        await desk.told_more(message_id, 2)
    assert (office.workspace / "log.txt").read_text() == "once\n"
    assert model.asked == {"": 2}


class Held(Parts):
    """Goes on with counting the deals when it is told to."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.goes_on = asyncio.Event()

    async def generate(self, request: ModelRequest, *arguments: Any) -> ModelResponse:
        if request.output is None and part_in(request) == "count the deals":
            await self.goes_on.wait()
        return await super().generate(request, *arguments)


async def test_an_answer_that_comes_before_the_reply_is_written_is_taken_after_it(office: Office, desk: Desk):
    text = "book the room, count the deals"
    model = Held(text, {TEXT: asking("Which day?"), "count the deals": lambda _: "seven"})
    async with office.employee(model) as gateway:
        message_id = await office.store(text)
        await office.deliver_all(gateway)
        await desk.decide("question", "answer", gateway, text="Friday")
        model.goes_on.set()
        told = await desk.told_more(message_id, 2)
    assert told[0] == ("reply", 0, "Which day?\n\nseven")
    assert told[1][:2] == ("follow_up", 0)
    assert "Friday" in told[1][2]


async def test_a_failed_part_that_is_decided_before_the_reply_is_written_goes_on_after_it(office: Office, desk: Desk):
    text = "book the room, count the deals"
    model = Held(text, {TEXT: refusing(ModelRefused("no key")), "count the deals": lambda _: "seven"})
    async with office.employee(model) as gateway:
        message_id = await office.store(text)
        await office.deliver_all(gateway)
        await desk.decide("needs_manual_intervention", "answer", text="I booked it.")
        model.goes_on.set()
        told = await desk.told_more(message_id, 2)
    assert told == [("reply", 0, f"seven\n\n{PARTIAL_NOTICE}"), ("follow_up", 0, "I booked it.")]


async def test_a_part_that_fails_after_it_waited_is_told(office: Office, desk: Desk):
    def script(request: ModelRequest) -> Step:
        return ModelRefused("no") if result_in(request) else call("ask_sender", question="Which day?")

    async with office.employee(Parts(TEXT, {"": script})) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        await desk.decide("question", "answer", gateway, text="Friday")
        told = await desk.told_more(message_id, 2)
        await desk.review("needs_manual_intervention")
    assert told[1] == ("notice", 8, notices.FAILURE)


@pytest.mark.parametrize("question", ["", "  ", 7, "x" * 2001, None])
async def test_a_question_that_cannot_be_asked_is_told_to_the_model(office: Office, desk: Desk, question: Any):
    def script(request: ModelRequest) -> Step:
        return result_in(request) or call("ask_sender", question=question)

    async with office.employee(Parts(TEXT, {"": script})) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
    assert "at most 2000 characters" in (await desk.told(message_id))[0][2]
