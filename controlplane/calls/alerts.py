"""Calls about alerts."""

from typing import Any

from controlplane.calls.arguments import page_size as _page_size
from controlplane.calls.calls import Calls
from empla.v1 import control_pb2 as pb


class AlertCalls(Calls):
    """List them."""

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Any) -> pb.ListAlertsResponse:
        alerts, following = await self._parts.alerts.page(
            await self._scope(request.tenant),
            (await self._find(request.employee)).employee_id if request.employee else None,
            open_only=request.open_only,
            size=_page_size(request.page_size),
            token=request.page_token,
        )
        return pb.ListAlertsResponse(alerts=alerts, next_page_token=following)
