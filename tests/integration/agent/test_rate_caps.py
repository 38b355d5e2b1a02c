"""Rate caps: what is one too many is stored, and nothing is spent on it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from agent.local import LocalGateway
from agent.models.interface import ModelRequest, ModelResponse, TextSink
from agent.models.scripted import ScriptedModel, Step, echo
from agent.pipeline.caps import MAX_MINUTES, RateCaps
from agent.pipeline.step import Incoming
from controlplane.gateway import as_deliver, configuration
from controlplane.receiver import Arrival, Receiver
from empla.store.ids import new_id
from tests.integration.agent.conftest import Office

NOON = datetime(2027, 5, 3, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SENDER = "over the rate cap of 2 messages a minute of one sender"
ALL = "over the rate cap of 3 messages a minute"


@pytest.fixture
def capped(office: Office) -> Office:
    office.record.profile.rate_caps.sender_per_minute = 2
    office.record.profile.rate_caps.employee_per_minute = 3
    return office


class Held(ScriptedModel):
    """Stands still at the first piece of work until it is released."""

    def __init__(self) -> None:
        super().__init__(echo)
        self.held, self.released = asyncio.Event(), asyncio.Event()

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        if request.output is None:
            self.held.set()
            await self.released.wait()
        return await super().generate(request, on_text)


def counting(asked: list[ModelRequest]) -> ScriptedModel:
    def script(request: ModelRequest) -> Step:
        asked.append(request)
        return echo(request)

    return ScriptedModel(script)


async def received(
    office: Office, sender: str = "ada", at: datetime = NOON, conversation: str = "", **metadata: Any
) -> UUID:
    arrival = Arrival(
        tenant_id=office.record.tenant_id,
        channel_id=office.channel_id,
        employee_id=office.record.employee_id,
        event_id=new_id().hex,
        sender=sender,
        text="hello",
        conversation=conversation,
        metadata=metadata,
    )
    stored = await Receiver(office.pool, lambda *_: None).store(arrival)
    await office.pool.execute(
        "UPDATE inbound_messages SET received_at = $2 WHERE message_id = $1", stored.message_id, at
    )
    return stored.message_id


async def ends(office: Office, gateway: LocalGateway, *messages: UUID) -> list[str]:
    """Why each message was withheld; '' for what was worked on."""
    await office.deliver_all(gateway)
    for message_id in messages:
        await gateway.handed_over(message_id)
    rows = [await office.row(message_id) for message_id in messages]
    assert all((row["processing_state"] == "withheld") == bool(row["reason"]) for row in rows)
    return [row["reason"] for row in rows]


async def bursts(office: Office) -> list[Any]:
    return await office.pool.fetch("SELECT * FROM reviews WHERE kind = 'quarantine' ORDER BY created_at")


async def test_one_sender_is_worked_on_up_to_its_cap_and_nothing_is_spent_on_the_rest(capped: Office):
    asked: list[ModelRequest] = []
    async with capped.employee(counting(asked)) as gateway:
        messages = [await received(capped, at=NOON + n * SECOND) for n in range(4)]
        other = await received(capped, "grace")
        assert await ends(capped, gateway, *messages, other) == ["", "", SENDER, SENDER, ""]
    for message_id in messages[2:]:
        assert await capped.attempts(message_id) == [("security_filter", "succeeded")]
        assert await capped.replies(message_id) == []
    assert len([request for request in asked if request.output is not None]) == 3


async def test_all_senders_together_have_a_cap_and_the_next_minute_is_a_new_one(capped: Office):
    async with capped.employee(ScriptedModel(echo)) as gateway:
        messages = [await received(capped, f"s{n}") for n in range(4)]
        last_moment = await received(capped, "late", NOON + MINUTE - timedelta(microseconds=1))
        next_minute = await received(capped, "late", NOON + MINUTE)
        found = await ends(capped, gateway, *messages, last_moment, next_minute)
    assert found == ["", "", "", ALL, ALL, ""]


async def test_what_waited_for_a_stopped_employee_is_no_flood(capped: Office):
    messages = [await received(capped, at=NOON + n * MINUTE) for n in range(8)]
    async with capped.employee(ScriptedModel(echo)) as gateway:
        assert await ends(capped, gateway, *messages) == [""] * 8


async def test_a_restart_knows_what_was_worked_on(capped: Office):
    async with capped.employee(ScriptedModel(echo)) as gateway:
        first = [await received(capped) for _ in range(3)]
        assert await ends(capped, gateway, *first) == ["", "", SENDER]
    await received(capped, "old", NOON - MINUTE)
    last = [await received(capped, sender) for sender in ("ada", "grace", "alan")]
    async with capped.employee(ScriptedModel(echo)) as gateway:
        assert await ends(capped, gateway, *last) == [SENDER, "", ALL]


async def test_a_message_that_was_claimed_when_its_process_died_counts_once(capped: Office):
    """The launch before claimed two and began the way of neither."""
    messages = [await received(capped) for _ in range(3)]
    identity = await capped.launch()
    await capped.pool.execute(
        "UPDATE inbound_messages SET epoch = $1, attempt = 1 WHERE message_id = ANY ($2::uuid[])",
        identity.epoch,
        messages[:2],
    )
    async with capped.employee(ScriptedModel(echo)) as gateway:
        assert await ends(capped, gateway, *messages) == ["", "", SENDER]


async def test_a_burst_is_told_of_once_and_again_when_that_is_closed(capped: Office):
    async with capped.employee(ScriptedModel(echo)) as gateway:
        messages = [await received(capped, at=NOON + n * SECOND) for n in range(8)]
        await ends(capped, gateway, *messages)
    [burst] = await bursts(capped)
    assert (burst["state"], burst["message_id"], burst["payload"]) == ("open", messages[2], {"sender": "ada"})
    assert burst["reason"].startswith(SENDER)
    async with capped.employee(ScriptedModel(echo)) as gateway:  # a launch that knows of no burst
        await ends(capped, gateway, await received(capped))
        assert len(await bursts(capped)) == 1
        await capped.pool.execute("UPDATE reviews SET state = 'resolved'")
        await ends(capped, gateway, await received(capped))
        assert len(await bursts(capped)) == 1
        later = [await received(capped, at=NOON + 11 * MINUTE) for _ in range(4)]
        await ends(capped, gateway, *later)
    assert [row["message_id"] for row in await bursts(capped)] == [messages[2], later[2]]


async def test_runs_of_schedules_do_not_count(capped: Office):
    runs = [await capped.store_run("hello") for _ in range(5)]
    async with capped.employee(ScriptedModel(echo)) as gateway:
        assert await ends(capped, gateway, *runs) == [""] * 5


@pytest.mark.parametrize("event", ["schedule", "intention"])
async def test_what_nobody_says_does_not_count_for_the_next_launch_either(capped: Office, event: str):
    runs = [await capped.store_run("hello") for _ in range(3)]
    await capped.pool.execute(
        "UPDATE inbound_messages SET received_at = $1, event_id = $2 || ':' || message_id, sender = 'ada'", NOON, event
    )
    async with capped.employee(ScriptedModel(echo)) as gateway:
        assert await ends(capped, gateway, *runs) == [""] * 3
    last = [await received(capped) for _ in range(2)]
    async with capped.employee(ScriptedModel(echo)) as gateway:
        assert await ends(capped, gateway, *last) == [""] * 2


async def test_the_caps_of_a_changed_profile_hold_at_once(capped: Office):
    async with capped.employee(ScriptedModel(echo)) as gateway:
        first = [await received(capped) for _ in range(3)]
        assert await ends(capped, gateway, *first) == ["", "", SENDER]
        capped.record.profile.rate_caps.sender_per_minute = 3
        gateway.configure(configuration(capped.record))
        assert await ends(capped, gateway, await received(capped)) == [""]


async def test_what_is_over_a_cap_is_not_taken_along(office: Office):
    office.record.profile.rate_caps.sender_per_minute = 1
    office.record.profile.when_busy = "collect"
    async with office.employee(ScriptedModel(echo)) as gateway:
        messages = [await received(office, conversation="thread") for _ in range(2)]
        [row] = await office.undelivered()  # of a conversation one message is delivered at a time
        gateway.deliver(as_deliver(row))
        await gateway.handed_over(messages[0])
        assert await ends(office, gateway, *messages) == ["", SENDER.replace("2 messages", "1 messages")]


@pytest.mark.parametrize("when_busy", ["collect", "interrupt"])
async def test_what_is_over_a_cap_takes_nothing_with_it(office: Office, when_busy: str):
    office.record.profile.rate_caps.sender_per_minute = 1
    office.record.profile.when_busy = when_busy
    model = Held()
    async with office.employee(model) as gateway:
        first = await received(office, conversation="thread")
        await office.deliver_all(gateway)
        await model.held.wait()
        second = await received(office, conversation="thread")
        others = [await received(office, "grace", conversation="thread")] if when_busy == "collect" else []
        await office.deliver_all(gateway)
        model.released.set()
        found = await ends(office, gateway, first, second, *others)
    assert found == ["", SENDER.replace("2 messages", "1 messages"), *[""] * len(others)]
    states = [(await office.row(message_id))["processing_state"] for message_id in (first, *others)]
    assert set(states) == {"sending"}


@pytest.mark.parametrize("minutes", [MAX_MINUTES, 3 * MAX_MINUTES])
def test_few_minutes_are_kept_in_memory(minutes: int):
    caps = RateCaps()
    caps.use(1, 1)

    def over(minute: int) -> bool:
        message = Incoming(
            new_id(), new_id(), "ada", "hello", {}, received_at=datetime.fromtimestamp(60.0 * minute, UTC)
        )
        return caps.judged(message).over_cap is not None

    assert not any(over(minute) for minute in range(minutes))
    assert over(minutes - 1)
    assert over(0) is (minutes == MAX_MINUTES)
    assert over(minutes - 1)
    assert len(caps._minutes) == MAX_MINUTES


def test_a_message_that_is_delivered_again_is_no_further_one():
    caps = RateCaps()
    caps.use(1, 0)
    message = Incoming(new_id(), new_id(), "ada", "hello", {})
    assert [caps.judged(message).over_cap for _ in range(3)] == [None] * 3
