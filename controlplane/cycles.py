"""The cycles of employees' proactive loops, as the employees recorded them."""

from typing import Any
from uuid import UUID

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from controlplane.messages import fitting
from empla.store.connect import Pool, load_queries, translated
from empla.v1 import control_pb2

SQL = load_queries("controlplane", "cycles.sql")


class Cycles:
    """The table `cycles`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, employee_id: UUID, *, size: int, before: UUID | None) -> tuple[list[control_pb2.Cycle], str]:
        """A page of an employee's cycles, newest first; and the token of the next page."""
        with translated():
            rows = await self._pool.fetch(SQL.cycles_of, employee_id, before, size)
        page = fitting(map(_cycle, rows))
        return page, page[-1].cycle_id if len(page) < len(rows) or len(rows) == size else ""


def _cycle(row: Any) -> control_pb2.Cycle:
    cycle = control_pb2.Cycle(
        cycle_id=str(row["cycle_id"]),
        epoch=row["epoch"],
        phase=row["phase"],
        outcome=row["outcome"],
        error=row["error"],
        perceived=row["perceived"],
        intention=ParseDict(row["intention"] or {}, Struct()),
    )
    cycle.started_at.FromDatetime(row["started_at"])
    if row["finished_at"] is not None:
        cycle.finished_at.FromDatetime(row["finished_at"])
    return cycle
