"""One look at everything."""

import asyncio
from importlib.metadata import version
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.auth import Operator
from controlplane.calls.arguments import MAX_PAGE
from controlplane.calls.calls import Calls
from controlplane.messages import Room, fitting
from controlplane.naming import calling_operator as _operator
from controlplane.shown import glance
from empla.v1 import control_pb2 as pb

OVERVIEW_MESSAGES = 20


class OverviewCalls(Calls):
    """What the command line and the status page begin with."""

    async def GetOverview(self, request: pb.GetOverviewRequest, context: Any) -> pb.Overview:
        return await self.overview(_operator(), request.tenant)

    async def overview(self, operator: Operator, tenant: str = "") -> pb.Overview:
        """One look at everything that `operator` may see; the status page shows it."""
        scope = operator.tenant_id if not tenant else await self._tenant_of(operator, tenant)
        counts = await self._parts.messages.counts(scope)
        last, _ = await self._parts.messages.page(scope, None, size=OVERVIEW_MESSAGES)
        records = await self._parts.employees.list_of(scope, limit=MAX_PAGE)
        room = Room()
        now, clock = Timestamp(), self._parts.streams.clock
        now.FromDatetime(clock.now())
        return pb.Overview(
            build=await asyncio.to_thread(version, "empla"),
            model=self._parts.model,
            embedding=self._parts.embedding,
            http_address=self.http_address,
            now=now,
            last_messages=fitting(last, room),
            employees=fitting(map(glance, map(self._employee, records)), room),
            latency=await self._parts.messages.latency(scope),
            open_reviews=counts["open_reviews"],
            live_messages=counts["live_messages"],
            queued_outbox=counts["queued_outbox"],
            clock_ahead_seconds=clock.skew,
            open_alerts=sum((await self._parts.alerts.open(scope)).values()),
        )
