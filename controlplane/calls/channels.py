"""Calls about channels, and about which employee gets what comes by them."""

from typing import Any

from google.protobuf.json_format import MessageToDict

from controlplane.calls.arguments import given_id as _id
from controlplane.calls.calls import Calls
from controlplane.errors import Invalid
from controlplane.naming import calling_operator as _operator
from controlplane.shown import shown_channel, shown_rule
from empla.v1 import control_pb2 as pb


class ChannelCalls(Calls):
    """Make, list and delete them, and their routing rules."""

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

    async def DeleteChannel(self, request: pb.DeleteChannelRequest, context: Any) -> pb.DeleteChannelResponse:
        channel_id = _id(request.channel_id, "channel_id")
        await self._parts.disconnecting.delete(channel_id, _operator(), force=request.force)
        return pb.DeleteChannelResponse()

    async def CreateRoutingRule(self, request: pb.CreateRoutingRuleRequest, context: Any) -> pb.RoutingRule:
        asked = request.rule
        record = await self._find(asked.employee)
        rule = await self._parts.routing.create(
            _operator().tenant_id,
            _id(asked.channel_id, "channel_id"),
            record.employee_id,
            record.tenant_id,
            condition=MessageToDict(asked.condition),
            position=asked.position,
        )
        return shown_rule(rule)

    async def ListRoutingRules(self, request: pb.ListRoutingRulesRequest, context: Any) -> pb.ListRoutingRulesResponse:
        rules = await self._parts.routing.of(_operator().tenant_id, _id(request.channel_id, "channel_id"))
        return pb.ListRoutingRulesResponse(rules=map(shown_rule, rules))

    async def DeleteRoutingRule(
        self, request: pb.DeleteRoutingRuleRequest, context: Any
    ) -> pb.DeleteRoutingRuleResponse:
        await self._parts.routing.delete(_operator().tenant_id, _id(request.rule_id, "rule_id"))
        return pb.DeleteRoutingRuleResponse()
