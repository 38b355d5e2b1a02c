"""Memories searched and forgotten over the control API, with a real employee and the real local model."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import grpc
import grpc.aio
import pytest

from controlplane import memories as memories_module
from controlplane.auth import hashed, new_secret
from empla import rpc
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from tests.factories import add_goal, add_intention, add_schedule
from tests.integration.controlplane.conftest import Plane

BLANK = memories_module.BLANK
FACT = "our discount limit is 15 percent"


async def until(plane: Plane, query: str, wanted: int) -> None:
    async with asyncio.timeout(90):
        while await plane.pool.fetchval(query) != wanted:
            await asyncio.sleep(0.05)


async def said(plane: Plane, text: str, conversation: str, sender: str = "ada@example.com") -> pb.Message:
    request = pb.SendMessageRequest(
        employee="sales-ae", text=text, conversation=conversation, sender=sender, wait_ms=90_000
    )
    message: pb.Message = await plane.stub.SendMessage(request, timeout=100)
    assert message.state == "answered"
    return message


async def found(plane: Plane, query: str = "", employee: str = "sales-ae") -> list[pb.Memory]:
    request = pb.SearchMemoryRequest(employee=employee, query=query)
    return list((await plane.stub.SearchMemory(request, timeout=10)).memories)


async def forget(plane: Plane, employee: str = "sales-ae", **what: str) -> list[str]:
    answer = await plane.stub.Forget(pb.ForgetRequest(employee=employee, **what), timeout=10)
    return list(answer.memory_ids)


async def context(plane: Plane, message: pb.Message) -> str:
    """The memories that a message's context had."""
    output = await plane.pool.fetchval(
        "SELECT output FROM step_attempts WHERE message_id = $1 AND step = 'context_retrieval' AND outcome = 'succeeded'",
        UUID(message.message_id),
    )
    return str([memory["text"] for memory in output["memories"]])


async def test_what_was_forgotten_is_neither_recalled_nor_in_the_context_of_a_later_message(plane: Plane):
    await plane.attached()
    await said(plane, f"Remember that {FACT}.", "one")
    await said(plane, "Hello, how are you?", "two")
    await until(plane, "SELECT count(*) FROM memories m JOIN memory_vectors USING (memory_id)", 3)
    asked = await said(plane, "What is our discount limit?", "three")
    assert "15" in asked.replies[0].text
    assert FACT in await context(plane, asked)
    await until(plane, "SELECT count(*) FROM memory_vectors", 4)

    known = {memory.memory_id for memory in await found(plane, "discount") if "discount" in memory.content}
    assert len(known) == 3  # the fact, and two exchanges about it
    assert set(await forget(plane, subject="discount limit")) == known
    assert [memory.memory_id for memory in await found(plane) if memory.memory_id in known] == []
    assert await plane.pool.fetchval("SELECT count(*) FROM memory_vectors") == 1
    later = await said(plane, "What is our discount limit?", "four")
    assert "15" not in later.replies[0].text
    assert "15" not in await context(plane, later)

    [entry] = await plane.pool.fetch("SELECT actor, subject, detail FROM audit_log WHERE action = 'memory.forget'")
    assert (entry["actor"], entry["detail"]["by"]) == ("local operator", "subject")
    assert set(entry["detail"]["memory_ids"]) == known
    assert "discount" not in str(entry["detail"])


async def test_whoever_asks_an_employee_to_forget_has_it_forgotten_with_the_asking(plane: Plane):
    await plane.attached()
    await said(plane, "Note: the budget of Acme is 12k.", "one", "bo@example.com")
    await said(plane, "Hello, how are you?", "two", "ada@example.com")
    await until(plane, "SELECT count(*) FROM beliefs", 1)
    await until(plane, "SELECT count(*) FROM employee_events WHERE cycle_id IS NULL", 0)
    asked = await said(plane, "Please forget that the budget of Acme is 12k.", "three", "bo@example.com")
    assert asked.replies[0].text.startswith("I forgot all")
    later = await said(plane, "What is the budget of Acme?", "four", "ada@example.com")
    assert "12k" not in later.replies[0].text
    assert "12k" not in await context(plane, later)
    await until(plane, "SELECT count(*) FROM employee_events WHERE cycle_id IS NULL", 0)
    assert [memory.content for memory in await found(plane) if "12k" in memory.content] == []
    assert await plane.pool.fetchval("SELECT count(*) FROM belief_changes") == 0
    [entry] = await plane.pool.fetch("SELECT actor, detail FROM audit_log WHERE action = 'memory.forget'")
    assert entry["actor"] == "sales-ae, asked by bo@example.com"
    assert len(entry["detail"]["memory_ids"]) > 0


async def test_a_supervised_employee_forgets_when_a_person_approves(plane: Plane):
    await plane.attached()
    await said(plane, "Note: the budget of Acme is 12k.", "one")
    await until(plane, "SELECT count(*) FROM beliefs", 1)
    supervised = pb.UpdateEmployeeRequest(employee="sales-ae", autonomy=pb.AUTONOMY_SUPERVISED)
    await plane.stub.UpdateEmployee(supervised, timeout=10)
    request = pb.SendMessageRequest(employee="sales-ae", text="Forget the budget of Acme.", wait_ms=90_000)
    message = await plane.stub.SendMessage(request, timeout=100)
    [review] = [review for review in message.reviews if review.kind == "approval"]
    assert "it would forget all about 'the budget of Acme'" in review.reason
    assert await plane.pool.fetchval("SELECT count(*) FROM beliefs") == 1
    approve = pb.ResolveReviewRequest(review_id=review.review_id, approve=pb.Approve())
    await plane.stub.ResolveReview(approve, timeout=10)
    await until(plane, "SELECT count(*) FROM beliefs", 0)


@pytest.mark.parametrize(
    "what",
    [{"subject": "budget of acme"}, {"person": "Bo@example.com"}, {"conversation": "one"}, {"memory_id": ""}],
    ids=str,
)
async def test_beliefs_are_forgotten_and_the_employee_that_holds_them_hears_of_it(plane: Plane, what: dict[str, str]):
    await plane.attached()
    await said(plane, "Note: the budget of Acme is 12k.", "one", "bo@example.com")
    await said(plane, "Note: the budget of Brandt is 5k.", "two", "ada@example.com")
    await until(plane, "SELECT count(*) FROM beliefs", 2)
    asked = await said(plane, "How is the budget of Acme?", "three", "ada@example.com")
    assert "12k (confidence 0.60)" in await context(plane, asked)
    belief_id = str(await plane.pool.fetchval("SELECT belief_id FROM beliefs WHERE subject = 'Acme'"))

    request = pb.ForgetRequest(employee="sales-ae", **{name: value or belief_id for name, value in what.items()})
    answer = await plane.stub.Forget(request, timeout=10)
    assert list(answer.belief_ids) == [belief_id]
    assert await plane.pool.fetchval("SELECT count(*) FROM belief_changes WHERE subject = 'Acme'") == 0
    assert await plane.pool.fetchval("SELECT count(*) FROM beliefs") == 1

    async def is_told_no_more() -> bool:
        again = await said(plane, "How are the budgets of Acme and Brandt?", "four", "ada@example.com")
        told = await context(plane, again)
        assert "5k (confidence 0.60)" in told
        return "12k (confidence" not in told

    async with asyncio.timeout(60):
        while not await is_told_no_more():
            await asyncio.sleep(0.05)


async def test_a_belief_that_became_a_fact_is_forgotten_with_it(plane: Plane):
    employee = await idle(plane)
    tenant_id, belief_id, memory_id = (
        await plane.pool.fetchval("SELECT tenant_id FROM employees LIMIT 1"),
        new_id(),
        new_id(),
    )
    us = (tenant_id, UUID(employee.employee_id))
    await plane.pool.execute(
        "INSERT INTO beliefs (tenant_id, employee_id, belief_id, subject_key, predicate_key, subject, predicate, object, "
        "confidence, importance, supported_at) VALUES ($1, $2, $3, 'acme', 'budget', 'Acme', 'budget', '12k', 1, 1, now())",
        *us, belief_id,
    )  # fmt: skip
    await plane.pool.execute(
        "INSERT INTO belief_changes (tenant_id, employee_id, belief_id, cycle_id, change, subject, predicate, object, "
        "confidence, why) VALUES ($1, $2, $3, $3, 'promoted', 'Acme', 'budget', '12k', 1, 'sure')",
        *us, belief_id,
    )  # fmt: skip
    await plane.pool.execute(
        "INSERT INTO memories (tenant_id, employee_id, memory_id, kind, content, source) "
        "VALUES ($1, $2, $3, 'semantic', 'budget of Acme: 12k', $4)",
        *us, memory_id, f"belief:{belief_id}",
    )  # fmt: skip
    answer = await plane.stub.Forget(pb.ForgetRequest(employee="sales-ae", memory_id=str(memory_id)), timeout=10)
    assert (list(answer.memory_ids), list(answer.belief_ids)) == ([str(memory_id)], [str(belief_id)])
    assert await plane.pool.fetchval("SELECT (SELECT count(*) FROM beliefs) + (SELECT count(*) FROM memories)") == 0
    [detail] = await plane.pool.fetch("SELECT detail FROM audit_log WHERE action = 'memory.forget'")
    assert detail["detail"]["belief_ids"] == [str(belief_id)]


async def add(plane: Plane, employee: pb.Employee, content: str, message: pb.Message | None = None) -> str:
    memory_id, tenant_id = new_id(), await plane.pool.fetchval("SELECT tenant_id FROM employees LIMIT 1")
    await plane.pool.execute(
        "INSERT INTO memories (memory_id, tenant_id, employee_id, kind, content, message_id) "
        "VALUES ($1, $2, $3, 'semantic', $4, $5)",
        memory_id, tenant_id, UUID(employee.employee_id), content, UUID(message.message_id) if message else None,
    )  # fmt: skip
    return str(memory_id)


async def idle(plane: Plane, name: str = "sales-ae") -> pb.Employee:
    create = pb.CreateEmployeeRequest(name=name, profile_name="sales-ae")
    employee: pb.Employee = await plane.stub.CreateEmployee(create, timeout=10)
    return employee


async def test_a_person_and_a_conversation_are_forgotten_with_what_was_learnt_from_them(plane: Plane):
    employee = await idle(plane)
    messages = {}
    for sender, conversation in (("Bo@example.com", "x"), ("ada@example.com", "x"), ("ada@example.com", "y")):
        request = pb.SendMessageRequest(employee="sales-ae", text="hi", sender=sender, conversation=conversation)
        messages[sender[0] + conversation] = await plane.stub.SendMessage(request, timeout=10)
    of_bo = await add(plane, employee, "The door code is 7.", messages["Bx"])
    naming_bo = await add(plane, employee, "Write to bo@example.com about doors.", messages["ay"])
    of_ada = await add(plane, employee, "The window is green.", messages["ax"])
    elsewhere = await add(plane, employee, "The roof is red.", messages["ay"])
    happened = (
        "INSERT INTO employee_events (tenant_id, employee_id, kind, payload) "
        "SELECT tenant_id, employee_id, 'message_handled', $1 FROM employees"
    )
    for key, sender in (("Bx", "Bo@example.com"), ("ax", "ada@example.com"), ("ay", "ada@example.com")):
        payload = {"message_id": messages[key].message_id, "sender": sender, "asked": "hi", "answered": "ho"}
        await plane.pool.execute(happened, payload)
    assert set(await forget(plane, person="bo@example.com")) == {of_bo, naming_bo}
    assert await plane.pool.fetchval("SELECT count(*) FROM employee_events") == 2
    assert set(await forget(plane, conversation="x")) == {of_ada}
    assert await plane.pool.fetchval("SELECT count(*) FROM employee_events") == 1
    assert await forget(plane, conversation="x") == []
    assert await forget(plane, memory_id=elsewhere) == [elsewhere]
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await forget(plane, memory_id=elsewhere)
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("what", [{"subject": "budget acme"}, {"person": "bo@example.com"}], ids=str)
async def test_what_goals_and_plans_say_of_it_is_forgotten_as_well(plane: Plane, what: dict[str, str]):
    """A goal that is worked on stays, and its plan is given up."""
    await idle(plane)
    row = await plane.pool.fetchrow("SELECT tenant_id, employee_id FROM employees")
    assert row is not None
    told, other = "Bo@example.com said: the budget of Acme is 12k", "nothing is known of the others"
    plans = []
    for text in (told, other):
        goal_id = await add_goal(plane.pool, row["tenant_id"], row["employee_id"], text)
        plans.append(await add_intention(plane.pool, *row, text, goal_id=goal_id, state="planned"))
        for change in (
            "UPDATE goals SET reason = text WHERE goal_id = $1",
            "INSERT INTO goal_changes (goal_id, tenant_id, employee_id, state, progress, reason) "
            "SELECT goal_id, tenant_id, employee_id, state, progress, reason FROM goals WHERE goal_id = $1",
            "UPDATE intentions i SET title = g.text, why = g.text, reason = g.text FROM goals g "
            "WHERE g.goal_id = i.goal_id AND g.goal_id = $1",
            "UPDATE intention_steps s SET outcome = instruction FROM intentions i "
            "WHERE i.intention_id = s.intention_id AND i.goal_id = $1",
        ):
            await plane.pool.execute(change, goal_id)
    await plane.pool.execute("UPDATE planning SET wanted = $1", told)
    answer = await plane.stub.Forget(pb.ForgetRequest(employee="sales-ae", **what), timeout=10)
    goal_id = await plane.pool.fetchval("SELECT goal_id FROM goals WHERE text = $1", told)
    assert list(answer.kept) == [f"the goal {goal_id}, which the profile names: take it out there"]
    said = (
        "SELECT g.text, i.state, s.state, i.title, s.name, s.instruction, g.reason, c.reason, i.why, i.reason, s.outcome "
        "FROM goals g JOIN goal_changes c USING (goal_id) JOIN intentions i USING (goal_id) "
        "JOIN intention_steps s USING (intention_id) WHERE i.intention_id = ANY ($1::uuid[]) ORDER BY g.text"
    )
    about, others = await plane.pool.fetch(said, plans)
    assert tuple(about) == (told, "abandoned", "skipped", *(BLANK,) * 8)
    assert tuple(others) == (other, "running", "planned", other, "step 1", *(other,) * 6)
    assert await plane.pool.fetchval("SELECT wanted FROM planning") == BLANK
    [detail] = await plane.pool.fetch("SELECT detail FROM audit_log WHERE action = 'memory.forget'")
    assert (detail["detail"]["messages"], detail["detail"]["memory_ids"]) == (0, [])

    await plane.pool.execute(
        "UPDATE goals SET state = 'abandoned', ended_at = now(), origin = 'ada' WHERE text = $1", told
    )
    answer = await plane.stub.Forget(pb.ForgetRequest(employee="sales-ae", **what), timeout=10)
    assert list(answer.kept) == []
    assert await plane.pool.fetchval("SELECT text FROM goals WHERE goal_id = $1", goal_id) == BLANK


async def columns_with(plane: Plane, word: str) -> set[str]:
    """Every column of text or JSON, of whatever table, that has the word in a row."""
    columns = await plane.pool.fetch(
        "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables USING (table_name) "
        "WHERE table_type = 'BASE TABLE' AND columns.table_schema = 'public' AND data_type IN ('text', 'jsonb', 'ARRAY')"
    )
    return {
        f"{table}.{column}"
        for table, column in columns
        if await plane.pool.fetchval(f"SELECT EXISTS (SELECT FROM {table} WHERE {column}::text ILIKE $1)", f"%{word}%")
    }


ON_RECORD = {
    *("message_bodies", "message_workers", "step_attempts", "model_responses", "effects", "outbox", "reviews"),
    *("unit_answers", "sub_agents"),
}
"""Tables that have messages and the work on them, which stay."""


@pytest.mark.parametrize("what", [{"subject": "budget of zanzibar"}, {"person": "bo@example.com"}], ids=str)
async def test_what_is_forgotten_is_nowhere_but_in_the_messages_themselves(plane: Plane, what: dict[str, str]):
    await plane.attached()
    for text in ("Note: the budget of Zanzibar is 12k.", "Remember that the budget of Zanzibar is for two years."):
        await said(plane, text, "one", "bo@example.com")
    await until(plane, "SELECT count(*) FROM employee_events WHERE cycle_id IS NULL", 0)  # one cycle may have both
    [row] = await plane.pool.fetch("SELECT tenant_id, employee_id FROM employees")
    us = (row["tenant_id"], row["employee_id"])
    told = "bo@example.com: the budget of Zanzibar is 12k"
    goal_id = await add_goal(plane.pool, *us, told)
    await add_intention(plane.pool, *us, told, goal_id=goal_id, state="planned")
    await plane.pool.execute("UPDATE goals SET state = 'abandoned', reason = text, ended_at = now(), origin = 'ada'")
    channel_id = await plane.pool.fetchval("SELECT channel_id FROM channels LIMIT 1")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await add_schedule(plane.pool, *us, channel_id, next_at=tomorrow, instruction=told)
    await plane.pool.execute("UPDATE schedules SET state = 'ended', reason = ''")
    before = await columns_with(plane, "zanzibar")
    wanted = {
        "memories.content",
        "beliefs.subject",
        "belief_changes.subject",
        "employee_events.payload",
        "cycles.intention",
    }
    assert before > wanted | {"goals.text", "intention_steps.instruction", "schedules.instruction"}

    answer = await plane.stub.Forget(pb.ForgetRequest(employee="sales-ae", **what), timeout=10)
    assert (answer.messages, list(answer.kept)) == (2, [])
    left = {column for column in await columns_with(plane, "zanzibar") if column.split(".")[0] not in ON_RECORD}
    assert left == set()
    later = await said(plane, "What is the budget of Zanzibar?", "one")
    assert "12k" not in later.replies[0].text
    turns = await plane.pool.fetchval(
        "SELECT output -> 'turns' FROM step_attempts WHERE message_id = $1 AND step = 'context_retrieval'",
        UUID(later.message_id),
    )
    assert turns == []


async def test_what_is_said_while_forgetting_looks_or_waits_is_forgotten_as_well(plane: Plane):
    """It looks through everything before it locks anything, and again at what may have changed since."""
    employee = await idle(plane)

    async def told(text: str) -> UUID:
        request = pb.SendMessageRequest(employee="sales-ae", text=text, sender="ada@example.com", conversation="one")
        return UUID((await plane.stub.SendMessage(request, timeout=10)).message_id)

    waited = await told("The tea is green.")
    answered = await told("Which tea?")
    await add(plane, employee, "Tea is green.")
    async with plane.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM employee_epochs FOR KEY SHARE")
        forgetting = asyncio.create_task(forget(plane, subject="green tea"))
        await until(
            plane,
            "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            1,
        )
        meanwhile = await told("The green tea is from Assam.")
        await plane.pool.execute(
            "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, conversation_id, kind, body, epoch) "
            "SELECT $1, tenant_id, employee_id, message_id, conversation_id, 'reply', 'Green tea.', 1 "
            "FROM inbound_messages WHERE message_id = $2",
            new_id(), answered,
        )  # fmt: skip
        await plane.pool.execute(
            "INSERT INTO employee_events (tenant_id, employee_id, kind, payload) "
            "SELECT tenant_id, employee_id, 'message_handled', $1 FROM employees",
            {"message_id": str(new_id()), "sender": "ada", "asked": "The green tea?", "answered": "Assam."},
        )
    await forgetting
    forgotten = await plane.pool.fetch("SELECT message_id FROM inbound_messages WHERE forgotten")
    assert {row["message_id"] for row in forgotten} == {waited, answered, meanwhile}
    assert await plane.pool.fetchval("SELECT count(*) FROM employee_events") == 0


async def test_work_that_waits_is_told_no_more_of_it_when_it_goes_on(plane: Plane):
    await idle(plane)
    request = pb.SendMessageRequest(employee="sales-ae", text="How do we stand?", sender="ada", conversation="one")
    waiting, over = [UUID((await plane.stub.SendMessage(request, timeout=10)).message_id) for _ in range(2)]
    secret, harmless = [{"text": "Acme's budget is 12k", "kind": "episodic", "source": ""}], [{"text": "Tea is green."}]
    output = {"turns": harmless, "memories": secret, "enough": True}
    for message_id in (waiting, over):
        for step in ("context_retrieval", "classification"):
            await plane.pool.execute(
                "INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, queued_at, "
                "started_at, duration_ms, outcome, output) SELECT message_id, $2, 1, message_id, tenant_id, employee_id, "
                "'analyze', now(), now(), 0, 'succeeded', $3 FROM inbound_messages WHERE message_id = $1",
                message_id, step, output,
            )  # fmt: skip
    await plane.pool.execute("ALTER TABLE inbound_messages DISABLE TRIGGER legal_edge")
    await plane.pool.execute(
        "UPDATE inbound_messages SET processing_state = 'answered', step = '', ended_at = now() WHERE message_id = $1",
        over,
    )
    await forget(plane, subject="budget acme")
    rows = await plane.pool.fetch("SELECT message_id, output FROM step_attempts")
    left = [row["output"] for row in rows if row["message_id"] == waiting]
    assert left == [{"turns": harmless, "memories": [], "enough": True}] * 2
    assert [row["output"] for row in rows if row["message_id"] == over] == [output] * 2


async def test_with_the_conversation_of_a_plan_what_came_of_its_steps_is_forgotten(plane: Plane):
    await idle(plane)
    row = await plane.pool.fetchrow("SELECT tenant_id, employee_id FROM employees")
    assert row is not None
    plan, other = await add_intention(plane.pool, *row, "One"), await add_intention(plane.pool, *row, "Two")
    await plane.pool.execute("NOTIFY empla_steps")
    await until(plane, "SELECT count(*)::int FROM intention_steps WHERE state = 'running'", 2)
    await plane.pool.execute("UPDATE intention_steps SET outcome = 'it is red'")
    await forget(plane, conversation=f"intention:{plan}")
    rows = await plane.pool.fetch("SELECT intention_id, outcome FROM intention_steps")
    assert dict(map(tuple, rows)) == {plan: BLANK, other: "it is red"}


async def test_nobody_elses_memories_are_touched(plane: Plane):
    mine, other = await idle(plane), await idle(plane, "other")
    kept = await add(plane, other, "Tea is green.")
    gone = await add(plane, mine, "Tea is black.")
    with pytest.raises(grpc.aio.AioRpcError):
        await forget(plane, memory_id=kept)
    assert await forget(plane, subject="tea") == [gone]
    assert [memory.memory_id for memory in await found(plane, "tea", "other")] == [kept]
    secret, tenant_id = new_secret(), await plane.running.employees.ensure_tenant("other")
    await plane.pool.execute(
        "INSERT INTO operator_tokens (token_id, tenant_id, name, secret_hash, scope) VALUES ($1, $2, 'o', $3, 'admin')",
        new_id(), tenant_id, hashed(secret),
    )  # fmt: skip
    async with rpc.dialing(plane.running.grpc_address, secret) as channel:
        stub = type(plane.stub)(channel)
        for call, request in (
            (stub.SearchMemory, pb.SearchMemoryRequest(employee=other.employee_id)),
            (stub.Forget, pb.ForgetRequest(employee="default/other", subject="tea")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(request, timeout=10)
            assert refused.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)
    assert [memory.memory_id for memory in await found(plane, "tea", "other")] == [kept]


async def test_much_is_forgotten_in_several_calls(plane: Plane, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memories_module, "MAX_FORGOTTEN", 2)
    employee = await idle(plane)
    for number in range(3):
        await add(plane, employee, f"Tea number {number}.")
    request = pb.ForgetRequest(employee="sales-ae", subject="tea")
    answers = [await plane.stub.Forget(request, timeout=10) for _ in range(2)]
    assert [(len(answer.memory_ids), answer.more) for answer in answers] == [(2, True), (1, False)]


@pytest.mark.parametrize(
    "request_",
    [
        pb.ForgetRequest(employee="sales-ae"),
        pb.ForgetRequest(employee="sales-ae", person="  "),
        pb.ForgetRequest(employee="sales-ae", subject="x" * 2001),
        pb.SearchMemoryRequest(employee="sales-ae", limit=201),
        pb.SearchMemoryRequest(employee="sales-ae", kind="fond"),
    ],
    ids=["nothing", "blank", "too long", "too many", "no kind"],
)
async def test_what_makes_no_sense_is_refused(plane: Plane, request_: pb.ForgetRequest | pb.SearchMemoryRequest):
    employee = await idle(plane)
    kept = await add(plane, employee, "Tea is green.")
    call = plane.stub.Forget if isinstance(request_, pb.ForgetRequest) else plane.stub.SearchMemory
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(request_, timeout=10)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [memory.memory_id for memory in await found(plane)] == [kept]


async def test_how_it_does_things_and_what_it_has_in_mind_are_found_as_well(plane: Plane):
    employee = await idle(plane)
    tenant_id = await plane.pool.fetchval("SELECT tenant_id FROM employees LIMIT 1")
    await add(plane, employee, "Tea is green.")
    message = await plane.stub.SendMessage(pb.SendMessageRequest(employee="sales-ae", text="hi"), timeout=10)
    procedure_id, note_id, us = new_id(), new_id(), (tenant_id, UUID(employee.employee_id))
    await plane.pool.execute(
        "INSERT INTO procedures (procedure_id, tenant_id, employee_id, trigger, steps, actions, words, runs, successes, "
        "state, learnt_in) VALUES ($3, $1, $2, 'Making tea', $4, '{a,b}', '{tea}', 5, 4, 'promoted', $5)",
        *us, procedure_id, [{"action": "boil", "how": "Boil water."}, {"action": "", "how": "Wait."}], [new_id()],
    )  # fmt: skip
    await plane.pool.execute(
        "INSERT INTO working_notes SELECT $1, tenant_id, employee_id, conversation_id, message_id, 'The tea is on.', now(), "
        "now() + interval '1 hour' FROM inbound_messages WHERE message_id = $2",
        note_id, UUID(message.message_id),
    )  # fmt: skip
    assert {one.kind for one in await found(plane, "tea")} == {"semantic", "procedural", "working"}
    assert {one.kind for one in await found(plane)} == {"semantic", "procedural", "working"}
    request = pb.SearchMemoryRequest(employee="sales-ae", query="water", kind="procedural")
    [known] = (await plane.stub.SearchMemory(request, timeout=10)).memories
    assert known.content == "Making tea\n1. Boil water. (boil)\n2. Wait."
    assert (known.memory_id, known.state, known.uses, known.successes) == (str(procedure_id), "promoted", 5, 4)
    await plane.pool.execute("UPDATE working_notes SET expires_at = now()")
    assert {one.kind for one in await found(plane)} == {"semantic", "procedural"}
    assert await forget(plane, memory_id=str(procedure_id)) == [str(procedure_id)]


async def test_what_is_done_again_and_again_is_learnt_from_what_was_sent_and_told_the_next_time(plane: Plane):
    await plane.attached()
    await said(plane, "Write '- Zorn: open' to deals.md", "thread")
    for number, name in enumerate(("one", "two", "three")):
        await said(plane, f"Write a summary of deals.md to {name}.md", f"thread {number}")
    await plane.stub.RestartEmployee(pb.RestartEmployeeRequest(employee="sales-ae"), timeout=30)
    await until(plane, "SELECT count(*) FROM procedures", 1)
    request = pb.SearchMemoryRequest(employee="sales-ae", kind="procedural")
    [known] = (await plane.stub.SearchMemory(request, timeout=10)).memories
    assert (known.state, known.uses, known.successes) == ("promoted", 3, 3)
    asked = await said(plane, "Write a summary of deals.md to four.md", "thread 4")
    told = await plane.pool.fetchval(
        "SELECT output -> 'procedures' FROM step_attempts WHERE message_id = $1 AND step = 'context_retrieval'",
        UUID(asked.message_id),
    )
    assert [one["procedure_id"] for one in told] == [known.memory_id]
