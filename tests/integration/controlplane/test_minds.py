"""What the control plane tells of what employees think."""

from datetime import datetime
from uuid import UUID

import pytest
from google.protobuf.json_format import MessageToDict

from controlplane.errors import Invalid
from controlplane.minds import Minds
from empla.store.connect import Pool
from empla.store.ids import new_id
from empla.v1 import control_pb2
from tests.conftest import Database
from tests.factories import add_employee, add_tenant

INTENTION = {"remember": [{"episode": "met Ada"}]}


async def add_cycle(pool: Pool, tenant_id: UUID, employee_id: UUID, kinds: list[str]) -> UUID:
    """A finished cycle that perceived events of these kinds."""
    events = [
        await pool.fetchval(
            "INSERT INTO employee_events (tenant_id, employee_id, kind, payload) "
            "VALUES ($1, $2, $3, '{}') RETURNING event_id",
            tenant_id, employee_id, kind,
        )
        for kind in kinds
    ]  # fmt: skip
    cycle_id = new_id()
    await pool.execute(
        "INSERT INTO cycles (cycle_id, tenant_id, employee_id, epoch, phase, outcome, perceived, intention, finished_at) "
        "VALUES ($1, $2, $3, 1, 'done', 'acted', $4, $5, now())",
        cycle_id, tenant_id, employee_id, events, INTENTION,
    )  # fmt: skip
    return cycle_id


def ids(page: list[control_pb2.Cycle]) -> list[UUID]:
    return [UUID(cycle.cycle_id) for cycle in page]


async def test_cycles_are_told_in_pages_newest_first_and_nobody_elses(database: Database):
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        ada, bo = [await add_employee(pool, tenant_id, name) for name in ("ada", "bo")]
        kinds = [["message_handled"], [], ["operator_woke", "message_handled"]]
        made = [await add_cycle(pool, tenant_id, ada, seen) for seen in kinds]
        other = await add_cycle(pool, tenant_id, bo, ["message_handled"])
        minds = Minds(pool)
        first, following = await minds.cycles(ada, size=2, before=None)
        rest, end = await minds.cycles(ada, size=2, before=UUID(following))
        assert ids(first) + ids(rest) == list(reversed(made))
        assert [list(cycle.perceived) for cycle in (*first, *rest)] == list(reversed(kinds))
        assert end == ""
        assert MessageToDict(first[0].intention) == INTENTION
        assert first[0].HasField("finished_at")
        assert await minds.cycles(ada, size=2, before=other) == ([], "")
        assert ids((await minds.cycles(bo, size=2, before=None))[0]) == [other]


async def add_belief(
    pool: Pool, tenant_id: UUID, employee_id: UUID, subject: str, confidence: float, days: int
) -> UUID:
    """A belief that was supported so many days ago, with the change that formed it."""
    belief_id = new_id()
    await pool.execute(
        "INSERT INTO beliefs (belief_id, tenant_id, employee_id, subject_key, predicate_key, subject, predicate, object, "
        "confidence, importance, supported_at) "
        "VALUES ($3, $1, $2, lower($4), 'budget', $4, 'budget', '12k', $5, 0.5, now() - make_interval(days => $6))",
        tenant_id, employee_id, belief_id, subject, confidence, days,
    )  # fmt: skip
    for change in ("formed", "confirmed"):
        await pool.execute(
            "INSERT INTO belief_changes (belief_id, tenant_id, employee_id, cycle_id, change, subject, predicate, object, "
            "confidence, why, source) VALUES ($3, $1, $2, $3, $5, $4, 'budget', '12k', 0.5, 'said', 'message:1')",
            tenant_id, employee_id, belief_id, subject, change,
        )  # fmt: skip
    return belief_id


async def test_beliefs_are_told_in_pages_as_sure_as_they_are_now(database: Database):
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        ada, bo = [await add_employee(pool, tenant_id, name) for name in ("ada", "bo")]
        for subject, confidence, days in (("Cora", 0.9, 1), ("Acme", 0.8, 0), ("Brandt", 0.5, 5), ("Dorn", 0.6, 2)):
            await add_belief(pool, tenant_id, ada, subject, confidence, days)
        await add_belief(pool, tenant_id, bo, "Else", 0.9, 0)
        minds, found, token = Minds(pool), list[control_pb2.Belief](), ""
        while True:
            page, token = await minds.beliefs(ada, size=2, token=token)
            found += page
            if not token:
                break
        assert [(one.subject, round(one.confidence, 2)) for one in found] == [
            ("Acme", 0.8),
            ("Cora", 0.8),
            ("Dorn", 0.4),
        ]
        assert [change.change for change in found[0].changes] == ["confirmed", "formed"]
        assert found[0].changes[0].source == "message:1"
        assert found[0].changes[0].occurred_at.ToDatetime() > datetime(2026, 1, 1)  # noqa: DTZ001 - protobuf gives it so


@pytest.mark.parametrize("token", ["x", "[]", "[1, 2]", '["a"]', "null", '["\\u0000", ""]', "{}"])
async def test_a_page_token_that_is_none_of_ours_is_refused(database: Database, token: str):
    async with database.connect() as pool:
        with pytest.raises(Invalid, match="token"):
            await Minds(pool).beliefs(new_id(), size=2, token=token)
