"""The Sender over real tables: what may leave, what a channel's answer comes to, and what a crash leaves behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from controlplane.auth import Operator
from controlplane.callbacks import Ambiguous, Blocked, NotSent, Receipt, Rejected
from controlplane.decisions import Decision
from controlplane.messages import Messages
from controlplane.receiver import Arrival, Receiver
from controlplane.reviews import Reviews
from controlplane.sender import DRAFT_DAYS, MAX_ATTEMPTS, MAX_PARALLEL, Sender
from empla import notices
from empla.store.connect import Pool
from empla.store.ids import new_id
from empla.v1 import control_pb2
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_tenant
from tests.integration.controlplane.waiting import WAIT_FOR_LOCKS


class Door:
    """A transport that answers by plan, and keeps what it was given."""

    def __init__(self, *plan: Exception) -> None:
        self.plan = list(plan)
        self.posted: list[dict[str, Any]] = []

    async def post(self, url: str, secret: bytes, outbox_id: UUID, payload: dict[str, Any]) -> Receipt:
        self.posted.append(payload)
        if self.plan:
            raise self.plan.pop(0)
        return Receipt(status=200, headers={}, attempted_at=datetime.now(UTC), elapsed_ms=1.0)


class Counter:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.ended: list[UUID] = []

    async def reply(
        self, *, autonomy: str = "autonomous", body: str = "two", proposal: str = "send", **channel: Any
    ) -> UUID:
        """A message whose reply is in the outbox."""
        tenant_id = await add_tenant(self.pool, f"t{new_id().hex}")
        employee_id = await add_employee(self.pool, tenant_id, autonomy=autonomy)
        channel_id = await add_channel(
            self.pool, tenant_id, employee_id, **{"callback_url": "http://there/x"} | channel
        )
        return await self._left_by((tenant_id, employee_id), channel_id, body, proposal)

    async def conversation(self, *bodies: str, **channel: Any) -> list[UUID]:
        """The messages of one conversation, whose replies are all in the outbox, the later ones first."""
        tenant_id = await add_tenant(self.pool, f"t{new_id().hex}")
        employee_id = await add_employee(self.pool, tenant_id, autonomy="autonomous")
        channel_id = await add_channel(
            self.pool, tenant_id, employee_id, **{"callback_url": "http://there/x"} | channel
        )
        ids = [await self._left_by((tenant_id, employee_id), channel_id, body) for body in bodies]
        for age, message_id in enumerate(ids):
            await self.pool.execute(
                "UPDATE outbox SET queued_at = now() - make_interval(secs => $2) WHERE message_id = $1", message_id, age
            )
        return ids

    async def _left_by(self, employee: tuple[UUID, UUID], channel_id: UUID, body: str, proposal: str = "send") -> UUID:
        tenant_id, employee_id = employee
        arrival = Arrival(
            tenant_id=tenant_id,
            channel_id=channel_id,
            employee_id=employee_id,
            event_id=new_id().hex,
            sender="ada",
            text="how many?",
            conversation="thread",
        )
        message_id = (await Receiver(self.pool, lambda *_: None).store(arrival)).message_id
        async with self.pool.acquire() as connection, connection.transaction():
            # Straight to where the employee leaves it.
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(
                "UPDATE inbound_messages SET processing_state = 'sending', step = 'send', epoch = 1 WHERE message_id = $1",
                message_id,
            )
        await self.pool.execute(
            "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, body, proposal, epoch) "
            "VALUES ($1, $2, $3, $4, 'reply', $5, $6, 1)",
            new_id(), tenant_id, employee_id, message_id, body, proposal,
        )  # fmt: skip
        return message_id

    @asynccontextmanager
    async def sender(self, door: Door) -> AsyncIterator[Sender]:
        sender = Sender(self.pool, door, self.ended.append, instance=str(new_id()))
        async with asyncio.TaskGroup() as group:  # a Sender that fails fails the test at once
            running = group.create_task(sender.run())
            yield sender
            running.cancel()

    async def ends(
        self, message_id: UUID, done: Callable[[Any], bool] = lambda row: row["state"] not in ("queued", "sending")
    ) -> Any:
        async with asyncio.timeout(20):
            while True:
                row = await self.pool.fetchrow(
                    "SELECT o.*, m.processing_state, m.reason AS message_reason FROM outbox o JOIN inbound_messages m "
                    "USING (message_id) WHERE message_id = $1", message_id,
                )  # fmt: skip
                if done(row):
                    return row
                await asyncio.sleep(0.02)

    async def decide(self, message_id: UUID, decision: Decision) -> None:
        query = "SELECT review_id FROM reviews WHERE message_id = $1 AND state = 'open'"
        review_id = await self.pool.fetchval(query, message_id)
        ada = Operator("ada", control_pb2.SCOPE_OPERATE, None)
        await Reviews(self.pool, self.ended.append, lambda: None).resolve(review_id, decision, ada)

    async def reviews(self, message_id: UUID) -> list[str]:
        rows = await self.pool.fetch("SELECT kind FROM reviews WHERE message_id = $1 AND state = 'open'", message_id)
        return [row["kind"] for row in rows]


@pytest.fixture
async def counter(database: Database) -> AsyncIterator[Counter]:
    from empla.store.connect import connect

    async with connect(database.superuser_dsn, application_name="tests", max_size=10) as pool:
        yield Counter(pool)


async def test_nothing_leaves_by_a_channel_that_is_deleted(counter: Counter):
    door, message_id = Door(), await counter.reply()
    await counter.pool.execute("UPDATE channels SET disabled_at = now()")
    async with counter.sender(door):
        row = await counter.ends(message_id)
    assert (row["state"], row["processing_state"], row["message_reason"]) == (
        "withheld",
        "withheld",
        "its channel was deleted",
    )
    assert door.posted == []


async def test_a_reply_is_posted_once_and_its_message_is_answered(counter: Counter):
    door, message_id = Door(), await counter.reply()
    async with counter.sender(door):
        row = await counter.ends(message_id)
    assert (row["state"], row["processing_state"], row["receipt"]["status"]) == ("sent", "answered", 200)
    assert [p["text"] for p in door.posted] == ["two"]
    assert counter.ended == [message_id]
    attempts = await counter.pool.fetch(
        "SELECT stage, step, outcome FROM step_attempts WHERE message_id = $1", message_id
    )
    assert [tuple(a) for a in attempts] == [("send", "send", "succeeded")]


async def test_an_api_reply_needs_no_call(counter: Counter):
    door = Door()
    message_id = await counter.reply(kind="api", callback_url=None)
    async with counter.sender(door):
        row = await counter.ends(message_id)
    assert (row["state"], row["processing_state"], door.posted) == ("sent", "answered", [])


@pytest.mark.parametrize(
    "reply",
    [
        {"autonomy": "shadow"},
        {"autonomy": "supervised"},
        {"proposal": "review"},
        {"body": "-----BEGIN RSA PRIVATE KEY-----"},
    ],
)
async def test_what_an_employee_says_to_itself_leaves_nowhere_and_needs_nobody(counter: Counter, reply: dict[str, Any]):
    door, message_id = Door(), await counter.reply(kind="own", **reply)
    async with counter.sender(door):
        row = await counter.ends(message_id)
    assert (row["state"], row["processing_state"], door.posted) == ("sent", "answered", [])
    assert await counter.reviews(message_id) == []


async def test_what_an_employee_does_by_itself_is_no_answer_that_somebody_waited_for(counter: Counter):
    asked, own = await counter.reply(kind="api"), await counter.reply(kind="own")
    async with counter.sender(Door()):
        await counter.ends(asked)
        await counter.ends(own)
    assert (await Messages(counter.pool).latency(None)).count == 1


@pytest.mark.parametrize(
    ("reply", "state", "message", "review"),
    [
        ({"autonomy": "shadow"}, "withheld", "withheld", []),
        ({"autonomy": "supervised"}, "held", "waiting", ["draft"]),
        ({"proposal": "review"}, "held", "waiting", ["draft"]),
        ({"body": "use AKIAIOSFODNN7EXAMPLE for it"}, "held", "waiting", ["draft"]),
        ({"body": "-----BEGIN RSA PRIVATE KEY-----"}, "held", "waiting", ["draft"]),
        ({"callback_url": None}, "withheld", "withheld", []),
        ({"kind": "email"}, "failed", "failed", ["needs_manual_intervention"]),
    ],
)
async def test_what_may_not_leave_does_not(
    counter: Counter, reply: dict[str, Any], state: str, message: str, review: list[str]
):
    door, message_id = Door(), await counter.reply(**reply)
    async with counter.sender(door):
        row = await counter.ends(message_id)
    assert (row["state"], row["processing_state"]) == (state, message)
    assert row["message_reason"]
    assert door.posted == []
    assert await counter.reviews(message_id) == review


@pytest.mark.parametrize(
    ("error", "state", "message", "review"),
    [
        (Ambiguous("no answer"), "unknown_after_send", "waiting", "unknown_after_send"),
        (Rejected("no", 410), "failed", "failed", "needs_manual_intervention"),
        (Blocked("private address"), "failed", "failed", "needs_manual_intervention"),
    ],
)
async def test_what_is_not_surely_undelivered_is_never_sent_again(
    counter: Counter, error, state: str, message: str, review: str
):
    door, message_id = Door(error), await counter.reply()
    async with counter.sender(door) as sender:
        row = await counter.ends(message_id)
        sender.look()
        await asyncio.sleep(0.1)
    assert (row["state"], row["processing_state"]) == (state, message)
    assert len(door.posted) == 1
    assert await counter.reviews(message_id) == [review]


async def test_what_was_surely_not_sent_is_tried_again(counter: Counter):
    door, message_id = Door(NotSent("refused")), await counter.reply()
    async with counter.sender(door):
        row = await counter.ends(message_id)
    assert (row["state"], row["attempt"]) == ("sent", 2)
    assert len(door.posted) == 2


async def test_each_try_is_a_span_of_the_message_with_the_id_that_is_in_the_table(
    counter: Counter, spans: InMemorySpanExporter
):
    door, message_id = Door(NotSent("http://there/x?key=hunter2 refused")), await counter.reply()
    async with counter.sender(door):
        await counter.ends(message_id)
    rows = await counter.pool.fetch(
        "SELECT m.trace_context, m.employee_id, s.* FROM step_attempts s JOIN inbound_messages m USING (message_id) "
        "WHERE message_id = $1 ORDER BY attempt",
        message_id,
    )
    found = [span for span in spans.get_finished_spans() if span.name == "send"]
    assert len(rows) == len(found) == 2
    for row, span, outcome in zip(rows, found, ("queued", "sent"), strict=True):
        assert span.context is not None
        assert span.parent is not None
        ids = (format_trace_id(span.context.trace_id), format_span_id(span.parent.span_id))
        assert ids == tuple(row["trace_context"].split("-")[1:3])
        assert format_span_id(span.context.span_id) == row["span_id"]
        whose = {"employee": str(row["employee_id"]), "message_id": str(message_id)}
        how = {"channel": "webhook", "kind": "reply", "attempt": row["attempt"], "outcome": outcome}
        assert span.attributes == {**whose, **how}
    assert not any("hunter2" in span.to_json() for span in found)


async def test_replies_of_a_conversation_leave_in_order_whatever_fails_meanwhile(counter: Counter):
    door = Door(NotSent("refused"))
    first, second, third = await counter.conversation("one", "two", "three")
    async with counter.sender(door):
        for message_id in (first, second, third):
            assert (await counter.ends(message_id))["state"] == "sent"
    assert [posted["text"] for posted in door.posted] == ["one", "one", "two", "three"]


async def test_what_follows_a_reply_leaves_after_it_whatever_fails_meanwhile(counter: Counter):
    door = Door(NotSent("refused"))
    first, last = await counter.conversation("one", "three")
    await counter.pool.execute(
        "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, body, proposal, epoch, queued_at) "
        "SELECT $2, tenant_id, employee_id, message_id, 'follow_up', 'two', proposal, epoch, queued_at + interval '1 ms' "
        "FROM outbox WHERE message_id = $1",
        first, new_id(),
    )  # fmt: skip
    async with counter.sender(door):
        assert (await counter.ends(last))["state"] == "sent"
    assert [posted["text"] for posted in door.posted] == ["one", "one", "two", "three"]


async def test_a_reply_that_waited_leaves_as_soon_as_the_one_before_it_is_settled(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("controlplane.sender.POLL_SECONDS", 3600)  # which would find it a little later
    door = Door()
    *_, last = await counter.conversation("one", "two", "three")
    async with counter.sender(door):
        assert (await counter.ends(last))["state"] == "sent"
    assert [posted["text"] for posted in door.posted] == ["one", "two", "three"]


async def test_a_conversation_holds_up_no_other(counter: Counter):
    door = Door(NotSent("refused"))
    first, second = await counter.conversation("one", "two")
    await counter.pool.execute("UPDATE outbox SET next_at = now() + interval '1 hour' WHERE message_id = $1", first)
    other = await counter.reply(body="other")
    async with counter.sender(door):
        await counter.ends(other)
        state = await counter.pool.fetchval("SELECT state FROM outbox WHERE message_id = $1", second)
    assert state == "queued"
    assert {posted["text"] for posted in door.posted} == {"other"}


@pytest.mark.parametrize(
    ("error", "state"), [(Ambiguous("no answer"), "unknown_after_send"), (Rejected("no", 410), "failed")]
)
async def test_what_does_not_leave_at_all_holds_up_nothing(counter: Counter, error, state: str):
    door = Door(error)
    first, second = await counter.conversation("one", "two")
    async with counter.sender(door):
        assert (await counter.ends(first))["state"] == state
        assert (await counter.ends(second))["state"] == "sent"


async def test_a_reply_that_waits_for_a_person_holds_up_nothing(counter: Counter):
    first, second = await counter.conversation("one", "two")
    await counter.pool.execute("UPDATE outbox SET proposal = 'review' WHERE message_id = $1", first)
    async with counter.sender(Door()):
        assert (await counter.ends(first))["state"] == "held"
        assert (await counter.ends(second))["state"] == "sent"


async def test_approved_replies_leave_in_the_order_of_the_conversation_and_once(counter: Counter):
    door = Door()
    first, second = await counter.conversation("one", "two")
    await counter.pool.execute("UPDATE outbox SET proposal = 'review'")
    async with counter.sender(door):
        for message_id in (first, second):
            assert (await counter.ends(message_id))["state"] == "held"
    for message_id in (second, first):
        await counter.decide(message_id, Decision("approve"))
    async with counter.sender(door), counter.sender(door):
        for message_id in (second, first):
            row = await counter.ends(message_id)
            assert (row["state"], row["processing_state"]) == ("sent", "answered")
    assert [posted["text"] for posted in door.posted] == ["one", "two"]


async def test_a_draft_waits_for_a_person_no_longer_than_days(counter: Counter):
    message_id = await counter.reply(proposal="review")
    async with counter.sender(Door()):
        await counter.ends(message_id)
    days = await counter.pool.fetchval("SELECT extract(day FROM expires_at - created_at)::int FROM reviews")
    assert days == DRAFT_DAYS


async def test_trying_again_has_an_end(counter: Counter):
    door, message_id = Door(NotSent("refused")), await counter.reply()
    await counter.pool.execute("UPDATE outbox SET attempt = $1", MAX_ATTEMPTS - 1)
    async with counter.sender(door):
        row = await counter.ends(message_id)
    assert (row["state"], row["processing_state"]) == ("failed", "failed")
    assert await counter.reviews(message_id) == ["needs_manual_intervention"]


@pytest.mark.parametrize(
    ("channel", "state"), [({}, "unknown_after_send"), ({"kind": "api", "callback_url": None}, "sent")]
)
async def test_what_another_control_plane_left_half_sent(counter: Counter, channel: dict[str, Any], state: str):
    door, message_id = Door(), await counter.reply(**channel)
    await counter.pool.execute(
        "UPDATE outbox SET state = 'sending', claimed_by = 'gone', started_at = now() - interval '1 hour', attempt = 1"
    )
    async with counter.sender(door):
        row = await counter.ends(message_id)
    assert row["state"] == state
    assert door.posted == []


@pytest.mark.parametrize("words", sorted(notices.UNSEEN))
@pytest.mark.parametrize("kind", ["notice", "progress"])
async def test_a_notice_leaves_unseen_only_with_the_known_words(counter: Counter, kind: str, words: str):
    door = Door()
    known = await counter.reply(autonomy="supervised", body=words)
    invented = await counter.reply(autonomy="supervised", body="Please pay to this account instead")
    await counter.pool.execute("UPDATE outbox SET kind = $1", kind)
    async with counter.sender(door):
        assert (await counter.ends(known))["state"] == "sent"
        assert (await counter.ends(invented))["state"] == "held"
    assert [p["text"] for p in door.posted] == [words]


async def test_an_unforeseen_error_of_one_sending_stops_no_other(counter: Counter):
    door, first = Door(TypeError("unforeseen")), await counter.reply()
    async with counter.sender(door) as sender:
        assert (await counter.ends(first))["state"] == "unknown_after_send"
        second = await counter.reply()
        sender.look()
        assert (await counter.ends(second))["state"] == "sent"


async def test_what_is_being_sent_when_the_end_comes_is_seen_through(counter: Counter):
    entered, release = asyncio.Event(), asyncio.Event()

    class SlowDoor(Door):
        async def post(self, *arguments: Any) -> Receipt:
            entered.set()
            await release.wait()
            return await super().post(*arguments)

    door, message_id = SlowDoor(), await counter.reply()
    async with counter.sender(door):
        await asyncio.wait_for(entered.wait(), 10)
        asyncio.get_running_loop().call_later(0.1, release.set)
    assert (await counter.ends(message_id))["state"] == "sent"


async def test_more_replies_than_are_sent_at_once_all_leave_and_none_is_claimed_early(counter: Counter):
    release = asyncio.Event()

    class SlowDoor(Door):
        async def post(self, *arguments: Any) -> Receipt:
            entered.append(arguments[2])
            await release.wait()
            return await super().post(*arguments)

    entered: list[UUID] = []
    door, ids = SlowDoor(), [await counter.reply() for _ in range(MAX_PARALLEL + 3)]
    async with counter.sender(door):
        async with asyncio.timeout(20):
            while len(entered) < MAX_PARALLEL:
                await asyncio.sleep(0.02)
        assert await counter.pool.fetchval("SELECT count(*) FROM outbox WHERE state = 'queued'") == 3
        release.set()
        for message_id in ids:
            assert (await counter.ends(message_id))["state"] == "sent"
    assert len(door.posted) == len(set(entered)) == MAX_PARALLEL + 3


async def test_two_senders_send_once(counter: Counter):
    door = Door()
    ids = [await counter.reply() for _ in range(10)]
    async with counter.sender(door), counter.sender(door):
        for message_id in ids:
            await counter.ends(message_id)
    assert len(door.posted) == 10


@asynccontextmanager
async def between_look_and_verdict(counter: Counter, message_id: UUID, planes: int) -> AsyncIterator[Any]:
    """Control planes that have read the row of a message, and may write what they found only after the block."""
    working = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND state = 'active' AND query LIKE '%UPDATE outbox%'"
    )
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        async with counter.pool.acquire() as meanwhile, meanwhile.transaction():
            await meanwhile.execute("SELECT FROM outbox WHERE message_id = $1 FOR UPDATE", message_id)
            for _ in range(planes):
                await stack.enter_async_context(counter.sender(Door()))
            while await counter.pool.fetchval(WAIT_FOR_LOCKS) < planes:
                await asyncio.sleep(0.02)
            yield meanwhile
        while await counter.pool.fetchval(working):
            await asyncio.sleep(0.02)


ABANDONED = (
    "UPDATE outbox SET state = 'sending', claimed_by = 'gone', started_at = now() - interval '1 hour', attempt = 1"
)


async def test_of_two_control_planes_one_opens_the_review_of_an_abandoned_sending(counter: Counter):
    message_id = await counter.reply()
    await counter.pool.execute(ABANDONED)
    async with between_look_and_verdict(counter, message_id, planes=2):
        pass
    assert (await counter.ends(message_id))["state"] == "unknown_after_send"
    assert await counter.reviews(message_id) == ["unknown_after_send"]


class Slow(Door):
    """Takes its time for each call, and then goes by its plan."""

    def __init__(self, *plan: Exception) -> None:
        super().__init__(*plan)
        self.entered, self.may_end = asyncio.Event(), asyncio.Event()

    async def post(self, url: str, secret: bytes, outbox_id: UUID, payload: dict[str, Any]) -> Receipt:
        self.entered.set()
        await self.may_end.wait()
        return await super().post(url, secret, outbox_id, payload)


@pytest.mark.parametrize(
    ("plan", "state", "reviews"),
    [
        ([], "sent", []),
        ([Rejected("no", 400)], "failed", ["needs_manual_intervention"]),
        ([NotSent("later")], "sent", []),
    ],
)
async def test_nobody_is_asked_about_a_sending_any_more_once_it_is_known_what_came_of_it(
    counter: Counter, plan: list[Exception], state: str, reviews: list[str]
):
    message_id, slow = await counter.reply(), Slow(*plan)
    async with counter.sender(slow):
        await slow.entered.wait()
        await counter.pool.execute("UPDATE outbox SET started_at = now() - interval '1 hour'")
        async with counter.sender(Door()):
            row = await counter.ends(message_id)
        assert (row["state"], await counter.reviews(message_id)) == ("unknown_after_send", ["unknown_after_send"])
        slow.may_end.set()
        await counter.ends(message_id, lambda row: row["state"] == state)
    assert await counter.reviews(message_id) == reviews


async def test_a_sending_that_was_released_meanwhile_is_not_taken_for_the_abandoned_one(counter: Counter):
    message_id = await counter.reply()
    await counter.pool.execute(ABANDONED)
    async with between_look_and_verdict(counter, message_id, planes=1) as meanwhile:
        for state in ("unknown_after_send", "queued"):
            await meanwhile.execute("UPDATE outbox SET state = $1", state)
        await meanwhile.execute("UPDATE outbox SET state = 'sending', attempt = 2, started_at = now()")
    row = await counter.pool.fetchrow("SELECT state, attempt FROM outbox WHERE message_id = $1", message_id)
    assert row is not None
    assert (row["state"], row["attempt"]) == ("sending", 2)
    assert await counter.reviews(message_id) == []


async def test_what_a_person_approved_meanwhile_is_not_held_again(counter: Counter):
    message_id = await counter.reply(proposal="review")
    async with between_look_and_verdict(counter, message_id, planes=1) as meanwhile:
        await meanwhile.execute("UPDATE outbox SET state = 'held', attempt = attempt + 1")
        await meanwhile.execute("UPDATE outbox SET state = 'queued', approved_by = 'ada'")
    assert await counter.reviews(message_id) == []
    async with counter.sender(Door()):
        assert (await counter.ends(message_id))["state"] == "sent"


async def test_what_a_person_edited_meanwhile_leaves_only_as_edited(counter: Counter):
    door, message_id = Door(), await counter.reply()
    async with between_look_and_verdict(counter, message_id, planes=1) as meanwhile:
        await meanwhile.execute("UPDATE outbox SET state = 'held', attempt = attempt + 1")
        await meanwhile.execute(
            "UPDATE outbox SET state = 'queued', body = 'three', approved_by = 'ada', next_at = now() + interval '1 hour'"
        )
    assert await counter.pool.fetchval("SELECT state FROM outbox WHERE message_id = $1", message_id) == "queued"
    await counter.pool.execute("UPDATE outbox SET next_at = NULL")
    async with counter.sender(door):
        await counter.ends(message_id)
    assert [posted["text"] for posted in door.posted] == ["three"]
