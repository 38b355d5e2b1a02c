"""Budgets of what models cost, what is spent of them, and what models did cost."""

import math
from datetime import datetime
from typing import Any
from uuid import UUID

from controlplane import audit
from controlplane.auth import Operator
from controlplane.errors import Invalid
from empla.prices import MOST_DOLLARS
from empla.store.connect import Pool, load_queries, translated
from empla.v1 import control_pb2 as pb

SQL = load_queries("controlplane", "budgets.sql")
MICROS = 1_000_000
BUDGET = "budget"
"""The actor of what a budget does that is spent."""


class Budgets:
    """The budgets of tenants, and the tables that say what is spent."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def set_tenant(self, tenant_id: UUID, dollars: float, tokens: int, operator: Operator) -> list[UUID]:
        """Give a tenant a budget of the day, 0 for no limit; returns its employees. Raises `Invalid`."""
        if not 0 <= dollars <= MOST_DOLLARS:  # nor is NaN
            raise Invalid("that is no budget", fields={"day_dollars": f"from 0 to {MOST_DOLLARS}"})
        micros = math.ceil(dollars * MICROS)
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(SQL.set_tenant, tenant_id, micros or None, tokens or None)
                detail = {"day_dollars": dollars, "day_tokens": tokens}
                await audit.record(connection, tenant_id, "budget.set", tenant_id, detail, actor=operator.name)
                rows = await connection.fetch(SQL.employees_of, tenant_id)
        return [row["employee_id"] for row in rows]

    async def of_tenant(self, tenant_id: UUID) -> pb.BudgetStatus:
        """What a tenant may spend today, and what it has."""
        with translated():
            return _status(await self._pool.fetchrow(SQL.of_tenant, tenant_id))

    async def of_employee(self, employee_id: UUID) -> pb.BudgetStatus:
        """What an employee may spend today, and what it has."""
        with translated():
            return _status(await self._pool.fetchrow(SQL.of_employee, employee_id))

    async def costs(
        self, tenant_id: UUID | None, employee_id: UUID | None, since: datetime, until: datetime
    ) -> list[pb.Cost]:
        """What models cost from `since` on and before `until`; None: of every tenant, of every employee."""
        with translated():
            rows = await self._pool.fetch(SQL.costs, tenant_id, employee_id, since, until)
        return [
            pb.Cost(
                employee=row["name"],
                model=row["model"],
                day=row["day"].isoformat(),
                tokens_in=row["tokens_in"],
                tokens_out=row["tokens_out"],
                cost_micros=row["cost_micros"],
                unpriced=row["unpriced"],
            )
            for row in rows
        ]


def _status(row: Any) -> pb.BudgetStatus:
    return pb.BudgetStatus(
        owner=row["name"],
        budget=pb.Budget(
            day_dollars=(row["day_micros"] or 0) / MICROS,
            message_dollars=(row["message_micros"] or 0) / MICROS,
            day_tokens=row["day_tokens"] or 0,
            message_tokens=row["message_tokens"] or 0,
        ),
        day=row["day"].isoformat(),
        spent_micros=row["micros"] or 0,
        spent_tokens=row["tokens"] or 0,
        reserved_micros=row["held_micros"],
        reserved_tokens=row["held_tokens"],
        granted=row["granted"] or 1,
        spent=row["spent_at"] is not None,
    )
