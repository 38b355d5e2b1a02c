"""Metrics in the format that Prometheus reads: what all steps came to since this process began, and what waits now.

Each control plane tells of the whole installation, so that it is enough to ask one; who asks several takes the maximum.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from controlplane.alerts import OF_THE_CONTROL_PLANE, Alerts
from controlplane.employee_metrics import of_employees
from controlplane.health import RULES
from controlplane.messages import Messages
from controlplane.vitals import Vitals
from empla.store.connect import Pool, load_queries, translated

SQL = load_queries("controlplane", "metrics.sql")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SETTLED = timedelta(seconds=10)
"""After so long every attempt that ended is in the table, with clocks that are not further apart."""
MOST_STEPS = 50
_STEP = re.compile(r"[a-z][a-z_]{0,39}")


@dataclass(slots=True)
class _Step:
    """What one step came to."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reached: Counter[int] = field(default_factory=Counter)  # attempts by how many of `SECONDS` they took
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    dollars: float = 0.0

    def add(self, row: Any) -> None:
        self.outcomes[row["outcome"]] += row["attempts"]
        self.reached[row["reached"]] += row["attempts"]
        self.seconds += row["seconds"]
        self.tokens_in += row["tokens_in"]
        self.tokens_out += row["tokens_out"]
        self.dollars += row["dollars"]


class Metrics:
    """Counts from the tables, so that no attempt is missed or counted twice, whichever process made it."""

    def __init__(
        self,
        pool: Pool,
        messages: Messages,
        vitals: Vitals,
        alerts: Alerts,
        *,
        leads: Callable[[], bool] = lambda: True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._pool, self._messages, self._vitals, self._alerts = pool, messages, vitals, alerts
        self._leads = leads
        self._now, self._until = now, now()
        self._steps: dict[tuple[str, str], _Step] = {}
        self._counting = asyncio.Lock()

    async def text(self) -> bytes:
        """All metrics as of a moment ago. Raises `StoreUnavailable`."""
        async with self._counting:
            await self._count()
            waiting = await self._messages.counts(None)
            shown = [*_of_steps(self._steps), *_of_waiting(waiting), *of_employees(self._vitals)]
            shown += [_of_alerts(await self._alerts.open(None)), _of_lease(leads=self._leads())]
            return generate_latest(_Shown(shown))

    async def _count(self) -> None:
        until = self._now() - SETTLED
        if until <= self._until:
            return
        with translated():
            rows = await self._pool.fetch(SQL.attempts_between, self._until, until, list(SECONDS))
        self._until = until
        for row in rows:
            self._steps.setdefault(self._known(row["stage"], row["step"]), _Step()).add(row)

    def _known(self, stage: str, step: str) -> tuple[str, str]:
        """The labels of a step. An employee's process writes the names: neither their form nor their number is trusted."""
        labels = stage, step
        if labels in self._steps or (_STEP.fullmatch(step) and len(self._steps) < MOST_STEPS):
            return labels
        return stage, "other"


class _Shown(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


def _of_steps(steps: dict[tuple[str, str], _Step]) -> list[Metric]:
    attempts = CounterMetricFamily(
        "empla_step_attempts", "Attempts of steps that ended.", labels=("stage", "step", "outcome")
    )
    took = HistogramMetricFamily("empla_step_duration_seconds", "How long attempts took.", labels=("stage", "step"))
    tokens = CounterMetricFamily(
        "empla_step_tokens", "Tokens that models read and wrote.", labels=("stage", "step", "direction")
    )
    cost = CounterMetricFamily(
        "empla_step_cost_dollars", "What models cost, those without a price left out.", labels=("stage", "step")
    )
    for labels, step in steps.items():
        for outcome, number in step.outcomes.items():
            attempts.add_metric((*labels, outcome), number)
        took.add_metric(labels, buckets=_buckets(step.reached), sum_value=step.seconds)
        tokens.add_metric((*labels, "in"), step.tokens_in)
        tokens.add_metric((*labels, "out"), step.tokens_out)
        cost.add_metric(labels, step.dollars)
    return [attempts, took, tokens, cost]


def _buckets(reached: Counter[int]) -> list[tuple[str, float]]:
    """How many took less than each of `SECONDS`, and all of them."""
    names = (*map(str, SECONDS), "+Inf")
    return [(name, sum(reached[lower] for lower in range(index + 1))) for index, name in enumerate(names)]


def _of_waiting(counts: Any) -> list[Metric]:
    return [
        GaugeMetricFamily("empla_messages_live", "Messages that are not ended.", counts["live_messages"]),
        GaugeMetricFamily("empla_reviews_open", "Reviews that wait for a person.", counts["open_reviews"]),
        GaugeMetricFamily("empla_outbox_queued", "Replies that are to be sent.", counts["queued_outbox"]),
    ]


def _of_alerts(numbers: dict[str, int]) -> Metric:
    alerts = GaugeMetricFamily("empla_alerts_open", "Alerts that have fired and are not over.", labels=("kind",))
    for kind in (*(rule.kind for rule in RULES if rule.alerts), *OF_THE_CONTROL_PLANE):
        alerts.add_metric((kind,), numbers.get(kind, 0))
    return alerts


def _of_lease(*, leads: bool) -> Metric:
    return GaugeMetricFamily("empla_leader", "Whether this control plane leads: of several one does.", int(leads))
