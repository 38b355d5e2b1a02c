"""Several things wanted in one message: a branch for each, one reply, and what is late on its own."""

import asyncio
from collections.abc import Iterator

from agent.models.interface import ModelRefused, ModelRequest, ModelUnavailable
from agent.models.offline import OfflineModel
from agent.models.scripted import Step
from agent.pipeline.merge import PARTIAL_NOTICE
from agent.pipeline.parts import forks
from empla.classification import Classification
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import Desk, Parts, Script, asking, part_in, refusing, sorted_as
from tests.integration.agent.test_pipeline import answered

TEXT = "count the deals, book the room, greet Bo"
COUNT, BOOK, GREET = "count the deals", "book the room", "greet Bo"


def saying(text: str) -> Script:
    return lambda _: text


async def test_three_parts_of_which_one_fails_and_one_asks_make_one_reply_and_one_follow_up(office: Office):
    desk = Desk(office)
    scripts = {COUNT: refusing(ModelRefused("no")), BOOK: asking("Which day?"), GREET: saying("hi Bo")}
    model = Parts(TEXT, scripts, together=True)
    async with office.employee(model) as gateway:
        message_id, state = await answered(office, gateway, TEXT)
        assert state == "sending"
        assert await desk.told(message_id) == [("reply", 0, f"Which day?\n\nhi Bo\n\n{PARTIAL_NOTICE}")]
        assert await desk.workers(message_id) == ["failed", "waiting_for_input", "done"]
        await desk.decide("question", "answer", gateway, text="Friday")
        _, (kind, part, body) = await desk.told_more(message_id, 2)
    assert (kind, part) == ("follow_up", 1)
    assert "Friday" in body
    assert await desk.workers(message_id) == ["failed", "done", "done"]
    assert model.asked == {COUNT: 1, BOOK: 2, GREET: 1}
    open_reviews = await office.pool.fetch("SELECT kind FROM reviews WHERE state = 'open'")
    assert [row["kind"] for row in open_reviews] == ["needs_manual_intervention"]
    planned = await office.pool.fetch(
        "SELECT started_at, finished_at FROM step_attempts WHERE step = 'action_planning' AND attempt = 1"
    )
    # The model answers none of them before all have been asked, so each began before any of them ended.
    assert max(row["started_at"] for row in planned) < min(row["finished_at"] for row in planned)


async def test_a_part_that_waits_counts_as_no_failure(office: Office):
    desk = Desk(office)
    async with office.employee(Parts(TEXT, {"": asking("Which day?")})) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        await desk.decide("question", "answer", gateway, text="Friday")
        await desk.told_more(message_id, 2)
    planned = [outcome for step, outcome in await office.attempts(message_id) if step == "action_planning"]
    assert planned == ["waiting", "succeeded"]
    assert await office.pool.fetchval("SELECT retry_count FROM message_workers") == 0


async def test_each_part_is_told_which_one_it_is(office: Office):
    seen: list[ModelRequest] = []

    def noting(request: ModelRequest) -> str:
        seen.append(request)
        return part_in(request) or "whole"

    async with office.employee(Parts(TEXT, dict.fromkeys((COUNT, BOOK), noting))) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        assert await office.replies(message_id) == [f"{COUNT}\n\n{BOOK}"]
    assert all(TEXT in request.messages[-1].text and "2 parts" in request.messages[-1].text for request in seen[:2])


def test_spans_are_clamped_and_empty_ones_stand_for_the_whole_message():
    found = Classification.model_validate_json(sorted_as("a, b, c", "a", "b", "c"))
    spans = [(3, 900), (700, 900), (5, 5)]
    intents = [
        intent.model_copy(update={"start": start, "end": end})
        for intent, (start, end) in zip(found.intents, spans, strict=True)
    ]
    workers = forks(found.model_copy(update={"intents": tuple(intents)}), "a, b, c")
    assert [(w["intent"]["start"], w["intent"]["end"]) for w in workers] == [(3, 7), (0, 7), (0, 7)]


async def test_the_rules_that_need_no_key_answer_each_part(office: Office):
    (office.workspace / "contacts.md").write_text("# Contacts\n\n- Acme: Nora Quist\n")
    async with office.employee(OfflineModel()) as gateway:
        text = "What is 17% of 2300? Also, who is the contact for Acme?"
        message_id, _ = await answered(office, gateway, text)
    [reply] = await office.replies(message_id)
    assert reply.index("391") < reply.index("Nora Quist")
    assert await Desk(office).workers(message_id) == ["done", "done"]


async def test_a_part_is_retried_alone(office: Office):
    tries: Iterator[Step] = iter([ModelUnavailable("busy"), "done"])
    model = Parts(TEXT, {COUNT: lambda _: next(tries), BOOK: saying("booked")})
    async with office.employee(model) as gateway, asyncio.timeout(20):
        message_id, _ = await answered(office, gateway, TEXT)
    assert await office.replies(message_id) == ["done\n\nbooked"]
    assert model.asked == {COUNT: 2, BOOK: 1}
