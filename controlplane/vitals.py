"""Vitals: what is known of each employee, brought together from its stream, its process and the tables, and judged."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from controlplane.employees import EmployeeRecord, Employees
from controlplane.gateway import Streams
from controlplane.health import CRASHES, WITHIN_MINUTES, Finding, Signs, judge, state_of
from controlplane.lifecycle import Lifecycle
from controlplane.rounds import every
from controlplane.spending import Spending
from empla.store.connect import Pool, load_queries, translated
from empla.v1 import control_pb2 as pb

SQL = load_queries("controlplane", "vitals.sql")
STUCK_MINUTES = 10
"""Twice what the longest step of the pipeline may take."""
BACKGROUND_STUCK_MINUTES = 70
"""A stretch of background work may take an hour."""
LOOK_SECONDS = 5.0
TRIED_SECONDS = 30.0
"""How often attempts are counted: those of busy employees are many."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An employee as of the last look, with the rules that hold; None: it is not to run, or only starting."""

    record: EmployeeRecord
    findings: list[Finding] | None


class Vitals:
    """Judges employees as all control planes do, whichever watches them; `sidecars_failed` counts launches that failed."""

    def __init__(
        self,
        *,
        pool: Pool,
        employees: Employees,
        lifecycle: Lifecycle,
        streams: Streams,
        sidecars_failed: Callable[[UUID], int],
        heartbeat_ms: int,
    ) -> None:
        self._pool, self._employees, self._lifecycle, self._streams = pool, employees, lifecycle, streams
        self._sidecars_failed, self._heartbeat_seconds = sidecars_failed, heartbeat_ms / 1000
        self._spending = Spending(pool, streams.clock.now)
        self._records: list[EmployeeRecord] | None = None
        self._work: dict[UUID, Any] = {}
        self._tried: dict[UUID, Any] = {}
        self._tried_at = float("-inf")

    async def run(self) -> None:
        """Look in rounds until cancelled; while this control plane leads, whoever looks for alerts does."""
        await every(LOOK_SECONDS, self._look_on, name="looking at how employees fare")

    async def _look_on(self) -> None:
        if not self._lifecycle.leads:
            await self.look()

    async def look(self) -> None:
        """Read the tables anew. Raises `StoreUnavailable`."""
        with translated():
            rows = await self._pool.fetch(SQL.work, STUCK_MINUTES, BACKGROUND_STUCK_MINUTES)
            self._work = {row["employee_id"]: row for row in rows}
            if time.monotonic() - self._tried_at > TRIED_SECONDS:
                rows = await self._pool.fetch(SQL.tried, WITHIN_MINUTES)
                self._tried, self._tried_at = {row["employee_id"]: row for row in rows}, time.monotonic()
        await self._spending.look()
        self._records = None if self._lifecycle.leads else await self._employees.everybody()

    def everybody(self) -> list[Judged] | None:
        """All employees that there are, judged; None as long as this control plane has looked at none."""
        records = self._lifecycle.records if self._lifecycle.leads else self._records
        return None if records is None else [Judged(record, self.findings(record)) for record in records]

    def findings(self, record: EmployeeRecord) -> list[Finding] | None:
        """The rules that hold for an employee; None when it is not to run, or nothing can be said of it yet."""
        signs = self._signs(record)
        return None if signs is None else judge(signs)

    def show(self, record: EmployeeRecord, employee: pb.Employee) -> None:
        """Put how it fares into what is told of an employee."""
        findings = self.findings(record)
        if findings is not None:
            employee.health_state = state_of(findings)
            employee.health_reasons.extend(one.why for one in findings if one.rule.state > pb.HEALTH_STATE_HEALTHY)
        employee.figures.CopyFrom(self.figures(record))

    def figures(self, record: EmployeeRecord) -> pb.EmployeeFigures:
        """What was measured of an employee."""
        stream, (month, idle) = self._streams.seen(record.employee_id), self._spending.month_of(record)
        return pb.EmployeeFigures(
            start_ms=_start_ms(record),
            idle_memory_bytes=stream.heartbeat.idle_memory_bytes if stream and stream.heartbeat else 0,
            month_cost_micros=month,
            month_idle_cost_micros=idle,
        )

    def _signs(self, record: EmployeeRecord) -> Signs | None:
        life = self._lifecycle.life_of(record)
        if life is None or (life.starting and max(life.crashes, life.unstarted) < CRASHES):
            return None
        stream = self._streams.seen(record.employee_id)
        beat = stream.heartbeat if stream else None
        return Signs(
            silent_seconds=life.silent_seconds,
            heartbeat_seconds=self._heartbeat_seconds,
            crashes=life.crashes,
            unstarted=life.unstarted,
            why_unstarted=record.failures.reason,
            loop_lag_ms=beat.loop_lag_ms if beat else 0.0,
            away=dict(beat.away) if beat else {},
            clock_ahead=beat.clock_ahead_seconds if beat else 0.0,
            paused=record.paused,
            over_budget=_over_budget(record),
            sidecars_failed=self._sidecars_failed(record.employee_id),
            start_ms=_start_ms(record),
            month_idle_micros=self._spending.month_of(record)[1],
            **_counted(self._work.get(record.employee_id)),
            **_counted(self._tried.get(record.employee_id)),
        )


def _counted(row: Any) -> dict[str, Any]:
    """What a row says beside whose it is."""
    return {} if row is None else {name: value for name, value in row.items() if name != "employee_id"}


def _over_budget(record: EmployeeRecord) -> str:
    """In words, that the budget of its day or its tenant's is spent; '' when neither is."""
    cause = record.pause["cause"] if record.pause else ""
    return (
        f"the day's budget of {'its tenant' if cause == 'tenant_budget' else 'this employee'} is spent"
        if cause.endswith("_budget")
        else ""
    )


def _start_ms(record: EmployeeRecord) -> int:
    """From its launch until it was attached; 0 when that is not known."""
    if record.launched_at is None or record.attached_at is None:
        return 0
    return max(0, round((record.attached_at - record.launched_at).total_seconds() * 1000))
