"""Calls about what an employee remembers."""

from typing import Any

from controlplane.calls.calls import Calls
from controlplane.naming import calling_operator as _operator
from empla.v1 import control_pb2 as pb


class MemoryCalls(Calls):
    """Search and forget."""

    async def SearchMemory(self, request: pb.SearchMemoryRequest, context: Any) -> pb.SearchMemoryResponse:
        employee = await self._find(request.employee)
        found = await self._parts.memories.search(employee.employee_id, request.query, request.limit, request.kind)
        return pb.SearchMemoryResponse(memories=found)

    async def Forget(self, request: pb.ForgetRequest, context: Any) -> pb.ForgetResponse:
        employee = await self._find(request.employee)
        answer = await self._parts.memories.forget(employee, request, _operator().name)
        # What it holds in memory is read anew, goals and plans too; when it is not attached, with its next Welcome.
        self._parts.streams.wake(employee.employee_id, "forgotten")
        return answer
