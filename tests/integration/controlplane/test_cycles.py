"""What the control plane tells of employees' cycles."""

from uuid import UUID

from google.protobuf.json_format import MessageToDict

from controlplane.cycles import Cycles
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
        cycles = Cycles(pool)
        first, following = await cycles.page(ada, size=2, before=None)
        rest, end = await cycles.page(ada, size=2, before=UUID(following))
        assert ids(first) + ids(rest) == list(reversed(made))
        assert [list(cycle.perceived) for cycle in (*first, *rest)] == list(reversed(kinds))
        assert end == ""
        assert MessageToDict(first[0].intention) == INTENTION
        assert first[0].HasField("finished_at")
        assert await cycles.page(ada, size=2, before=other) == ([], "")
        assert ids((await cycles.page(bo, size=2, before=None))[0]) == [other]
