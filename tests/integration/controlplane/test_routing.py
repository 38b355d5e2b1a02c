"""Routing rules: made, told and removed through the API, each for one channel of one tenant."""

import asyncio
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest

from controlplane.routing import MAX_RULES
from empla import rpc
from empla.v1 import control_pb2 as pb
from tests.factories import add_channel, add_employee
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.deeds import issued


def asking(
    channel_id: str, employee: str = "ada", *, position: int = 0, **condition: Any
) -> pb.CreateRoutingRuleRequest:
    rule = pb.RoutingRule(channel_id=channel_id, employee=employee, position=position)
    rule.condition.update(condition)
    return pb.CreateRoutingRuleRequest(rule=rule)


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value.code().name, rpc.reason_of(refusal.value)


async def test_rules_are_made_told_in_order_and_removed(plane: Plane):
    stub, tenant_id = plane.stub, await plane.running.employees.tenant("default")
    for name in ("ada", "bo"):
        await add_employee(plane.pool, tenant_id, name)
    channel_id = str(await add_channel(plane.pool, tenant_id, None, "door"))
    late = await stub.CreateRoutingRule(asking(channel_id, "bo", position=7, sender="*"), timeout=10)
    last = await stub.CreateRoutingRule(asking(channel_id), timeout=10)
    first = await stub.CreateRoutingRule(asking(channel_id, position=2, sender="a*", conversation="c*"), timeout=10)

    asked = pb.ListRoutingRulesRequest(channel_id=channel_id)
    told = list((await stub.ListRoutingRules(asked, timeout=10)).rules)
    assert told == [first, late, last]
    assert [(rule.position, dict(rule.condition), rule.employee) for rule in told] == [
        (2, {"sender": "a*", "conversation": "c*"}, "ada"),
        (7, {"sender": "*"}, "bo"),
        (8, {}, "ada"),
    ]
    [channel] = [
        one for one in (await stub.ListChannels(pb.ListChannelsRequest(), timeout=10)).channels if one.name == "door"
    ]
    assert list(channel.rules) == told

    await stub.DeleteRoutingRule(pb.DeleteRoutingRuleRequest(rule_id=late.rule_id), timeout=10)
    assert list((await stub.ListRoutingRules(asked, timeout=10)).rules) == [first, last]
    again = stub.DeleteRoutingRule(pb.DeleteRoutingRuleRequest(rule_id=late.rule_id), timeout=10)
    assert await refused(again) == ("NOT_FOUND", "UNKNOWN")

    await asyncio.gather(*(stub.CreateRoutingRule(asking(channel_id), timeout=30) for _ in range(MAX_RULES - 2)))
    assert await refused(stub.CreateRoutingRule(asking(channel_id), timeout=10)) == (
        "RESOURCE_EXHAUSTED",
        "TOO_MANY_RULES",
    )


async def test_a_rule_that_does_not_fit_is_refused(plane: Plane):
    stub, tenant_id = plane.stub, await plane.running.employees.tenant("default")
    await add_employee(plane.pool, tenant_id, "ada")
    channel_id = str(await add_channel(plane.pool, tenant_id, None, "door"))
    api = str(await add_channel(plane.pool, tenant_id, None, "api", kind="api"))
    await stub.CreateTenant(pb.CreateTenantRequest(name="acme"), timeout=10)
    acme = await plane.running.employees.tenant("acme")
    theirs = str(await add_employee(plane.pool, acme, "cy"))
    await stub.CreateRoutingRule(asking(channel_id, position=1), timeout=10)
    for request, code, reason in (
        (asking(channel_id, position=1), "ALREADY_EXISTS", "POSITION_TAKEN"),
        (asking(channel_id, position=10**7), "INVALID_ARGUMENT", "INVALID"),
        (asking(channel_id, subject="x"), "INVALID_ARGUMENT", "INVALID"),
        (asking(channel_id, sender=1), "INVALID_ARGUMENT", "INVALID"),
        (asking(channel_id, sender=""), "INVALID_ARGUMENT", "INVALID"),
        (asking(channel_id, sender="\0"), "INVALID_ARGUMENT", "INVALID"),
        (asking(channel_id, sender="x" * 501), "INVALID_ARGUMENT", "INVALID"),
        (asking(channel_id, "nobody"), "NOT_FOUND", "EMPLOYEE_UNKNOWN"),
        (asking(channel_id, theirs), "INVALID_ARGUMENT", "INVALID"),
        (asking("door"), "INVALID_ARGUMENT", "INVALID"),
        (asking(str(uuid4())), "NOT_FOUND", "CHANNEL_UNKNOWN"),
        (asking(api), "INVALID_ARGUMENT", "INVALID"),
    ):
        assert await refused(stub.CreateRoutingRule(request, timeout=10)) == (code, reason)

    _, secret = await issued(plane.pool, "theirs", "admin", acme)
    async with rpc.dialing(plane.running.grpc_address, secret) as channel:
        other: Any = type(stub)(channel)
        assert await refused(other.CreateRoutingRule(asking(channel_id, "cy"), timeout=10)) == (
            "NOT_FOUND",
            "CHANNEL_UNKNOWN",
        )
        for call in (
            other.ListRoutingRules(pb.ListRoutingRulesRequest(channel_id=channel_id), timeout=10),
            other.DeleteChannel(pb.DeleteChannelRequest(channel_id=channel_id, force=True), timeout=10),
        ):
            assert await refused(call) == ("NOT_FOUND", "CHANNEL_UNKNOWN")
        [rule] = (await stub.ListRoutingRules(pb.ListRoutingRulesRequest(channel_id=channel_id), timeout=10)).rules
        deleting = other.DeleteRoutingRule(pb.DeleteRoutingRuleRequest(rule_id=rule.rule_id), timeout=10)
        assert await refused(deleting) == ("NOT_FOUND", "UNKNOWN")
