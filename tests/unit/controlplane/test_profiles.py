"""A profile is refused, with the field and what it takes, when an employee could not live by it."""

from typing import Any

import pytest

from controlplane.errors import Invalid, Unknown
from controlplane.profiles import checked_profile, parse_profile, shipped_names, shipped_profile
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
    assert set(refused.value.fields) == {"profile.capabilities[1]"}


def test_an_autonomy_that_there_is_not_is_refused():
    with pytest.raises(Invalid, match="autonomy is one of shadow, supervised, autonomous, and not 7") as refused:
        parse_profile({"role": "Clerk", "autonomy": 7})
    assert set(refused.value.fields) == {"profile.autonomy"}


def test_there_are_the_profiles_that_the_readme_names():
    assert shipped_names() == ["csm", "researcher", "sales-ae", "sdr", "support"]
    with pytest.raises(Unknown, match="no profile 'boss'; there are: csm, researcher"):
        shipped_profile("boss")


@pytest.mark.parametrize("name", shipped_names())
def test_the_profiles_that_are_shipped_keep_their_own_rules(name: str):
    profile = shipped_profile(name)
    assert profile.role
    assert profile.goals
    assert profile.autonomy != control_pb2.AUTONOMY_UNSPECIFIED


def test_a_refusal_tells_so_much_as_fits_into_the_head_of_an_answer():
    with pytest.raises(Invalid, match=r"95 more$") as refused:
        checked_profile(control_pb2.Profile(role="Clerk", capabilities=["x" * 1000] * 100))
    assert len(refused.value.fields) == 5
    with pytest.raises(Invalid) as refused:
        checked_profile(control_pb2.Profile(role="Clerk", policy={"x" * 10_000: "ask"}))
    assert len(str(refused.value) + str(refused.value.fields)) < 1000


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"role": 7}, "role is a text in quotes, and not 7"),
        ({"role": "\ud800"}, "role is a text in quotes"),
        ({"role": "x", "goals": "one"}, "goals is a list, and not 'one'"),
        ({"role": "x", "goals": ["one", 2]}, r"goals\[1\] is a text in quotes, and not 2"),
        ({"role": "x", "loop": 5}, "loop is a table, and not 5"),
        ({"role": "x", "policy": ["ask"]}, "policy is a table, and not a list"),
        ({"role": "x", "policy": {"submit": True}}, "policy.submit is a text in quotes, and not true"),
        ({"role": "x", "max_in_work": True}, "max_in_work is a whole number from 0 to 4294967295, and not true"),
        ({"role": "x", "max_in_work": 1 << 32}, "whole number"),
        ({"role": "x", "loop": {"cycle_seconds": -1}}, "loop.cycle_seconds is a whole number"),
        ({"role": "x", "egress": [{"domain": "a.example", "private": 1}]}, r"egress\[0\].private is true or false"),
        ({"role": "x", "when_busy": "steer", "whenBusy": "collect"}, "whenBusy stands here for the second time"),
    ],
)
def test_a_value_of_another_kind_is_named_with_the_kind_that_it_should_have(document: dict[str, Any], says: str):
    with pytest.raises(Invalid, match=says):
        parse_profile(document)


@pytest.mark.parametrize("word", ["supervised", "AUTONOMY_SUPERVISED"])
def test_autonomy_is_written_as_people_say_it_or_as_the_contract_does(word: str):
    assert parse_profile({"role": "Clerk", "autonomy": word}).autonomy == control_pb2.AUTONOMY_SUPERVISED


def test_what_is_null_is_not_there():
    assert parse_profile({"role": "Clerk", "autonomy": None, "loop": None}) == control_pb2.Profile(role="Clerk")


@pytest.mark.parametrize(
    ("rule", "field", "says"),
    [
        ({"domain": "https://example.com"}, "domain", "write the host alone"),
        ({"domain": "a.*.com"}, "domain", "in front"),
        ({"domain": "*", "private": True}, "domain", "cannot be private"),
        ({"domain": "127.0.0.1"}, "domain", "write private = true"),
        ({"domain": "169.254.169.254", "private": True}, "domain", "nothing may reach"),
        ({"domain": "example.com", "ports": [443, 65536]}, "ports[1]", "no port"),
        ({"domain": "example.com", "methods": ["get"]}, "methods[0]", "in capitals"),
        ({}, "domain", "is no domain"),
    ],
)
def test_an_egress_rule_that_is_none_is_refused_by_its_place(rule: dict[str, Any], field: str, says: str):
    with pytest.raises(Invalid, match=says) as refused:
        parse_profile({"role": "Clerk", "egress": [{"domain": "example.com"}, rule]})
    assert set(refused.value.fields) == {f"profile.egress[1].{field}"}


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


@pytest.mark.parametrize("name", shipped_names())
def test_a_profile_that_is_shipped_reaches_nothing_until_somebody_allows_it(name: str):
    assert not shipped_profile(name).egress


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


@pytest.mark.parametrize("cap", ["sender_per_minute", "employee_per_minute"])
def test_rate_caps_are_bounded(cap: str):
    assert getattr(parse_profile({"role": "Clerk", "rate_caps": {cap: 60_000}}).rate_caps, cap) == 60_000
    with pytest.raises(Invalid) as refused:
        parse_profile({"role": "Clerk", "rate_caps": {cap: 60_001}})
    assert set(refused.value.fields) == {f"profile.rate_caps.{cap}"}


def test_a_budget_is_numbers_within_bounds():
    said = {"day_dollars": 12.5, "message_dollars": 1, "day_tokens": 1000, "message_tokens": 10}
    budget = parse_profile({"role": "Clerk", "budget": said}).budget
    assert (budget.day_dollars, budget.message_dollars, budget.day_tokens, budget.message_tokens) == (12.5, 1, 1000, 10)


@pytest.mark.parametrize("value", [-1, 1_000_001, "5", True, float("nan"), float("inf"), 10**400])
def test_what_is_no_amount_is_refused(value: object):
    with pytest.raises(Invalid, match=r"budget\.day_dollars is") as refused:
        parse_profile({"role": "Clerk", "budget": {"day_dollars": value}})
    assert set(refused.value.fields) == {"profile.budget.day_dollars"}


@pytest.mark.parametrize("name", shipped_names())
def test_a_profile_that_is_shipped_has_a_budget(name: str):
    assert 0 < shipped_profile(name).budget.message_dollars < shipped_profile(name).budget.day_dollars


def test_a_misspelt_place_is_named():
    with pytest.raises(Invalid, match=r"no field 'workstation\.computer'.*workstation\.compute"):
        parse_profile({"role": "Clerk", "workstation": {"computer": "local"}})


@pytest.mark.parametrize(
    "when", [{"at": "2027-03-31T15:00"}, {"every_seconds": 60}, {"cron": "*/5 9-17 * * 1-5", "time_zone": "Asia/Tokyo"}]
)
def test_schedules_that_can_run_are_taken(when: dict[str, Any]):
    schedule = {"name": "one", "instruction": "Hello", "catch_up": "all"} | when
    assert len(parse_profile({"role": "Clerk", "schedules": [schedule, schedule | {"name": "two"}]}).schedules) == 2


def test_an_instant_that_has_passed_makes_no_profile_wrong():
    parse_profile({"role": "Clerk", "schedules": [{"name": "once", "instruction": "Hello", "at": "2020-03-31T15:00"}]})


@pytest.mark.parametrize(
    ("change", "place", "says"),
    [
        ({"name": " "}, "name", "the name is empty"),
        ({"name": "first"}, "name", "'first' stands here for the second time"),
        ({"instruction": ""}, "instruction", "the instruction is empty"),
        ({"instruction": "/stop"}, "instruction", "a command"),
        ({"cron": "0 9 * *"}, "cron", "five fields"),
        ({"cron": "0 9 30 2 *"}, "cron", "no day of the next 50 years fits|no cron expression"),
        ({"cron": "", "every_seconds": 59}, "every_seconds", "no interval from 60 s"),
        ({"cron": "", "at": "tomorrow"}, "at", "'tomorrow' is no time"),
        ({"cron": ""}, None, "exactly one of at, every_seconds and cron"),
        ({"every_seconds": 60}, None, "exactly one of at, every_seconds and cron"),
        ({"time_zone": "Mars/Base"}, "time_zone", "'Mars/Base' is no time zone"),
        ({"catch_up": "some"}, "catch_up", "'some' is none of latest, all, none"),
    ],
)
def test_a_schedule_that_cannot_run_is_named_with_its_field(change: dict[str, Any], place: str | None, says: str):
    usual = {"name": "second", "cron": "0 9 * * *", "instruction": "Hello"}
    with pytest.raises(Invalid, match=says) as refused:
        parse_profile({"role": "Clerk", "schedules": [usual | {"name": "first"}, usual | change]})
    assert set(refused.value.fields) == {"profile.schedules[1]" + (f".{place}" if place else "")}


def test_a_profile_brings_a_hundred_schedules_at_most():
    usual = {"every_seconds": 60, "instruction": "Hello"}
    with pytest.raises(Invalid, match="schedules are at most 100"):
        parse_profile({"role": "Clerk", "schedules": [usual | {"name": f"{i}"} for i in range(101)]})


@pytest.mark.parametrize("name", shipped_names())
def test_a_profile_that_is_shipped_brings_a_schedule(name: str):
    assert len(shipped_profile(name).schedules) == 1
