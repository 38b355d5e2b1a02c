"""How an employee hears of a decision, and what it may decide itself: pass on what the sender answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import grpc.aio
import pytest

from controlplane.auth import hashed, new_secret
from controlplane.employees import SQL as EMPLOYEES_SQL
from controlplane.gateway import credential
from empla import rpc
from empla.store.connect import Connection, connect
from empla.store.roles import create_employee_role, employee_dsn
from empla.v1 import control_pb2, gateway_pb2_grpc
from empla.v1 import gateway_pb2 as pb
from tests.conftest import Database
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.waiting import WAIT_FOR_LOCKS, Rows, Waiting

ANSWERED = {"decision": "answer", "text": "the blue one"}


@pytest.fixture
async def rows(database: Database) -> AsyncIterator[Rows]:
    async with connect(database.superuser_dsn, application_name="tests", max_size=10) as pool:
        yield Rows(pool)


@asynccontextmanager
async def employee_of(rows: Rows, database: Database, employee_id: UUID) -> AsyncIterator[Connection]:
    """A connection as the employee has it."""
    async with rows.superuser.acquire() as owner:
        await create_employee_role(owner, employee_id, "password")
    connection = await asyncpg.connect(employee_dsn(database.dsn, employee_id, "password"))
    try:
        yield connection
    finally:
        await connection.close()


async def insert(connection: Connection, waiting: Waiting, **other: Any) -> None:
    values = {
        "unit_id": waiting.unit_id, "question_key": str(waiting.review_id), "message_id": waiting.of.message_id,
        "tenant_id": waiting.of.tenant_id, "employee_id": waiting.of.employee_id, "answer": ANSWERED,
        "answered_by": "ada",
    } | other  # fmt: skip
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    values["answer"] = json.dumps(values["answer"])
    await connection.execute(f"INSERT INTO unit_answers ({', '.join(values)}) VALUES ({places})", *values.values())


async def test_an_employee_that_is_attached_is_told_at_once(plane: Plane, rows: Rows):
    waiting = await rows.unit("question")
    secret, employee_id = new_secret(), waiting.of.employee_id
    epoch = await plane.pool.fetchval(EMPLOYEES_SQL.launch, employee_id, hashed(secret), "test")
    async with rpc.dialing(plane.running.grpc_address, credential(employee_id, epoch, secret)) as channel:
        call: Any = gateway_pb2_grpc.EmployeeGatewayStub(channel).Attach()
        await call.write(pb.AgentFrame(hello=pb.Hello(employee_id=str(employee_id), epoch=epoch)))
        async with asyncio.timeout(10):
            assert (await call.read()).WhichOneof("frame") == "welcome"
            answer = control_pb2.Answer(text="the blue one")
            request = control_pb2.ResolveReviewRequest(review_id=str(waiting.review_id), answer=answer)
            await plane.stub.ResolveReview(request, timeout=10)
            frame = await call.read()
        call.cancel()
    assert frame.resume_unit == pb.ResumeUnit(
        unit_id=str(waiting.worker_id), message_id=str(waiting.of.message_id), question_key=str(waiting.review_id)
    )


async def test_an_employee_passes_on_what_the_sender_answered(plane: Plane, rows: Rows, database: Database):
    waiting = await rows.unit("question")
    async with employee_of(rows, database, waiting.of.employee_id) as employee:
        await insert(employee, waiting)
        with pytest.raises(asyncpg.UniqueViolationError):
            await insert(employee, waiting)
    review = await waiting.review()
    assert (review["state"], review["decision"], review["resolved_by"]) == ("resolved", ANSWERED, "ada")


async def test_a_person_comes_too_late_when_the_sender_has_answered(plane: Plane, rows: Rows, database: Database):
    """The sender's answer is written, and not committed before the person has decided."""
    waiting = await rows.unit("question")
    request = control_pb2.ResolveReviewRequest(
        review_id=str(waiting.review_id), answer=control_pb2.Answer(text="the red one")
    )
    async with employee_of(rows, database, waiting.of.employee_id) as employee:
        async with employee.transaction():
            await insert(employee, waiting)
            deciding = asyncio.ensure_future(plane.stub.ResolveReview(request, timeout=10))
            async with asyncio.timeout(10):
                while not await rows.superuser.fetchval(WAIT_FOR_LOCKS):
                    await asyncio.sleep(0.02)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await deciding
    assert rpc.reason_of(refused.value) == "REVIEW_ENDED"
    assert await waiting.answer() == (ANSWERED, "ada")


@pytest.mark.parametrize("kind", ["approval", "needs_manual_intervention", "classification", "draft"])
async def test_an_employee_decides_no_other_review(plane: Plane, rows: Rows, database: Database, kind: str):
    match kind:
        case "draft":
            waiting = await rows.draft()
        case "classification":
            waiting = await rows.classification()
        case _:
            waiting = await rows.unit(kind)
    async with employee_of(rows, database, waiting.of.employee_id) as employee:
        for answer in (ANSWERED, {"decision": "approve"}):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await insert(employee, waiting, answer=answer)
    assert (await waiting.review())["state"] == "open"


@pytest.mark.parametrize(
    "other",
    [
        {"answer": {"decision": "reject"}},
        {"answer": {"decision": "expired"}},
        {"answer": {"text": "no decision"}},
        {"answered_by": "local operator"},
    ],
)
async def test_an_employee_says_nothing_in_the_name_of_others(
    plane: Plane, rows: Rows, database: Database, other: dict[str, Any]
):
    waiting = await rows.unit("question")
    async with employee_of(rows, database, waiting.of.employee_id) as employee:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await insert(employee, waiting, **other)
    assert (await waiting.review())["state"] == "open"


async def test_an_employee_answers_no_neighbours_question(plane: Plane, rows: Rows, database: Database):
    mine = await rows.unit("question")
    neighbour = await rows.unit("question", sent=await rows.message(tenant_id=mine.of.tenant_id))
    async with employee_of(rows, database, mine.of.employee_id) as employee:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await insert(employee, neighbour)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):  # in its own name, with the neighbour's review
            await insert(employee, mine, question_key=str(neighbour.review_id))
    assert [(await waiting.review())["state"] for waiting in (mine, neighbour)] == ["open", "open"]


@pytest.mark.parametrize("other", ["unit", "closed"])
async def test_an_answer_that_no_open_review_takes_is_refused(plane: Plane, rows: Rows, database: Database, other: str):
    waiting = await rows.unit("question")
    changed = {"unit_id": waiting.of.message_id} if other == "unit" else {}
    if other == "closed":
        await rows.superuser.execute("UPDATE reviews SET state = 'resolved'")
    async with employee_of(rows, database, waiting.of.employee_id) as employee:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await insert(employee, waiting, **changed)
    assert refused.value.sqlstate == "EM002"
    assert await waiting.answer() is None


async def test_a_worker_of_a_neighbour_is_answered_by_no_forged_review(plane: Plane, rows: Rows, database: Database):
    """An employee may write whatever it likes into a review of its own; a person who decides it reaches no other unit."""
    mine, neighbour = await rows.closable(), await rows.unit("approval")
    await rows.superuser.execute(
        "UPDATE reviews SET worker_id = $2 WHERE review_id = $1", mine.review_id, neighbour.worker_id
    )
    shown = await plane.stub.GetReview(control_pb2.GetReviewRequest(review_id=str(mine.review_id)), timeout=10)
    assert list(shown.decisions) == ["reject"]
