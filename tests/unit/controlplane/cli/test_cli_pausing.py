"""`empla pause`, `resume`, `budget` and `costs` against a control plane on loopback, and what others say of a pause."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]


def paused(cause: str = "employee", reason: str = "too loud") -> control_pb2.PauseState:
    tenant = "acme" if cause.startswith("tenant") else ""
    state = control_pb2.PauseState(cause=cause, by="grace", reason=reason, tenant=tenant)
    state.since.FromDatetime(datetime(2027, 5, 3, 12, tzinfo=UTC))
    return state


def test_an_employee_or_a_tenant_is_paused_and_resumed(peer: Any, empla: Fixture):
    peer.answers["Pause"] = control_pb2.PauseResponse(employees=1)
    assert empla("pause", "ada", "--reason", "too loud").output == "ada: paused\n"
    assert peer.last.request == control_pb2.PauseRequest(employee="ada", reason="too loud")
    assert empla("pause", "--tenant", "acme").output == "1 employees of acme: paused\n"
    assert peer.last.request == control_pb2.PauseRequest(tenant="acme")
    peer.answers["Pause"] = control_pb2.PauseResponse()
    assert empla("pause", "ada").output == "ada was paused before\n"
    peer.answers["Resume"] = control_pb2.ResumeResponse()
    assert "still paused" in empla("resume", "ada").output
    assert json.loads(empla("resume", "ada", "--json").output) == {"resumed": 0}


@pytest.mark.parametrize("arguments", [("pause",), ("resume", "ada", "--tenant", "acme")])
def test_exactly_one_thing_is_paused_or_resumed(peer: Any, empla: Fixture, arguments: tuple[str, ...]):
    ended = empla(*arguments)
    assert (ended.exit_code, peer.calls) == (2, [])
    assert "either an EMPLOYEE or a --tenant" in ended.output


@pytest.mark.parametrize(
    ("cause", "says", "again"),
    [
        ("employee", "by grace: too loud", "`empla resume ada`"),
        ("tenant", "with its tenant", "`empla resume --tenant acme`"),
        ("employee_budget", "too loud; it goes on at 00:00 UTC", "`empla resume ada`"),
        ("tenant_budget", "with its tenant", "00:00 UTC, or with `empla resume --tenant acme`"),
    ],
)
def test_send_says_that_the_employee_is_paused_and_what_ends_it(
    peer: Any, empla: Fixture, cause: str, says: str, again: str
):
    peer.answers["SendMessage"] = control_pb2.Message(
        message_id="m-1", employee="ada", state="received", pause=paused(cause)
    )
    ended = empla("send", "ada", "hello")
    assert ended.exit_code == 7
    assert says in ended.output
    assert again in ended.output


def test_show_says_who_paused_it_and_what_it_may_spend(peer: Any, empla: Fixture):
    budget = control_pb2.Budget(day_dollars=12.5, message_tokens=200_000)
    peer.answers["GetEmployee"] = control_pb2.Employee(
        name="ada", paused=True, pause=paused(), profile=control_pb2.Profile(budget=budget)
    )
    shown = empla("employee", "show", "ada").output
    assert "by grace: too loud" in shown
    assert "$12.50 a day, 200,000 tokens a message" in shown


def test_the_budget_of_a_tenant_is_set_and_shown(peer: Any, empla: Fixture):
    status = control_pb2.BudgetStatus(
        owner="acme", budget=control_pb2.Budget(day_dollars=5), day="2027-05-03", spent_micros=5_003_100,
        spent_tokens=12_000, granted=2, spent=True,
    )  # fmt: skip
    peer.answers["SetBudget"] = peer.answers["GetBudget"] = status
    said = empla("budget", "set", "--tenant", "acme", "--day-dollars", "5").output
    assert peer.last.request == control_pb2.SetBudgetRequest(tenant="acme", day_dollars=5)
    assert "acme: $5.00 a day, granted 2 times today" in said
    assert "spent on 2027-05-03 (UTC): $5.00 and 12,000 tokens; it is spent" in said
    assert json.loads(empla("budget", "show", "ada", "--json").output)["spent_micros"] == 5_003_100
    assert peer.last.request == control_pb2.GetBudgetRequest(employee="ada")
    assert empla("budget", "set", "--day-dollars", "-1").exit_code == 2


@pytest.mark.parametrize(
    ("said", "dollars", "tokens"),
    [
        (("--day-tokens", "70"), 5.0, 70),
        (("--day-dollars", "0"), 0.0, 9),
        (("--day-dollars", "1", "--day-tokens", "0"), 1.0, 0),
    ],
)
def test_what_is_not_named_of_a_budget_stays(
    peer: Any, empla: Fixture, said: tuple[str, ...], dollars: float, tokens: int
):
    budget = control_pb2.Budget(day_dollars=5, day_tokens=9)
    peer.answers["SetBudget"] = peer.answers["GetBudget"] = control_pb2.BudgetStatus(owner="acme", budget=budget)
    assert empla("budget", "set", "--tenant", "acme", *said).exit_code == 0
    assert [call.request.tenant for call in peer.calls] == ["acme", "acme"]
    assert (peer.last.request.day_dollars, peer.last.request.day_tokens) == (dollars, tokens)


def test_a_budget_of_nothing_is_no_order_to_have_none(peer: Any, empla: Fixture):
    refused = empla("budget", "set")
    assert (refused.exit_code, "--day-dollars or --day-tokens" in refused.stderr, peer.calls) == (2, True, [])


def test_costs_are_told_by_day_employee_and_model(peer: Any, empla: Fixture):
    row = {"employee": "ada", "day": "2027-05-03", "tokens_in": 1200, "tokens_out": 30}
    costs = [
        control_pb2.Cost(model="a/m", cost_micros=3_100, **row),  # type: ignore[arg-type]
        control_pb2.Cost(model="b/n", unpriced=True, **row),  # type: ignore[arg-type]
    ]
    peer.answers["GetCosts"] = control_pb2.GetCostsResponse(costs=costs)
    lines = empla("costs", "--since", "2027-05-01", "--employee", "ada").output.splitlines()
    assert peer.last.request.since.ToDatetime(UTC) == datetime(2027, 5, 1, tzinfo=UTC)
    assert lines[1].split() == ["2027-05-03", "ada", "a/m", "1,200", "30", "$0.0031"]
    assert lines[2].endswith("no price")
    assert lines[3] == "together $0.0031"
