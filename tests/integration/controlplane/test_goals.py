"""Goals as operators set, see and drop them, over the wire, and as profiles bring them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest

from controlplane import stepping
from controlplane.auth import hashed, new_secret
from controlplane.employees import Employees
from controlplane.errors import Invalid, TooLarge
from empla import rpc
from empla.store.connect import Pool
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc
from tests.conftest import Database
from tests.factories import add_employee, add_goal, add_intention, add_tenant
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.test_schedules import refused


@pytest.fixture
async def desk(plane: Plane) -> Plane:
    """A control plane with the employee sales-ae, which is not started."""
    await add_employee(plane.pool, await plane.pool.fetchval("SELECT tenant_id FROM tenants"))
    return plane


def set_goal(desk: Plane, text: str = "Win ten deals", **fields: Any) -> Any:
    wanted = pb.Goal(**({"employee": "sales-ae", "text": text} | fields))
    return desk.stub.SetGoal(pb.SetGoalRequest(goal=wanted), timeout=60)


async def listed(desk: Plane, **fields: Any) -> list[pb.Goal]:
    return list((await desk.stub.ListGoals(pb.ListGoalsRequest(**fields), timeout=60)).goals)


async def abandon(desk: Plane, goal_id: str, reason: str = "") -> pb.Goal:
    request = pb.AbandonGoalRequest(goal_id=goal_id, reason=reason)
    ended: pb.Goal = await desk.stub.AbandonGoal(request, timeout=60)
    return ended


async def ids(pool: Pool) -> tuple[UUID, UUID]:
    row = await pool.fetchrow("SELECT tenant_id, employee_id FROM employees WHERE deleted_at IS NULL")
    assert row is not None
    return row["tenant_id"], row["employee_id"]


async def until_withheld(pool: Pool) -> None:
    """The one message is stopped, by the news that its plan has ended and not because somebody looked by itself."""
    async with asyncio.timeout(stepping.LOOK_SECONDS / 2):
        while await pool.fetchval("SELECT processing_state FROM inbound_messages") != "withheld":
            await asyncio.sleep(0.02)


async def test_a_goal_is_set_and_has_to_be_planned_for(desk: Plane):
    deadline = datetime.now(UTC).replace(microsecond=0) + timedelta(days=10)
    wanted = pb.Goal(measure=pb.GoalMeasure(subject=" Pipeline ", predicate="deals won", start=0, target=10))
    wanted.deadline.FromDatetime(deadline)
    made = await set_goal(
        desk, " Win ten deals ", kind="achieve", priority=8, deadline=wanted.deadline, measure=wanted.measure
    )
    assert (made.employee, made.text, made.kind, made.priority, made.origin, made.state, made.progress) == (
        "sales-ae", "Win ten deals", "achieve", 8, "local operator", "active", 0,
    )  # fmt: skip
    assert made.deadline.ToDatetime(tzinfo=UTC) == deadline
    assert (made.measure.subject, made.measure.target) == ("Pipeline", 10)
    assert [(change.state, change.reason, change.cycle_id) for change in made.changes] == [
        ("active", "set by local operator", "")
    ]
    assert await listed(desk, employee="sales-ae") == [made]
    planning = await desk.pool.fetchrow("SELECT * FROM planning")
    assert planning is not None
    assert (planning["wanted"], planning["planned_at"]) == ("a goal was set: Win ten deals", None)
    plain = await set_goal(desk, "Be polite", kind="maintain")
    assert (plain.priority, plain.HasField("deadline"), plain.HasField("measure")) == (5, False, False)
    assert await desk.pool.fetchval("SELECT wanted FROM planning") == "a goal was set: Be polite"


def _deadline(seconds: int) -> dict[str, Any]:
    wanted = pb.Goal()
    wanted.deadline.seconds = seconds
    return {"deadline": wanted.deadline}


def _measure(**fields: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"subject": "s", "predicate": "p", "start": 0, "target": 1}
    return {"measure": pb.GoalMeasure(**(usual | fields))}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"text": " "}, "text"),
        ({"text": "x" * 1001}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"kind": "wish"}, "kind"),
        ({"priority": 11}, "priority"),
        (_deadline(1), "deadline"),
        (_deadline(1 << 60), "deadline"),
        (_measure(subject=""), "measure.subject"),
        (_measure(predicate="p" * 201), "measure.predicate"),
        (_measure(target=0), "measure.target"),
        (_measure(start=float("nan")), "measure.start"),
        (_measure(target=float("inf")), "measure.target"),
    ],
)
async def test_what_is_no_goal_is_refused_and_named(desk: Plane, fields: dict[str, Any], named: str):
    code, wrong = await refused(set_goal(desk, **fields))
    assert (code, set(wrong)) == (grpc.StatusCode.INVALID_ARGUMENT, {named})
    assert await desk.pool.fetchval("SELECT count(*) FROM planning") == 0


async def test_an_employee_has_a_goal_once_and_thirty_two_at_most(desk: Plane):
    made = await set_goal(desk)
    assert (await refused(set_goal(desk)))[0] is grpc.StatusCode.ALREADY_EXISTS
    await asyncio.gather(*(set_goal(desk, f"goal {n}") for n in range(31)))
    assert (await refused(set_goal(desk, "one more")))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    await abandon(desk, made.goal_id)
    await set_goal(desk)  # what has ended is in nobody's way
    found, token = list[str](), ""
    while True:
        request = pb.ListGoalsRequest(page_size=10, page_token=token, include_ended=True)
        page = await desk.stub.ListGoals(request, timeout=60)
        found += [goal.goal_id for goal in page.goals]
        if not (token := page.next_page_token):
            break
    assert found == sorted(found)
    assert len(set(found)) == 33


async def test_of_many_that_set_the_last_goal_at_once_one_does(desk: Plane):
    for n in range(31):
        await set_goal(desk, f"goal {n}")
    ends = await asyncio.gather(*(set_goal(desk, f"last {n}") for n in range(4)), return_exceptions=True)
    assert sum(isinstance(end, pb.Goal) for end in ends) == 1
    assert len(await listed(desk)) == 32


async def test_what_is_done_for_a_goal_is_told_with_it(desk: Plane):
    made = await set_goal(desk)
    long = "x" * 4000
    goal_id = UUID(made.goal_id)
    intention_id = await add_intention(desk.pool, *(await ids(desk.pool)), long, "Two", goal_id=goal_id)
    async with asyncio.timeout(60):
        while await desk.pool.fetchval("SELECT count(*) FROM inbound_messages") < 2:
            await desk.pool.execute("NOTIFY empla_steps")
    [goal] = await listed(desk)
    assert (goal.steps_done, goal.steps_open) == (0, 2)
    [plan] = goal.intentions
    assert (plan.intention_id, plan.title, plan.state) == (str(intention_id), "Look at the deals", "running")
    assert [(step.step, step.state, len(step.instruction)) for step in plan.steps] == [
        (1, "running", 200),
        (2, "running", 3),
    ]
    whole = await desk.stub.GetGoal(pb.GetGoalRequest(goal_id=made.goal_id), timeout=60)
    first = whole.intentions[0].steps[0]
    assert first.instruction == long
    message = await desk.stub.GetMessage(pb.GetMessageRequest(message_id=first.message_id), timeout=60)
    assert (message.channel, message.sender, message.conversation) == ("own", "sales-ae", f"intention:{intention_id}")
    channels = await desk.stub.ListChannels(pb.ListChannelsRequest(), timeout=60)
    assert [channel.kind for channel in channels.channels if channel.kind == "own"] == []


async def test_with_a_goal_all_ends_that_was_intended_for_it(desk: Plane):
    pool, made, other = desk.pool, await set_goal(desk), await set_goal(desk, "Be polite")
    begun = await add_intention(pool, *(await ids(pool)), "One", goal_id=UUID(made.goal_id))
    waiting = await add_intention(pool, *(await ids(pool)), "Two", goal_id=UUID(made.goal_id), state="planned")
    kept = await add_intention(pool, *(await ids(pool)), "Three", goal_id=UUID(other.goal_id), state="planned")
    async with asyncio.timeout(60):
        while await pool.fetchval("SELECT state FROM intention_steps WHERE intention_id = $1", begun) != "running":
            await pool.execute("NOTIFY empla_steps")
    for _ in range(2):  # again is the same as once
        ended = await abandon(desk, made.goal_id, "no more deals")
        assert (ended.state, ended.reason) == ("abandoned", "abandoned by local operator: no more deals")
    assert ended.HasField("ended_at")
    assert [change.state for change in ended.changes] == ["abandoned", "active"]
    states = {
        row["intention_id"]: (row["state"], row["step"])
        for row in await pool.fetch(
            "SELECT intention_id, i.state, s.state AS step FROM intentions i JOIN intention_steps s USING (intention_id)"
        )
    }
    assert states == {
        begun: ("abandoned", "running"),  # until its employee has read what came of its message
        waiting: ("abandoned", "skipped"),
        kept: ("running", "planned"),
    }
    await until_withheld(pool)
    assert await pool.fetchval("SELECT reason FROM inbound_messages") == "cancelled by empla: its plan has ended"
    assert [goal.goal_id for goal in await listed(desk)] == [other.goal_id]


async def test_a_goal_that_has_come_to_its_end_is_not_abandoned(desk: Plane):
    made = await set_goal(desk)
    await desk.pool.execute("ALTER TABLE goals DISABLE TRIGGER legal_edge")
    await desk.pool.execute("UPDATE goals SET state = 'achieved', ended_at = now()")
    assert (await refused(abandon(desk, made.goal_id)))[0] is grpc.StatusCode.FAILED_PRECONDITION
    assert (await refused(abandon(desk, str(new_id()))))[0] is grpc.StatusCode.NOT_FOUND


async def test_an_employee_that_moves_the_goal_meanwhile_is_waited_for(desk: Plane):
    """Its transaction holds the launch and moves the steps first, then the goal: the other order would be a deadlock."""
    made = await set_goal(desk)
    plan = await add_intention(desk.pool, *(await ids(desk.pool)), "One", goal_id=UUID(made.goal_id), state="planned")
    async with desk.pool.acquire() as employee, employee.transaction():
        await employee.execute("SELECT FROM employee_epochs FOR KEY SHARE")
        ending = asyncio.create_task(abandon(desk, made.goal_id))
        async with asyncio.timeout(60):
            while not await desk.pool.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            ):
                await asyncio.sleep(0.02)
        await employee.execute("UPDATE intention_steps SET outcome = 'x' WHERE intention_id = $1", plan)
        await employee.execute("UPDATE goals SET progress = 0.5")
    ended = await ending
    assert (ended.state, ended.progress, ended.changes[0].progress) == ("abandoned", 0.5, 0.5)


async def test_every_change_is_audited_once(desk: Plane):
    made = await set_goal(desk)
    for _ in range(2):
        await abandon(desk, made.goal_id, "why not")
    rows = await desk.pool.fetch("SELECT actor, action, subject, detail FROM audit_log ORDER BY entry_id")
    assert [tuple(row) for row in rows] == [
        ("local operator", "goal.set", made.goal_id, {"text": "Win ten deals"}),
        ("local operator", "goal.abandon", made.goal_id, {"text": "Win ten deals", "reason": "why not"}),
    ]


async def test_a_tenant_reaches_no_goal_of_another(desk: Plane):
    made = await set_goal(desk)
    secret, tenant_id = new_secret(), new_id()
    await desk.pool.execute("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'other')", tenant_id)
    await desk.pool.execute(
        "INSERT INTO operator_tokens (token_id, tenant_id, name, secret_hash, scope) VALUES ($1, $2, 'o', $3, 'admin')",
        new_id(), tenant_id, hashed(secret),
    )  # fmt: skip
    async with rpc.dialing(desk.running.grpc_address, secret) as channel:
        stub: Any = control_pb2_grpc.ControlPlaneStub(channel)
        assert not (await stub.ListGoals(pb.ListGoalsRequest(include_ended=True), timeout=60)).goals
        goal = pb.Goal(employee="sales-ae", text="Give everything away")
        for call in (
            stub.SetGoal(pb.SetGoalRequest(goal=goal), timeout=60),
            stub.ListGoals(pb.ListGoalsRequest(employee="sales-ae"), timeout=60),
            stub.GetGoal(pb.GetGoalRequest(goal_id=made.goal_id), timeout=60),
            stub.AbandonGoal(pb.AbandonGoalRequest(goal_id=made.goal_id), timeout=60),
        ):
            assert (await refused(call))[0] is grpc.StatusCode.NOT_FOUND
    assert await desk.pool.fetchval("SELECT state FROM goals") == "active"


# Goals of profiles


class Staff:
    """Employees on record, without a control plane."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.employees = pool, Employees(pool)

    async def hire(self, *goals: str) -> UUID:
        tenant_id = await self.employees.ensure_tenant("default")
        record = await self.employees.create(tenant_id, "ada", pb.Profile(role="Clerk", goals=goals), running=False)
        return record.employee_id

    async def update(self, employee_id: UUID, *goals: str) -> None:
        profile = pb.Profile(role="Clerk", goals=goals)
        await self.employees.update(employee_id, profile, pb.AUTONOMY_UNSPECIFIED)

    async def goals(self) -> dict[str, str]:
        rows = await self.pool.fetch("SELECT text, state, reason FROM goals ORDER BY goal_id")
        return {row["text"]: row["state"] for row in rows}

    async def wanted(self) -> Any:
        return await self.pool.fetchval("SELECT wanted FROM planning")


async def test_a_profile_brings_goals_to_maintain(database: Database):
    async with database.connect() as pool:
        staff = Staff(pool)
        await staff.hire("Know every deal.", " Be polite. ", "Know every deal.")
        rows = await pool.fetch("SELECT text, kind, priority, origin, state FROM goals ORDER BY goal_id")
        assert [tuple(row) for row in rows] == [
            ("Know every deal.", "maintain", 5, "profile", "active"),
            ("Be polite.", "maintain", 5, "profile", "active"),
        ]
        planning = await pool.fetchrow("SELECT wanted, planned_at FROM planning")
        assert planning is not None
        assert tuple(planning) == ("", None)
        assert await pool.fetchval("SELECT count(*) FROM goal_changes WHERE reason = 'set by the profile'") == 2


async def test_goals_follow_the_profile(database: Database):
    async with database.connect() as pool:
        staff = Staff(pool)
        employee_id = await staff.hire("a", "b")
        await staff.update(employee_id, "b", "a")
        assert await staff.wanted() == ""
        await staff.update(employee_id, "b", "c")
        assert await staff.goals() == {"a": "abandoned", "b": "active", "c": "active"}
        assert await pool.fetchval("SELECT reason FROM goals WHERE text = 'a'") == "no longer in the profile"
        assert await staff.wanted() == "the goals of the profile have changed"
        await staff.update(employee_id, "a", "b", "c")
        assert await pool.fetchval("SELECT count(*) FROM goals WHERE text = 'a' AND state = 'active'") == 1


async def test_a_goal_that_was_dropped_does_not_come_back_with_every_change_of_the_profile(database: Database):
    async with database.connect() as pool:
        staff = Staff(pool)
        employee_id = await staff.hire("a", "b")
        await pool.execute("UPDATE goals SET state = 'abandoned', ended_at = now() WHERE text = 'a'")
        await staff.update(employee_id, "a", "b")
        assert await staff.goals() == {"a": "abandoned", "b": "active"}
        await staff.employees.update(employee_id, None, pb.AUTONOMY_SHADOW)
        assert await staff.goals() == {"a": "abandoned", "b": "active"}


async def test_an_operators_goal_is_not_the_profiles_to_give_up_or_to_set_again(database: Database):
    async with database.connect() as pool:
        staff = Staff(pool)
        employee_id = await staff.hire()
        tenant_id = await pool.fetchval("SELECT tenant_id FROM tenants")
        await add_goal(pool, tenant_id, employee_id, "a")
        await pool.execute("UPDATE goals SET origin = 'grace'")
        await staff.update(employee_id, "a")
        await staff.update(employee_id)
        assert await staff.goals() == {"a": "active"}


async def test_an_employee_from_before_there_were_goals_gets_them_with_its_next_profile(database: Database):
    async with database.connect() as pool:
        staff = Staff(pool)
        employee_id = await add_employee(pool, await add_tenant(pool), profile={"role": "Clerk", "goals": ["a"]})
        await staff.update(employee_id, "a")
        assert await staff.goals() == {"a": "active"}
        assert await staff.wanted() == "the goals of the profile have changed"


async def test_a_profile_does_not_lead_over_the_bound(database: Database):
    async with database.connect() as pool:
        staff = Staff(pool)
        employee_id = await staff.hire(*(f"goal {n}" for n in range(32)))
        await staff.update(employee_id, *(f"goal {n}" for n in range(1, 33)))
        await pool.execute("UPDATE goals SET origin = 'grace' WHERE text = 'goal 1'")
        with pytest.raises(TooLarge, match="32 active goals"):
            await staff.update(employee_id, *(f"goal {n}" for n in range(2, 34)))
        profile = await pool.fetchval("SELECT profile FROM employees")
        assert profile["goals"][0] == "goal 1"  # nothing of the refused one is kept


@pytest.mark.parametrize("goal", ["", "  ", "x" * 1001, "a\0b"])
async def test_what_is_no_goal_is_no_goal_of_a_profile_either(database: Database, goal: str):
    async with database.connect() as pool:
        with pytest.raises(Invalid) as error:
            await Staff(pool).hire("fine", goal)
        assert set(error.value.fields) == {"profile.goals[1]"}


async def test_what_is_in_work_for_a_goal_that_a_profile_drops_is_stopped(plane: Plane):
    create = pb.CreateEmployeeRequest(name="ada", profile=pb.Profile(role="Clerk", goals=["a"]))
    await plane.stub.CreateEmployee(create, timeout=60)
    goal_id = await plane.pool.fetchval("SELECT goal_id FROM goals")
    await add_intention(plane.pool, *(await ids(plane.pool)), "One", goal_id=goal_id)
    async with asyncio.timeout(60):
        while not await plane.pool.fetchval("SELECT count(*) FROM inbound_messages"):
            await plane.pool.execute("NOTIFY empla_steps")
    update = pb.UpdateEmployeeRequest(employee="ada", profile=pb.Profile(role="Clerk"))
    await plane.stub.UpdateEmployee(update, timeout=60)
    assert await plane.pool.fetchval("SELECT state FROM goals") == "abandoned"
    await until_withheld(plane.pool)
