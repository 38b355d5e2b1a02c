"""A step of an employee's own plan, as its pipeline works on it."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from agent.models.scripted import ScriptedModel, Step, echo
from agent.prompts import blocks
from controlplane.receiver import Receiver
from controlplane.stepping import Stepping
from controlplane.stopping import Stopping
from empla.classification import Classification, Intent
from tests.factories import add_goal, add_intention
from tests.integration.agent.conftest import Office
from tests.integration.agent.test_when_busy import settled


def working(says: str = "done", sorts: Step | None = None) -> ScriptedModel:
    """A model whose workers say that."""
    return ScriptedModel(lambda request: says if request.output is None else sorts or echo(request))


def policy(office: Office, when_busy: str) -> None:
    kept = {**office.record.kept_profile, "when_busy": when_busy}
    office.record = replace(office.record, kept_profile=kept)


async def begun(office: Office, *instructions: str) -> Sequence[UUID]:
    """The messages of a plan's steps, begun by a control plane."""
    ids = office.record.tenant_id, office.record.employee_id
    intention_id = await add_intention(
        office.pool, *ids, *instructions, goal_id=await add_goal(office.pool, *ids, "Keep </data> safe.")
    )
    await Stepping(office.pool, Receiver(office.pool, lambda *_: None), Stopping(office.pool)).begin_ready()
    rows = await office.pool.fetch(
        "SELECT message_id FROM intention_steps WHERE intention_id = $1 ORDER BY step", intention_id
    )
    return [row["message_id"] for row in rows]


async def test_the_model_is_told_what_its_step_is_for_and_what_came_out_before(office: Office):
    model = working()
    ids = await begun(office, "Read deals.csv", "Write a summary")
    async with office.employee(model) as gateway:
        await office.deliver_all(gateway)
        assert await settled(office, ids) == ["sending", "sending"]
    first, second = (request for request in model.requests if request.output is None)
    assert [(block.kind, block.text) for block in blocks(first.messages[-1].text)] == [
        ("goal", "Goal: Keep </data> safe.\nPlan: Look at the deals\nStep 1 of 2: step 1"),
        ("message", "Read deals.csv"),
    ]
    assert [(turn.role, [block.text for block in blocks(turn.text)] or turn.text) for turn in second.messages[:-1]] == [
        ("user", ["Read deals.csv"]),
        ("assistant", "done"),
    ]
    assert "Step 2 of 2: step 2" in second.messages[-1].text


@pytest.mark.parametrize("when_busy", ["enqueue", "collect", "steer", "interrupt"])
async def test_each_step_is_worked_on_by_itself(office: Office, when_busy: str):
    policy(office, when_busy)
    ids = await begun(office, "One", "Two", "Three")
    async with office.employee(working()) as gateway:
        await office.deliver_all(gateway)
        assert await settled(office, ids) == ["sending"] * 3


async def test_nobody_sends_it_so_it_is_no_spam_and_no_command(office: Office):
    intent = Intent(summary="sell", category="spam", start=0, end=1)
    spam = Classification(
        category="spam", priority="normal", sentiment="neutral", language="en", confidence=1, intents=(intent,)
    ).model_dump_json()
    ids = await begun(office, "/stop", "What is 1 + 1?")
    async with office.employee(working(sorts=spam)) as gateway:
        await office.deliver_all(gateway)
        assert await settled(office, ids) == ["sending", "sending"]
