"""A message on its way: every step durable, the reply in the outbox, nothing done twice."""

import asyncio
from uuid import UUID

from agent.models.interface import ModelRequest, ModelResponse, ModelUnavailable, ToolCall
from agent.models.offline import OfflineModel
from agent.models.scripted import ScriptedModel, Step, echo
from tests.integration.agent.conftest import Office

WHOLE_WAY = [
    "security_filter",
    "context_retrieval",
    "classification",
    "action_planning",
    "draft_generation",
    "routing",
    "merge",
]


async def answered(office: Office, gateway, text: str, **fields) -> tuple[UUID, str]:
    message_id = await office.store(text, **fields)
    await office.deliver_all(gateway)
    async with asyncio.timeout(20):
        return message_id, await gateway.handed_over(message_id)


async def test_a_message_goes_through_every_step_to_the_outbox(office: Office):
    (office.workspace / "notes.md").write_text("# Deals\n\n- Acme - open\n- Brandt - closed\n- Corte - open\n")
    async with office.employee(OfflineModel()) as gateway:
        message_id, state = await answered(office, gateway, "How many open deals does notes.md list?")
        assert state == "sending"
        assert message_id in gateway.acknowledged
    assert await office.attempts(message_id) == [(step, "succeeded") for step in WHOLE_WAY]
    [reply] = await office.replies(message_id)
    assert "2" in reply
    row = await office.row(message_id)
    assert set(row["step_timings"]) >= {"security_filter", "context_retrieval", "classification", "merge"}


async def test_what_it_was_told_is_remembered_in_another_conversation(office: Office):
    async with office.employee(OfflineModel()) as gateway:
        await answered(office, gateway, "Remember that our discount limit is 15 %.")
        message_id, _ = await answered(office, gateway, "What is our discount limit?")
    [reply] = await office.replies(message_id)
    assert "15" in reply


async def test_a_failing_model_is_retried_and_then_a_person_is_asked(office: Office):
    def down(_: ModelRequest) -> ModelResponse:
        raise ModelUnavailable("overloaded")

    async with office.employee(ScriptedModel(down)) as gateway:
        message_id, state = await answered(office, gateway, "Hello?")
    assert state == "failed"
    outcomes = await office.attempts(message_id)
    assert outcomes.count(("classification", "failed")) == 3
    reviews = await office.pool.fetch("SELECT kind, state FROM reviews WHERE message_id = $1", message_id)
    assert [(r["kind"], r["state"]) for r in reviews] == [("classification", "open")]
    [notice] = await office.replies(message_id)
    assert "person" in notice


async def test_an_auto_responder_gets_no_answer(office: Office):
    async with office.employee(OfflineModel()) as gateway:
        message_id, state = await answered(office, gateway, "I am out of office", auto_submitted="auto-replied")
    assert state == "withheld"
    assert (await office.row(message_id))["reason"] == "auto-responder"
    assert await office.replies(message_id) == []


async def test_messages_of_one_conversation_are_answered_in_order(office: Office):
    async with office.employee(ScriptedModel(delay=0.05)) as gateway:
        ids = [await office.store(f"message {n}", conversation="thread") for n in range(5)]
        await office.deliver_all(gateway)
        for message_id in ids:
            await gateway.handed_over(message_id)
    rows = await office.pool.fetch("SELECT message_id FROM outbox ORDER BY queued_at")
    assert [row["message_id"] for row in rows] == ids


async def test_a_launch_takes_over_what_an_earlier_one_left(office: Office):
    begun = asyncio.Event()

    class Stuck(ScriptedModel):
        async def generate(self, request, on_text=None):
            begun.set()
            await asyncio.Event().wait()

    message_id = await office.store("Hello?")
    first = office.employee(Stuck())
    gateway = await first.__aenter__()
    await office.deliver_all(gateway)
    await asyncio.wait_for(begun.wait(), 10)
    # A successor exists: the first may not write any more, whatever it still does.
    async with office.employee(OfflineModel()) as second:
        assert await asyncio.wait_for(second.handed_over(message_id), 10) == "sending"
    assert len(await office.replies(message_id)) == 1
    assert ("classification", "lost") in await office.attempts(message_id)
    gateway.drain(0)
    await first.__aexit__(None, None, None)
    assert len(await office.replies(message_id)) == 1


async def test_a_replayed_call_is_not_done_again(office: Office):
    """The process dies after the tool ran: the next launch replays the response and reads the recorded result."""
    asked = 0

    def script(request: ModelRequest) -> Step:
        nonlocal asked
        if request.output is not None:
            return echo(request)
        asked += 1
        if not any(message.results for message in request.messages):
            call = ToolCall(call_id="1", name="append_file", arguments={"path": "log.txt", "content": "once\n"})
            return ModelResponse(calls=(call,), model="scripted", stop_reason="calls")
        if asked == 2:
            raise ModelUnavailable("broke off")
        return ModelResponse(text="done", model="scripted")

    async with office.employee(ScriptedModel(script)) as gateway:
        message_id, state = await answered(office, gateway, "Write it down")
    assert state == "sending"
    assert (office.workspace / "log.txt").read_text() == "once\n"
    assert asked == 3
    assert ("action_planning", "failed") in await office.attempts(message_id)
