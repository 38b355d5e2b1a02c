"""Calls about sidecars."""

from typing import Any

from controlplane.calls.arguments import given_id as _id
from controlplane.calls.calls import Calls
from controlplane.naming import calling_operator as _operator
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc


class SidecarCalls(Calls):
    """List and stop them."""

    async def ListSidecars(self, request: pb.ListSidecarsRequest, context: Any) -> pb.ListSidecarsResponse:
        employee = (await self._find(request.employee)).employee_id if request.employee else None
        found = await self._parts.sidecars.list_of(_operator().tenant_id, employee)
        return pb.ListSidecarsResponse(sidecars=found)

    async def StopSidecar(self, request: pb.StopSidecarRequest, context: Any) -> pb.StopSidecarResponse:
        stub = control_pb2_grpc.ControlPlaneStub
        if await self._parts.forwarding.by_leader(stub, "StopSidecar", request, context) is not None:
            return pb.StopSidecarResponse()
        await self._parts.sidecars.stop(_id(request.sidecar_id, "sidecar_id"), _operator().tenant_id)
        return pb.StopSidecarResponse()
