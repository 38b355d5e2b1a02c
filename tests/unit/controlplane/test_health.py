"""Each rule at its threshold and beyond it, and what an employee with several troubles comes to."""

from typing import Any

import pytest

from controlplane.health import RULES, Signs, judge, state_of
from empla.v1 import control_pb2 as pb

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "employee_lost": ({"silent_seconds": 15}, {"silent_seconds": 16}, "no heartbeat for 16 s"),
    "crash_loop": ({"crashes": 2}, {"crashes": 3}, "3 times in a row"),
    "start_failing": ({"unstarted": 2}, {"unstarted": 3, "why_unstarted": "no room"}, "3 tries, and not by its own"),
    "stuck_work": (
        {"stuck": 2, "paused": True},
        {"stuck": 2, "stuck_seconds": 720},
        "2 steps have not moved, the oldest for 12 min",
    ),
    "loop_hung": ({"loop_lag_ms": 10_000}, {"loop_lag_ms": 10_001}, "held up for 10.0 s"),
    "steps_failing": ({"attempts": 10, "failed": 5}, {"attempts": 10, "failed": 6}, "6 of 10 attempts failed"),
    "queue_depth": ({"queued": 100}, {"queued": 101}, "101 messages wait"),
    "sending_failing": ({"unsent": 2}, {"unsent": 3}, "3 replies could not be sent"),
    "open_reviews": ({"reviews": 100}, {"reviews": 101}, "101 reviews"),
    "clock_skew": ({"clock_ahead": -10.0}, {"clock_ahead": -11.0}, "its clock is 11 s behind the database's"),
    "part_away": ({"away": {}}, {"away": {"model": "overloaded"}}, "the model cannot be used: overloaded"),
    "sidecars_failing": ({"sidecars_failed": 2}, {"sidecars_failed": 3}, "3 sidecars"),
    "loop_slow": ({"loop_lag_ms": 1_000}, {"loop_lag_ms": 1_001}, "held up for 1.0 s"),
    "steps_partly_failing": ({"attempts": 9, "failed": 4}, {"attempts": 10, "failed": 3}, "3 of 10 attempts"),
    "over_budget": ({"over_budget": ""}, {"over_budget": "its day's $5 are spent"}, "its day's $5 are spent"),
    "paused": ({"paused": False}, {"paused": True}, "it is paused"),
    "cold_start": ({"start_ms": 30_000}, {"start_ms": 30_500}, "its last start took 30 s"),
    "idle_cost": ({"month_idle_micros": 20_000_000}, {"month_idle_micros": 31_000_000}, "$31 a month"),
}


def test_every_rule_has_a_case() -> None:
    assert list(CASES) == [rule.kind for rule in RULES]


@pytest.mark.parametrize("kind", CASES)
def test_a_rule_holds_from_its_threshold_on(kind: str) -> None:
    well, ill, why = CASES[kind]
    assert kind not in [one.rule.kind for one in judge(Signs(**well))]
    [found] = judge(Signs(**ill))
    assert found.rule.kind == kind
    assert why in found.why


def test_the_worst_that_holds_is_the_state() -> None:
    assert state_of(judge(Signs())) == pb.HEALTH_STATE_HEALTHY
    assert state_of(judge(Signs(start_ms=60_000))) == pb.HEALTH_STATE_HEALTHY
    assert state_of(judge(Signs(queued=500))) == pb.HEALTH_STATE_DEGRADED
    assert state_of(judge(Signs(queued=500, stuck=1))) == pb.HEALTH_STATE_UNHEALTHY
    found = judge(Signs(queued=500, stuck=1, silent_seconds=60))
    assert [one.rule.kind for one in found] == ["employee_lost", "stuck_work", "queue_depth"]
    assert state_of(found) == pb.HEALTH_STATE_LOST


def test_a_heartbeat_is_missed_by_how_often_one_is_due() -> None:
    assert not judge(Signs(silent_seconds=100, heartbeat_seconds=60))
    assert judge(Signs(silent_seconds=2, heartbeat_seconds=0.5))
