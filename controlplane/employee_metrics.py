"""Metrics of the employees: how many fare how, and what was measured of each."""

from collections import Counter

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from controlplane.health import state_of
from controlplane.vitals import Judged, Vitals
from empla.v1 import control_pb2 as pb

MOST_EMPLOYEES = 1_000
"""Of so many each is told of by itself, lest there be labels without end."""
_LABELS = ("tenant", "employee")
_WORDS = {state: name.removeprefix("HEALTH_STATE_").lower() for name, state in pb.HealthState.items()}
_WORDS[pb.HEALTH_STATE_UNSPECIFIED] = "not_running"


def of_employees(vitals: Vitals) -> list[Metric]:
    """All of them, as of the last look; nothing before the first one."""
    if (everybody := vitals.everybody()) is None:
        return []
    counts = Counter(map(_state, everybody))
    employees = GaugeMetricFamily("empla_employees", "Employees by how they fare.", labels=("health",))
    for state, word in _WORDS.items():
        employees.add_metric((word,), counts[state])
    return [employees, *_of_each(everybody[:MOST_EMPLOYEES], vitals)]


def _of_each(everybody: list[Judged], vitals: Vitals) -> list[Metric]:
    said = "How an employee fares: 1 healthy, 2 degraded, 3 unhealthy, 4 lost, 0 not running."
    health = GaugeMetricFamily("empla_employee_health", said, labels=_LABELS)
    restarts = CounterMetricFamily("empla_employee_restarts", "Restarts that nobody asked for.", labels=_LABELS)
    start = GaugeMetricFamily("empla_employee_start_seconds", "How long the last start took.", labels=_LABELS)
    memory = GaugeMetricFamily("empla_employee_idle_memory_bytes", "Resident with nothing in work.", labels=_LABELS)
    cost = GaugeMetricFamily("empla_employee_month_cost_dollars", "What a month is estimated to cost.", labels=_LABELS)
    idle = GaugeMetricFamily("empla_employee_month_idle_cost_dollars", "Of that, what nobody asked.", labels=_LABELS)
    for one in everybody:
        labels, figures = (one.record.tenant, one.record.name), vitals.figures(one.record)
        health.add_metric(labels, _state(one))
        restarts.add_metric(labels, one.record.failures.restarts)
        start.add_metric(labels, figures.start_ms / 1000)
        memory.add_metric(labels, figures.idle_memory_bytes)
        cost.add_metric(labels, figures.month_cost_micros / 1e6)
        idle.add_metric(labels, figures.month_idle_cost_micros / 1e6)
    return [health, restarts, start, memory, cost, idle]


def _state(one: Judged) -> int:
    return pb.HEALTH_STATE_UNSPECIFIED if one.findings is None else state_of(one.findings)
