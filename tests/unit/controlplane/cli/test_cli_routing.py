"""`empla routing` against a control plane on loopback."""

from collections.abc import Callable
from typing import Any

import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]


@pytest.fixture
def routed(peer: Any) -> Any:
    channel = control_pb2.Channel(channel_id="c-1", name="inbox")
    peer.answers["ListChannels"] = control_pb2.ListChannelsResponse(channels=[channel])

    def made(request: control_pb2.CreateRoutingRuleRequest) -> control_pb2.RoutingRule:
        rule = control_pb2.RoutingRule(rule_id="r-1", position=3)
        rule.MergeFrom(request.rule)
        return rule

    peer.answers["CreateRoutingRule"] = made
    return peer


def test_add_sends_what_is_given_alone(routed: Any, empla: Fixture) -> None:
    result = empla("routing", "add", "inbox", "ada", "--sender", "*@acme.com", "--conversation", "vip")
    assert result.stdout == "rule r-1, at position 3: sender *@acme.com and conversation vip → ada\n"
    empla("routing", "add", "inbox", "ada", "--position", "7")
    rule = routed.last.request.rule
    assert (rule.channel_id, rule.employee, rule.position, dict(rule.condition)) == ("c-1", "ada", 7, {})


def test_list_tells_them_in_order(routed: Any, empla: Fixture) -> None:
    rules = [control_pb2.RoutingRule(rule_id=f"r-{number}", position=number, employee="ada") for number in (1, 5)]
    rules[0].condition.update({"sender": "bo"})
    routed.answers["ListRoutingRules"] = control_pb2.ListRoutingRulesResponse(rules=rules)
    _, *lines = empla("routing", "list", "inbox").stdout.splitlines()
    assert [" ".join(line.split()) for line in lines] == ["1 r-1 sender bo → ada", "5 r-5 every message → ada"]
    assert routed.last.request.channel_id == "c-1"


def test_delete_names_the_rule(routed: Any, empla: Fixture) -> None:
    routed.answers["DeleteRoutingRule"] = control_pb2.DeleteRoutingRuleResponse()
    assert empla("routing", "delete", "r-1").stdout == "r-1: deleted\n"
    assert routed.last.request.rule_id == "r-1"
