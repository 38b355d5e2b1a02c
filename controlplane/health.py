"""How an employee fares: rules over what is known of it, each with its threshold and its reason in words.

The worst rule that holds is the employee's state. What is worth waking somebody for is an alert as well, whose kind is the
rule's name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controlplane.clock import SKEW_SECONDS, said
from empla.v1 import control_pb2

MISSED_HEARTBEATS = 3
CRASHES = 3
"""Ends of a process in a row, none of which lived long, and failed launches."""
LAG_MS, MUCH_LAG_MS = 1_000, 10_000
MOST_QUEUED = 100
MOST_REVIEWS = 100
FEW_ATTEMPTS = 10
"""Of fewer no rate is told."""
FAILED_SHARE, MOSTLY_FAILED_SHARE = 0.2, 0.5
UNSENT = 3
SIDECARS_FAILED = 3
WITHIN_MINUTES = 10
"""For how long failures count."""
COLD_START_MS = 30_000
IDLE_MONTH_MICROS = 20_000_000

type State = control_pb2.HealthState.ValueType


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What is known of an employee that should be running."""

    silent_seconds: float = 0.0
    """Since it was heard last."""
    heartbeat_seconds: float = 5.0
    """How often it is to be heard."""
    crashes: int = 0
    unstarted: int = 0
    """Failed launches and ends in a row that were not of its own making, while it has no process."""
    why_unstarted: str = ""
    loop_lag_ms: float = 0.0
    away: Mapping[str, str] = field(default_factory=dict)
    """Parts that it cannot use, and why, as it says itself."""
    clock_ahead: float = 0.0
    """In seconds, of its clock over the database's."""
    paused: bool = False
    over_budget: str = ""
    """The budget that is used up, in words."""
    stuck: int = 0
    stuck_seconds: float = 0.0
    queued: int = 0
    attempts: int = 0
    failed: int = 0
    unsent: int = 0
    reviews: int = 0
    sidecars_failed: int = 0
    start_ms: int = 0
    month_idle_micros: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """`says` why, or '' when the rule does not hold."""

    kind: str
    state: State
    alerts: bool
    says: Callable[[Signs], str]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that holds, and why."""

    rule: Rule
    why: str


def judge(signs: Signs) -> list[Finding]:
    """The rules that hold, what weighs most first."""
    found = [Finding(rule, why) for rule in RULES if (why := rule.says(signs))]
    return sorted(found, key=lambda one: -one.rule.state)


def state_of(findings: list[Finding]) -> State:
    """The worst of them."""
    return max((one.rule.state for one in findings), default=control_pb2.HEALTH_STATE_HEALTHY)


def _lost(signs: Signs) -> str:
    if signs.silent_seconds <= MISSED_HEARTBEATS * signs.heartbeat_seconds:
        return ""
    return f"no heartbeat for {signs.silent_seconds:.0f} s; its process hangs or cannot reach the control plane"


def _crash_loop(signs: Signs) -> str:
    ended = f"its process ended or could not be launched {signs.crashes} times in a row; its log says why"
    return ended if signs.crashes >= CRASHES else ""


def _start_failing(signs: Signs) -> str:
    if signs.unstarted < CRASHES:
        return ""
    return f"it is not up after {signs.unstarted} tries, and not by its own making; lastly: {signs.why_unstarted}"


def _stuck_work(signs: Signs) -> str:
    if signs.paused or not signs.stuck:
        return ""
    return f"{_several(signs.stuck, 'step')} not moved, the oldest for {signs.stuck_seconds / 60:.0f} min"


def _hung_loop(signs: Signs) -> str:
    return _lag(signs) if signs.loop_lag_ms > MUCH_LAG_MS else ""


def _slow_loop(signs: Signs) -> str:
    return _lag(signs) if LAG_MS < signs.loop_lag_ms <= MUCH_LAG_MS else ""


def _lag(signs: Signs) -> str:
    return f"its event loop was held up for {signs.loop_lag_ms / 1000:.1f} s"


def _mostly_failing(signs: Signs) -> str:
    return _failures(signs) if _failed_share(signs) > MOSTLY_FAILED_SHARE else ""


def _partly_failing(signs: Signs) -> str:
    return _failures(signs) if FAILED_SHARE < _failed_share(signs) <= MOSTLY_FAILED_SHARE else ""


def _failed_share(signs: Signs) -> float:
    return signs.failed / signs.attempts if signs.attempts >= FEW_ATTEMPTS else 0.0


def _failures(signs: Signs) -> str:
    return f"{signs.failed} of {signs.attempts} attempts failed in the last {WITHIN_MINUTES} min"


def _queue_depth(signs: Signs) -> str:
    return f"{signs.queued} messages wait to be taken up" if signs.queued > MOST_QUEUED else ""


def _sending_failing(signs: Signs) -> str:
    failed = f"{signs.unsent} replies could not be sent in the last {WITHIN_MINUTES} min"
    return failed if signs.unsent >= UNSENT else ""


def _clock_skew(signs: Signs) -> str:
    return f"its clock is {said(signs.clock_ahead)}" if abs(signs.clock_ahead) > SKEW_SECONDS else ""


def _part_away(signs: Signs) -> str:
    return "; ".join(f"the {part} cannot be used: {why}" for part, why in sorted(signs.away.items()))


def _sidecars_failing(signs: Signs) -> str:
    failed = f"{signs.sidecars_failed} sidecars could not be launched in the last {WITHIN_MINUTES} min"
    return failed if signs.sidecars_failed >= SIDECARS_FAILED else ""


def _open_reviews(signs: Signs) -> str:
    return f"{signs.reviews} reviews wait for a person" if signs.reviews > MOST_REVIEWS else ""


def _cold_start(signs: Signs) -> str:
    return f"its last start took {signs.start_ms / 1000:.0f} s" if signs.start_ms > COLD_START_MS else ""


def _idle_cost(signs: Signs) -> str:
    dollars = f"${signs.month_idle_micros / 1e6:.0f} a month for what nobody asked it"
    return dollars if signs.month_idle_micros > IDLE_MONTH_MICROS else ""


def _several(count: int, what: str) -> str:
    return f"1 {what} has" if count == 1 else f"{count} {what}s have"


RULES = (
    Rule("employee_lost", control_pb2.HEALTH_STATE_LOST, True, _lost),
    Rule("crash_loop", control_pb2.HEALTH_STATE_UNHEALTHY, True, _crash_loop),
    Rule("start_failing", control_pb2.HEALTH_STATE_UNHEALTHY, True, _start_failing),
    Rule("stuck_work", control_pb2.HEALTH_STATE_UNHEALTHY, True, _stuck_work),
    Rule("loop_hung", control_pb2.HEALTH_STATE_UNHEALTHY, True, _hung_loop),
    Rule("steps_failing", control_pb2.HEALTH_STATE_UNHEALTHY, True, _mostly_failing),
    Rule("queue_depth", control_pb2.HEALTH_STATE_DEGRADED, True, _queue_depth),
    Rule("sending_failing", control_pb2.HEALTH_STATE_DEGRADED, True, _sending_failing),
    Rule("open_reviews", control_pb2.HEALTH_STATE_DEGRADED, True, _open_reviews),
    Rule("clock_skew", control_pb2.HEALTH_STATE_DEGRADED, True, _clock_skew),
    Rule("part_away", control_pb2.HEALTH_STATE_DEGRADED, False, _part_away),
    Rule("sidecars_failing", control_pb2.HEALTH_STATE_DEGRADED, False, _sidecars_failing),
    Rule("loop_slow", control_pb2.HEALTH_STATE_DEGRADED, False, _slow_loop),
    Rule("steps_partly_failing", control_pb2.HEALTH_STATE_DEGRADED, False, _partly_failing),
    Rule("over_budget", control_pb2.HEALTH_STATE_DEGRADED, False, lambda signs: signs.over_budget),
    Rule("paused", control_pb2.HEALTH_STATE_DEGRADED, False, lambda signs: "it is paused" if signs.paused else ""),
    Rule("cold_start", control_pb2.HEALTH_STATE_HEALTHY, True, _cold_start),
    Rule("idle_cost", control_pb2.HEALTH_STATE_HEALTHY, True, _idle_cost),
)
