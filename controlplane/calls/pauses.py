"""The kill switch, for an employee or a whole tenant."""

from typing import Any

from controlplane.calls.calls import Calls
from controlplane.naming import calling_operator as _operator
from empla.v1 import control_pb2 as pb


class PauseCalls(Calls):
    """Pause and resume."""

    async def Pause(self, request: pb.PauseRequest, context: Any) -> pb.PauseResponse:
        if request.WhichOneof("target") == "tenant":
            tenant_id = await self._tenant(request.tenant)
            count = await self._parts.pauses.pause_tenant(tenant_id, _operator(), request.reason)
        else:
            record = await self._find(request.employee)
            count = await self._parts.pauses.pause_employee(record, _operator(), request.reason)
        return pb.PauseResponse(employees=count)

    async def Resume(self, request: pb.ResumeRequest, context: Any) -> pb.ResumeResponse:
        if request.WhichOneof("target") == "tenant":
            count = await self._parts.pauses.resume_tenant(await self._tenant(request.tenant), _operator())
        else:
            count = await self._parts.pauses.resume_employee(await self._find(request.employee), _operator())
        return pb.ResumeResponse(employees=count)
