"""What people decide about what waits for them, over the real service and the tables below it."""

import asyncio
from typing import Any
from uuid import UUID

import grpc
import pytest

from controlplane.auth import Operator, hashed, new_secret
from controlplane.callbacks import Ambiguous
from controlplane.decisions import MAX_TEXT, Decision
from controlplane.errors import NotNow
from controlplane.reviews import Reviews
from empla import rpc
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc
from tests.factories import add_tenant
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.test_sender import Counter, Door, counter  # noqa: F401 - a fixture

ADA = Operator("ada", pb.SCOPE_OPERATE, None)


async def drafted(plane: Plane) -> tuple[pb.Message, pb.Review]:
    """A message whose reply waits for a person."""
    profile = pb.Profile(role="Tester", autonomy=pb.AUTONOMY_SUPERVISED)
    create = pb.CreateEmployeeRequest(name="careful", profile=profile, start=True)
    await plane.stub.CreateEmployee(create, timeout=10)
    request = pb.SendMessageRequest(employee="careful", text="What is 2 + 2?", wait_ms=25_000)
    message = await plane.stub.SendMessage(request, timeout=30)
    assert message.state == "waiting"
    [review] = message.reviews
    return message, review


async def resolve(plane: Plane, review_id: str, **decision: Any) -> pb.Review:
    request = pb.ResolveReviewRequest(review_id=review_id, **decision)
    resolved: pb.Review = await plane.stub.ResolveReview(request, timeout=10)
    return resolved


async def ended(plane: Plane, message_id: str) -> pb.Message:
    async with asyncio.timeout(20):
        while True:
            message: pb.Message = await plane.stub.GetMessage(pb.GetMessageRequest(message_id=message_id), timeout=10)
            if message.ended_at.seconds:
                return message
            await asyncio.sleep(0.02)


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


class TestDrafts:
    async def test_one_that_is_approved_leaves_as_it_is(self, plane: Plane) -> None:
        message, review = await drafted(plane)
        assert list(review.decisions) == ["approve", "edit", "reject"]
        resolved = await resolve(plane, review.review_id, approve=pb.Approve())
        assert (resolved.state, resolved.resolved_by, list(resolved.decisions)) == ("resolved", "local operator", [])
        after = await ended(plane, message.message_id)
        assert (after.state, after.reason) == ("answered", "")
        assert [(reply.text, reply.state) for reply in after.replies] == [(message.replies[0].text, "sent")]

    async def test_one_that_is_edited_leaves_with_the_new_text(self, plane: Plane) -> None:
        message, review = await drafted(plane)
        await resolve(plane, review.review_id, edit=pb.Edit(text="Four, says AKIAIOSFODNN7EXAMPLE."))
        after = await ended(plane, message.message_id)
        assert [(reply.text, reply.state) for reply in after.replies] == [("Four, says AKIAIOSFODNN7EXAMPLE.", "sent")]
        [kept] = after.reviews
        assert kept.payload["text"] == message.replies[0].text
        assert dict(kept.decision) == {"decision": "edit", "text": "Four, says AKIAIOSFODNN7EXAMPLE."}

    async def test_one_that_is_rejected_does_not_leave(self, plane: Plane) -> None:
        message, review = await drafted(plane)
        await resolve(plane, review.review_id, reject=pb.Reject(reason="too early"))
        after = await ended(plane, message.message_id)
        assert (after.state, after.reason) == ("withheld", "local operator turned it down: too early")
        assert [reply.state for reply in after.replies] == ["withheld"]

    async def test_what_it_was_is_written_down(self, plane: Plane) -> None:
        _, review = await drafted(plane)
        await resolve(plane, review.review_id, reject=pb.Reject(reason="no"))
        row = await plane.pool.fetchrow(
            "SELECT actor, action, subject, detail FROM audit_log WHERE action LIKE 'review.%'"
        )
        assert tuple(row or ()) == (
            "local operator",
            "review.resolve",
            review.review_id,
            {"decision": "reject", "reason": "no"},
        )


class TestRefusals:
    async def test_a_second_decision(self, plane: Plane) -> None:
        message, review = await drafted(plane)
        await resolve(plane, review.review_id, approve=pb.Approve())
        error = await refusal(resolve(plane, review.review_id, reject=pb.Reject()))
        assert (error.code(), rpc.reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "REVIEW_ENDED")
        assert "resolved by local operator" in (error.details() or "")
        assert (await ended(plane, message.message_id)).state == "answered"

    @pytest.mark.parametrize(
        ("decision", "field"),
        [
            ({}, "decision"),
            ({"answer": pb.Answer(text=" ")}, "text"),
            ({"edit": pb.Edit(text=" \n")}, "text"),
            ({"edit": pb.Edit(text="a\0b")}, "text"),
            ({"edit": pb.Edit(text="x" * (MAX_TEXT + 1))}, "text"),
            ({"reject": pb.Reject(reason="x" * 1001)}, "reason"),
        ],
    )
    async def test_what_decides_nothing(self, plane: Plane, decision: dict[str, Any], field: str) -> None:
        error = await refusal(resolve(plane, str(new_id()), **decision))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert field in (error.details() or "") or field in rpc.fields_of(error)

    async def test_a_review_that_is_not_there(self, plane: Plane) -> None:
        error = await refusal(resolve(plane, str(new_id()), approve=pb.Approve()))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        error = await refusal(resolve(plane, "x", approve=pb.Approve()))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT

    async def test_another_tenants(self, plane: Plane) -> None:
        _, review = await drafted(plane)
        tenant_id, secret = await add_tenant(plane.pool, "other"), new_secret()
        await plane.pool.execute(
            "INSERT INTO operator_tokens (token_id, tenant_id, name, secret_hash, scope) "
            "VALUES ($1, $2, 'eve', $3, 'admin')",
            new_id(),
            tenant_id,
            hashed(secret),
        )
        async with rpc.dialing(plane.running.grpc_address, secret) as channel:
            stub: Any = control_pb2_grpc.ControlPlaneStub(channel)
            request = pb.ResolveReviewRequest(review_id=review.review_id, approve=pb.Approve())
            error = await refusal(stub.ResolveReview(request, timeout=10))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        shown = await plane.stub.GetReview(pb.GetReviewRequest(review_id=review.review_id), timeout=10)
        assert shown.state == "open"


class TestUnknownSendings:
    async def doubtful(self, counter: Counter) -> tuple[UUID, UUID]:  # noqa: F811
        message_id = await counter.reply()
        async with counter.sender(Door(Ambiguous("no answer"))):
            row = await counter.ends(message_id)
        assert row["state"] == "unknown_after_send"
        review_id: UUID = await counter.pool.fetchval("SELECT review_id FROM reviews WHERE message_id = $1", message_id)
        return message_id, review_id

    async def test_approved_it_is_made_again(self, counter: Counter) -> None:  # noqa: F811
        message_id, review_id = await self.doubtful(counter)
        door, changed = Door(), list[UUID]()
        async with counter.sender(door) as sender:
            await Reviews(counter.pool, changed.append, sender.look).resolve(review_id, Decision("approve"), ADA)
            row = await counter.ends(message_id)
        assert (row["state"], row["processing_state"], len(door.posted)) == ("sent", "answered", 1)
        assert changed == [message_id]

    async def test_rejected_it_counts_as_arrived(self, counter: Counter) -> None:  # noqa: F811
        message_id, review_id = await self.doubtful(counter)
        door = Door()
        async with counter.sender(door) as sender:
            await Reviews(counter.pool, lambda _: None, sender.look).resolve(review_id, Decision("reject"), ADA)
            row = await counter.ends(message_id)
            await asyncio.sleep(0.1)
        assert (row["state"], row["processing_state"], door.posted) == ("sent", "answered", [])
        assert row["receipt"] == {"confirmed_by": "ada"}

    async def test_it_cannot_be_edited(self, counter: Counter) -> None:  # noqa: F811
        _, review_id = await self.doubtful(counter)
        reviews = Reviews(counter.pool, lambda _: None, lambda: None)
        with pytest.raises(Exception, match="takes approve or reject, and not edit"):
            await reviews.resolve(review_id, Decision("edit", text="new"), ADA)


async def test_of_many_who_decide_at_once_one_does(counter: Counter) -> None:  # noqa: F811
    message_id = await counter.reply(autonomy="supervised")
    door = Door()
    async with counter.sender(door) as sender:
        await counter.ends(message_id)
        review_id = await counter.pool.fetchval("SELECT review_id FROM reviews WHERE message_id = $1", message_id)
        reviews = Reviews(counter.pool, lambda _: None, sender.look)
        decisions = [
            Decision("approve"),
            Decision("edit", text="mine"),
            Decision("edit", text="yours"),
            Decision("reject"),
        ]
        came = await asyncio.gather(
            *(reviews.resolve(review_id, one, ADA) for one in decisions), return_exceptions=True
        )
        row = await counter.ends(message_id, lambda row: row["state"] in ("sent", "withheld"))
        await asyncio.sleep(0.1)
    assert [type(one) for one in came if one is not None] == [NotNow] * 3
    assert (row["state"], len(door.posted)) in (("sent", 1), ("withheld", 0))


async def test_a_review_that_asks_for_nothing_is_closed(counter: Counter) -> None:  # noqa: F811
    message_id = await counter.reply(kind="email")
    async with counter.sender(Door()):
        await counter.ends(message_id)
    review_id = await counter.pool.fetchval("SELECT review_id FROM reviews WHERE message_id = $1", message_id)
    reviews = Reviews(counter.pool, lambda _: None, lambda: None)
    with pytest.raises(Exception, match="takes reject, and not approve"):
        await reviews.resolve(review_id, Decision("approve"), ADA)
    await reviews.resolve(review_id, Decision("reject"), ADA)
    assert await counter.reviews(message_id) == []


async def test_no_employee_approves_for_a_person(counter: Counter) -> None:  # noqa: F811
    granted = await counter.pool.fetchval(
        "SELECT has_column_privilege('empla_employee', 'outbox', 'approved_by', 'INSERT') "
        "OR has_column_privilege('empla_employee', 'outbox', 'approved_by', 'UPDATE') "
        "OR has_table_privilege('empla_employee', 'reviews', 'UPDATE')"
    )
    assert granted is False
