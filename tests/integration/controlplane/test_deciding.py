"""Reviews that are decided, over real gRPC: each kind and decision, those that do not fit, and those that come too late."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from google.protobuf.struct_pb2 import Struct

from controlplane.auth import hashed, new_secret
from empla import rpc
from empla.store.connect import connect
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc
from tests.conftest import Database
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.waiting import WAIT_FOR_LOCKS, Rows, Waiting

type Decided = dict[str, Any]

APPROVE: Decided = {"approve": pb.Approve()}
EDIT: Decided = {"edit": pb.Edit(text="Dear all, two.")}
ANSWER: Decided = {"answer": pb.Answer(text="the blue one")}
REJECT: Decided = {"reject": pb.Reject(reason="too soon")}
KEY = "AKIAIOSFODNN7EXAMPLE"
OPERATOR = "local operator"
TURNED_DOWN = "local operator turned it down: too soon"


def classification() -> Decided:
    found = Struct()
    found.update(
        {
            "category": "request", "priority": "normal", "sentiment": "neutral", "language": "en", "confidence": 1,
            "intents": [{"summary": "Count them.", "category": "request", "start": 0, "end": 9}],
        }
    )  # fmt: skip
    return {"classification": found}


@pytest.fixture
async def rows(database: Database) -> AsyncIterator[Rows]:
    async with connect(database.superuser_dsn, application_name="tests", max_size=10) as pool:
        yield Rows(pool)


async def decide(plane: Plane, waiting: Waiting, decision: Decided) -> pb.Review:
    request = pb.ResolveReviewRequest(review_id=str(waiting.review_id), **decision)
    review: pb.Review = await plane.stub.ResolveReview(request, timeout=10)
    return review


async def refusal(plane: Plane, waiting: Waiting, decision: Decided) -> tuple[grpc.StatusCode, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await decide(plane, waiting, decision)
    return refused.value.code(), rpc.reason_of(refused.value), refused.value.details() or ""


NOT_OPEN = (grpc.StatusCode.FAILED_PRECONDITION, "REVIEW_ENDED")


# What waits in the outbox


async def test_a_draft_that_is_approved_leaves_and_is_not_held_again(plane: Plane, rows: Rows):
    draft = await rows.draft()
    review = await decide(plane, draft, APPROVE)
    assert (review.state, review.resolved_by, list(review.decisions)) == ("resolved", OPERATOR, [])
    assert review.decision["decision"] == "approve"
    sent = await draft.row_becomes("sent")
    assert (sent["body"], sent["approved_by"]) == ("two", OPERATOR)
    assert await draft.message() == ("answered", "", "")
    assert await draft.audited() == [(OPERATOR, "review.resolve", draft.of.tenant_id)]


async def test_an_edited_draft_leaves_with_that_text_and_the_draft_is_kept(plane: Plane, rows: Rows):
    draft = await rows.draft()
    review = await decide(plane, draft, EDIT)
    assert (await draft.row_becomes("sent"))["body"] == "Dear all, two."
    assert review.payload["text"] == "two"
    assert review.decision["text"] == "Dear all, two."


async def test_a_draft_that_is_rejected_is_withheld(plane: Plane, rows: Rows):
    draft = await rows.draft()
    await decide(plane, draft, REJECT)
    assert ((await draft.row())["state"], (await draft.row())["reason"]) == ("withheld", TURNED_DOWN)
    assert await draft.message() == ("withheld", "", TURNED_DOWN)


async def test_the_sender_of_a_held_message_hears_of_the_decision(plane: Plane, rows: Rows):
    draft = await rows.draft()
    arrived = pb.GetMessageRequest(message_id=str(draft.of.message_id))
    before = await plane.stub.GetMessage(arrived, timeout=10)
    assert [list(review.decisions) for review in before.reviews] == [["approve", "edit", "reject"]]
    received = "UPDATE inbound_messages SET received_at = received_at - interval '2 hours' WHERE message_id = $1"
    asked = "UPDATE reviews SET created_at = created_at - interval '1 hour' WHERE message_id = $1"
    for earlier in (received, asked):
        await rows.superuser.execute(earlier, draft.of.message_id)
    await decide(plane, draft, APPROVE)
    await draft.row_becomes("sent")
    after = await plane.stub.GetMessage(arrived, timeout=10)
    assert [(r.state, r.decision["decision"]) for r in after.reviews] == [("resolved", "approve")]
    assert [attempt.outcome for attempt in after.attempts if attempt.step == "send"] == ["succeeded"]
    hour = 3_600_000
    assert (after.waited_ms // hour, (after.elapsed_ms - after.waited_ms) // hour) == (1, 1)


async def test_what_a_person_has_read_or_written_is_not_scanned_any_more(plane: Plane, rows: Rows):
    read, written = await rows.draft(body=f"use {KEY}"), await rows.draft()
    await decide(plane, read, APPROVE)
    await decide(plane, written, {"edit": pb.Edit(text=f"please use {KEY}")})
    for draft in (read, written):
        await draft.row_becomes("sent")


async def test_shadow_mode_outweighs_an_approval(plane: Plane, rows: Rows):
    draft = await rows.draft()
    await rows.superuser.execute(
        "UPDATE employees SET autonomy = 'shadow' WHERE employee_id = $1", draft.of.employee_id
    )
    await decide(plane, draft, APPROVE)
    await draft.row_becomes("withheld")
    assert await draft.message() == ("withheld", "", "shadow mode")


async def test_an_unknown_sending_is_sent_again_or_counts_as_arrived(plane: Plane, rows: Rows):
    lost = await rows.unknown()
    await decide(plane, lost, APPROVE)
    await lost.row_becomes("sent")
    assert await lost.message() == ("answered", "", "")
    arrived = await rows.unknown()
    await decide(plane, arrived, REJECT)
    row = await arrived.row()
    assert (row["state"], row["attempt"], row["receipt"]["confirmed_by"]) == ("sent", 1, OPERATOR)
    assert await arrived.message() == ("answered", "", "")


# What waits in an employee


@pytest.mark.parametrize(
    ("kind", "decision", "answer"),
    [
        ("question", ANSWER, {"decision": "answer", "text": "the blue one"}),
        ("question", REJECT, {"decision": "reject", "reason": "too soon"}),
        ("approval", APPROVE, {"decision": "approve"}),
        ("approval", REJECT, {"decision": "reject", "reason": "too soon"}),
        ("needs_manual_intervention", APPROVE, {"decision": "approve"}),
        ("needs_manual_intervention", ANSWER, {"decision": "answer", "text": "the blue one"}),
        ("needs_manual_intervention", REJECT, {"decision": "reject", "reason": "too soon"}),
    ],
)
async def test_a_worker_gets_its_answer(plane: Plane, rows: Rows, kind: str, decision: Decided, answer: dict[str, str]):
    waiting = await rows.unit(kind, "failed" if kind == "needs_manual_intervention" else "waiting_for_input")
    review = await decide(plane, waiting, decision)
    assert (review.state, review.resolved_by) == ("resolved", OPERATOR)
    assert await waiting.answer() == (answer, OPERATOR)
    assert (await waiting.review())["decision"] == answer
    assert await waiting.audited() == [(OPERATOR, "review.resolve", waiting.of.tenant_id)]


async def test_a_message_gets_its_classification(plane: Plane, rows: Rows):
    waiting = await rows.classification()
    await decide(plane, waiting, classification())
    answer, by = await waiting.answer()
    assert (answer["decision"], answer["classification"]["intents"][0]["end"], by) == ("classify", 9, OPERATOR)
    given_up = await rows.classification()
    await decide(plane, given_up, REJECT)
    assert (await given_up.answer())[0] == {"decision": "reject", "reason": "too soon"}


# What does not fit


@pytest.mark.parametrize(
    ("kind", "decision", "fitting"),
    [
        ("draft", ANSWER, "approve or edit or reject"),
        ("draft", classification(), "approve or edit or reject"),
        ("unknown_after_send", EDIT, "approve or reject"),
        ("classification", APPROVE, "classify or reject"),
        ("question", APPROVE, "answer or reject"),
        ("approval", ANSWER, "approve or reject"),
        ("needs_manual_intervention", EDIT, "approve or answer or reject"),
        ("closable", APPROVE, "takes reject, and not approve; nothing waits for it any more"),
    ],
)
async def test_a_decision_that_does_not_fit_is_refused_and_says_which_do(
    plane: Plane, rows: Rows, kind: str, decision: Decided, fitting: str
):
    match kind:
        case "draft":
            waiting = await rows.draft()
        case "unknown_after_send":
            waiting = await rows.unknown()
        case "classification":
            waiting = await rows.classification()
        case "closable":
            waiting = await rows.closable()
        case _:
            waiting = await rows.unit(kind)
    code, reason, told = await refusal(plane, waiting, decision)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DECISION_DOES_NOT_FIT")
    assert fitting in told
    assert ((await waiting.review())["state"], await waiting.answer(), await waiting.audited()) == ("open", None, [])


async def test_a_review_that_nothing_goes_on_from_can_be_closed(plane: Plane, rows: Rows):
    for kind in ("needs_manual_intervention", "quarantine", "classification"):
        waiting = await rows.closable(kind)
        shown = await plane.stub.GetReview(pb.GetReviewRequest(review_id=str(waiting.review_id)), timeout=10)
        assert list(shown.decisions) == ["reject"]
        assert (await decide(plane, waiting, REJECT)).state == "resolved"
        assert await waiting.answer() is None
        assert await waiting.message() == ("failed", "merge", "")


async def test_a_unit_that_waits_no_more_takes_no_answer(plane: Plane, rows: Rows):
    waiting = await rows.unit("question", "done")
    assert (await refusal(plane, waiting, ANSWER))[1] == "DECISION_DOES_NOT_FIT"
    deleted = await rows.unit("approval")
    await rows.superuser.execute(
        "UPDATE employees SET deleted_at = now() WHERE employee_id = $1", deleted.of.employee_id
    )
    assert (await refusal(plane, deleted, APPROVE))[1] == "DECISION_DOES_NOT_FIT"


async def test_a_review_that_there_is_not_and_a_decision_that_is_none(plane: Plane, rows: Rows):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await plane.stub.ResolveReview(pb.ResolveReviewRequest(review_id=str(uuid4()), **APPROVE), timeout=10)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    waiting = await rows.unit("question")
    assert (await refusal(plane, waiting, {}))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await refusal(plane, waiting, {"answer": pb.Answer()}))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_another_tenants_review_does_not_exist_and_reading_is_not_deciding(plane: Plane, rows: Rows):
    waiting = await rows.unit("approval")
    stranger = await rows.message()
    for tenant_id, scope, code in (
        (stranger.tenant_id, "admin", grpc.StatusCode.NOT_FOUND),
        (waiting.of.tenant_id, "read", grpc.StatusCode.PERMISSION_DENIED),
    ):
        secret = new_secret()
        await plane.pool.execute(
            "INSERT INTO operator_tokens (token_id, tenant_id, name, secret_hash, scope) VALUES ($1, $2, 'x', $3, $4)",
            new_id(), tenant_id, hashed(secret), scope,
        )  # fmt: skip
        async with rpc.dialing(plane.running.grpc_address, secret) as channel:
            stub: Any = control_pb2_grpc.ControlPlaneStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ResolveReview(
                    pb.ResolveReviewRequest(review_id=str(waiting.review_id), **APPROVE), timeout=10
                )
        assert refused.value.code() is code
    assert (await waiting.review())["state"] == "open"


# Too late, and at the same time


async def test_a_review_is_decided_once(plane: Plane, rows: Rows):
    for waiting, first, second in (
        (await rows.draft(), APPROVE, REJECT),
        (await rows.unit("approval"), REJECT, APPROVE),
        (await rows.closable(), REJECT, REJECT),
    ):
        await decide(plane, waiting, first)
        assert (await refusal(plane, waiting, second))[:2] == NOT_OPEN
        assert len(await waiting.audited()) == 1


@pytest.mark.parametrize("kind", ["draft", "unknown_after_send", "approval", "closable"])
async def test_of_many_who_decide_at_once_one_does(plane: Plane, rows: Rows, kind: str):
    match kind:
        case "draft":
            waiting = await rows.draft()
        case "unknown_after_send":
            waiting = await rows.unknown()
        case "approval":
            waiting = await rows.unit(kind)
        case _:
            waiting = await rows.closable()
    decision = REJECT if kind == "closable" else APPROVE
    # All have read the review as open before the first can write: the one who holds the row lets them in together.
    async with rows.superuser.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM reviews WHERE review_id = $1 FOR UPDATE", waiting.review_id)
        people = [asyncio.create_task(decide(plane, waiting, decision)) for _ in range(5)]
        async with asyncio.timeout(60):
            while await rows.superuser.fetchval(WAIT_FOR_LOCKS) < len(people):
                await asyncio.sleep(0.02)
    ends = await asyncio.gather(*people, return_exceptions=True)
    lost = [end for end in ends if isinstance(end, grpc.aio.AioRpcError)]
    assert [(error.code(), rpc.reason_of(error)) for error in lost] == [NOT_OPEN] * 4
    assert len(await waiting.audited()) == 1


async def test_a_decision_is_all_or_nothing(plane: Plane, rows: Rows):
    draft, unit = await rows.draft(), await rows.unit("approval")
    await rows.superuser.execute("ALTER TABLE audit_log ADD CHECK (action <> 'review.resolve')")
    for waiting in (draft, unit):
        assert (await refusal(plane, waiting, APPROVE))[0] is grpc.StatusCode.INTERNAL
        assert (await waiting.review())["state"] == "open"
    assert ((await draft.row())["state"], (await draft.message())[0]) == ("held", "waiting")
    assert await unit.answer() is None


async def test_what_a_deletion_withheld_is_not_approved_any_more(plane: Plane, rows: Rows):
    draft = await rows.draft()
    delete = pb.DeleteEmployeeRequest(employee=str(draft.of.employee_id), force=True)
    await plane.stub.DeleteEmployee(delete, timeout=20)
    assert (await refusal(plane, draft, APPROVE))[:2] == NOT_OPEN
    assert (await draft.row())["state"] == "withheld"


# Time


async def test_what_nobody_decides_in_time_expires(plane: Plane, rows: Rows):
    draft, question, closable = await rows.draft(), await rows.unit("question"), await rows.closable()
    unknown, patient = await rows.unknown(), await rows.unit("approval")
    for waiting in (draft, question, closable, unknown):
        await waiting.expires()
    async with asyncio.timeout(20):
        for waiting in (draft, question, closable):
            while (await waiting.review())["state"] == "open":
                await asyncio.sleep(0.05)
            review = await waiting.review()
            assert (review["state"], review["decision"]["decision"]) == ("expired", "expired")
            assert await waiting.audited() == [("empla", "review.expire", waiting.of.tenant_id)]
    assert await draft.message() == ("withheld", "", "nobody decided in time")
    assert (await question.answer())[0]["decision"] == "expired"
    assert (await refusal(plane, question, ANSWER))[:2] == NOT_OPEN
    assert [(await waiting.review())["state"] for waiting in (unknown, patient)] == ["open", "open"]
