"""Calls about channels."""

from typing import Any

from controlplane.calls.calls import Calls
from controlplane.errors import Invalid
from controlplane.shown import shown_channel
from empla.v1 import control_pb2 as pb


class ChannelCalls(Calls):
    """Make and list them."""

    async def CreateChannel(self, request: pb.CreateChannelRequest, context: Any) -> pb.CreateChannelResponse:
        if request.kind not in ("", "webhook"):
            raise Invalid("this build has webhooks only", fields={"kind": "webhook"})
        tenant_id = await self._tenant(request.tenant)
        record = await self._find(request.employee, request.tenant) if request.employee else None
        if record is not None and record.tenant_id != tenant_id:
            raise Invalid("the employee is another tenant's", fields={"employee": "of the channel's tenant"})
        channel = await self._parts.channels.create_webhook(
            tenant_id=tenant_id,
            name=request.name,
            employee_id=record.employee_id if record is not None else None,
            callback_url=request.callback_url,
            secret=request.secret,
        )
        return pb.CreateChannelResponse(channel=shown_channel(channel), secret=channel.secret.decode())

    async def ListChannels(self, request: pb.ListChannelsRequest, context: Any) -> pb.ListChannelsResponse:
        tenant_id = await self._tenant(request.tenant)
        return pb.ListChannelsResponse(channels=map(shown_channel, await self._parts.channels.list_of(tenant_id)))
