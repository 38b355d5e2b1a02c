"""A profile is refused, with the field and what it takes, when an employee could not live by it."""

from typing import Any

import pytest

from controlplane.errors import Invalid
from controlplane.profiles import checked_profile, parse_profile, shipped_profile
from empla.capabilities import SHIPPED_CAPABILITIES
from empla.v1 import control_pb2


@pytest.mark.parametrize("names", [[], ["memory"], SHIPPED_CAPABILITIES])
def test_capabilities_that_there_are_can_be_granted(names: list[str]):
    profile = control_pb2.Profile(role="Clerk", capabilities=names)
    assert checked_profile(profile) is profile


def test_a_capability_that_there_is_not_is_refused_with_the_names_of_those_that_are():
    with pytest.raises(
        Invalid, match="there is no 'computer'; there are: workspace, compute, browser, memory"
    ) as refused:
        checked_profile(control_pb2.Profile(role="Clerk", capabilities=["workspace", "computer"]))
    assert set(refused.value.fields) == {"profile.capabilities"}


def test_an_autonomy_that_there_is_not_is_refused():
    with pytest.raises(Invalid, match="shadow, supervised or autonomous") as refused:
        parse_profile({"role": "Clerk", "autonomy": 7})
    assert set(refused.value.fields) == {"profile.autonomy"}


def test_the_profile_that_is_shipped_keeps_its_own_rules():
    assert shipped_profile("sales-ae").role


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"domain": "https://example.com"}, "write the host alone"),
        ({"domain": "a.*.com"}, "in front"),
        ({"domain": "*", "private": True}, "cannot be private"),
        ({"domain": "127.0.0.1"}, "write private = true"),
        ({"domain": "169.254.169.254", "private": True}, "nothing may reach"),
        ({"domain": "example.com", "ports": [65536]}, "no port"),
        ({"domain": "example.com", "methods": ["get"]}, "in capitals"),
        ({}, "is no domain"),
    ],
)
def test_an_egress_rule_that_is_none_is_refused_by_its_place(rule: dict[str, Any], says: str):
    with pytest.raises(Invalid, match=says) as refused:
        parse_profile({"role": "Clerk", "egress": [{"domain": "example.com"}, rule]})
    assert set(refused.value.fields) == {"profile.egress[1]"}


def test_egress_rules_are_bounded_in_number():
    rules = [{"domain": f"host-{i}.example"} for i in range(257)]
    assert len(parse_profile({"role": "Clerk", "egress": rules[:256]}).egress) == 256
    with pytest.raises(Invalid, match="at most 256"):
        parse_profile({"role": "Clerk", "egress": rules})


def test_a_misspelt_field_of_a_rule_is_named_with_its_place():
    with pytest.raises(Invalid, match=r"no field 'egress\[0\].port'.*egress\[0\].ports"):
        parse_profile({"role": "Clerk", "egress": [{"domain": "example.com", "port": 443}]})


def test_a_policy_decides_about_risks_that_there_are():
    assert parse_profile({"role": "Clerk", "policy": {"submit": "ask", "upload": "deny"}}).policy["submit"] == "ask"
    with pytest.raises(Invalid, match="there is no risk 'click'; there are: submit, download, upload"):
        parse_profile({"role": "Clerk", "policy": {"click": "ask"}})
    with pytest.raises(Invalid, match="allow, ask, deny") as refused:
        parse_profile({"role": "Clerk", "policy": {"submit": "maybe"}})
    assert set(refused.value.fields) == {"profile.policy.submit"}


def test_the_profile_that_is_shipped_reaches_nothing_until_somebody_allows_it():
    assert not shipped_profile("sales-ae").egress


def test_where_work_runs_can_be_said():
    said = {"compute": "sidecar", "browser": "local", "sidecar_memory_mb": 2048}
    profile = parse_profile({"role": "Clerk", "workstation": said})
    assert (profile.workstation.compute, profile.workstation.browser) == ("sidecar", "local")
    assert profile.workstation.sidecar_memory_mb == 2048


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("compute", "remote", "one of auto, local, sidecar"),
        ("browser", "Local", "one of auto, local, sidecar"),
        ("sidecar_memory_mb", 255, "from 256 to 1048576"),
        ("sidecar_memory_mb", 1 << 21, "from 256 to 1048576"),
    ],
)
def test_where_nothing_can_run_is_refused(field: str, value: object, says: str):
    with pytest.raises(Invalid, match=says) as refused:
        parse_profile({"role": "Clerk", "workstation": {field: value}})
    assert set(refused.value.fields) == {f"profile.workstation.{field}"}


def test_how_many_messages_are_in_work_at_once_can_be_said():
    assert parse_profile({"role": "Clerk", "max_in_work": 256}).max_in_work == 256
    with pytest.raises(Invalid, match="at most 256") as refused:
        parse_profile({"role": "Clerk", "max_in_work": 257})
    assert set(refused.value.fields) == {"profile.max_in_work"}


def test_a_misspelt_place_is_named():
    with pytest.raises(Invalid, match=r"no field 'workstation\.computer'.*workstation\.compute"):
        parse_profile({"role": "Clerk", "workstation": {"computer": "local"}})
