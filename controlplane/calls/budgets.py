"""Calls about what models may cost, and what they did."""

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.calls.calls import Calls
from controlplane.errors import Invalid
from controlplane.naming import calling_operator as _operator
from empla.v1 import control_pb2 as pb

LOOK_BACK = timedelta(days=30)


class BudgetCalls(Calls):
    """Budgets and costs."""

    async def SetBudget(self, request: pb.SetBudgetRequest, context: Any) -> pb.BudgetStatus:
        tenant_id = await self._tenant(request.tenant)
        employees = await self._parts.budgets.set_tenant(
            tenant_id, request.day_dollars, request.day_tokens, _operator()
        )
        for employee_id in employees:
            await self._configure(employee_id)
        return await self._parts.budgets.of_tenant(tenant_id)

    async def GetBudget(self, request: pb.GetBudgetRequest, context: Any) -> pb.BudgetStatus:
        if request.WhichOneof("owner") == "employee":
            return await self._parts.budgets.of_employee((await self._find(request.employee)).employee_id)
        return await self._parts.budgets.of_tenant(await self._tenant(request.tenant))

    async def GetCosts(self, request: pb.GetCostsRequest, context: Any) -> pb.GetCostsResponse:
        now = datetime.now(UTC)
        since = _moment(request.since, "since") if request.HasField("since") else now - LOOK_BACK
        until = _moment(request.until, "until") if request.HasField("until") else now + timedelta(days=1)
        employee = await self._find(request.employee, request.tenant) if request.employee else None
        scope = employee.tenant_id if employee else await self._scope(request.tenant)
        costs = await self._parts.budgets.costs(scope, employee.employee_id if employee else None, since, until)
        return pb.GetCostsResponse(costs=costs)


def _moment(stamp: Timestamp, field: str) -> datetime:
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid("that is no moment", fields={field: "a moment from the year 1 to 9999"}) from error
