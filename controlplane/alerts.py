"""Alerts: each thing that needs somebody's attention fires once when it has lasted, and is cleared once when it is gone.

What is seen, when it was seen first, what has fired and what is still to be told of it stand in tables: several control
planes, or one that is started anew, fire nothing twice.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from controlplane.clock import SKEW_SECONDS, said
from controlplane.errors import Invalid
from controlplane.planes import LEASE_SECONDS, RENEW_SECONDS
from controlplane.rounds import every
from controlplane.vitals import Judged, Vitals
from empla.store.connect import Pool, load_queries, translated
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb

log = logging.getLogger(__name__)

SQL = load_queries("controlplane", "alerts.sql")
ROUND_SECONDS = 5.0
DISK_FREE_SHARE = 0.1
DISK_FREE_BYTES = 1 << 30
MANY_EMPLOYEES = 1_000
OF_THE_CONTROL_PLANE = ("disk_nearly_full", "many_employees", "control_plane_clock")
"""The kinds that are of no employee."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that needs attention, of an employee or (None) of the control plane."""

    kind: str
    employee_id: UUID | None
    detail: str


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds something lasts before it fires, and is gone before it is cleared."""

    fires: float
    clears: float


class Alerts:
    """Looks at everybody every 5 s. `home` is where the disk may fill; `targets` are who is told, by `on_change`."""

    def __init__(
        self, *, pool: Pool, vitals: Vitals, home: Path, patience: Patience, targets: Iterable[str] = ()
    ) -> None:
        self._pool, self._vitals, self._home, self._patience = pool, vitals, home, patience
        self._targets = list(targets)
        self.on_change: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """Look until cancelled."""
        await every(ROUND_SECONDS, self.round, name="looking for what needs attention")

    async def round(self) -> None:
        """Look once. Raises `StoreUnavailable`."""
        await self._vitals.look()
        everybody = self._vitals.everybody()
        if everybody is None:
            return
        seen = [*_of_employees(everybody), *_of_all(everybody), *await asyncio.to_thread(_of_disk, self._home)]
        seen += await self._of_clocks()
        unsure = [one.record.employee_id for one in everybody if _is_unsure(one)]
        await self._keep(seen, unsure)

    async def _keep(self, seen: list[Seen], unsure: list[UUID]) -> None:
        kinds, employees = [one.kind for one in seen], [one.employee_id for one in seen]
        patience = self._patience
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                details = [one.detail for one in seen]
                await connection.execute(SQL.see, [new_id() for _ in seen], kinds, employees, details)
                await connection.execute(SQL.miss, kinds, employees, unsure)
                fired = await connection.fetch(SQL.fire, patience.fires, self._targets)
                cleared = await connection.fetch(SQL.clear, patience.clears, self._targets)
        for row in fired:
            log.warning("alert %s of %s: %s", row["kind"], subject(row), row["detail"])
        for row in cleared:
            log.info("alert %s of %s is over; it was: %s", row["kind"], subject(row), row["detail"])
        if fired or cleared:
            self.on_change()

    async def _of_clocks(self) -> list[Seen]:
        with translated():
            rows = await self._pool.fetch(SQL.clocks, SKEW_SECONDS, LEASE_SECONDS + RENEW_SECONDS)
        off = [f"the clock of the control plane at {row['address']} is {said(row['skew'])}" for row in rows]
        return [Seen("control_plane_clock", None, "; ".join(off))] if off else []

    async def open(self, tenant_id: UUID | None) -> dict[str, int]:
        """How many of each kind are open."""
        with translated():
            return {row["kind"]: row["alerts"] for row in await self._pool.fetch(SQL.open, tenant_id)}

    async def page(
        self, tenant_id: UUID | None, employee_id: UUID | None, *, open_only: bool, size: int, token: str
    ) -> tuple[list[pb.Alert], str]:
        """A page of alerts, open ones first; and the token of the next page."""
        seen = _offset(token)
        with translated():
            rows = await self._pool.fetch(SQL.page, tenant_id, employee_id, open_only, size, seen)
        return [_alert(row) for row in rows], str(seen + size) if len(rows) == size else ""


def subject(row: Any) -> str:
    """Whose alert a row is, in words."""
    return f"{row['tenant']}/{row['employee']}" if row["employee"] else "the control plane"


def _is_unsure(one: Judged) -> bool:
    """Whether what is open of an employee stays as it is: it should run, and nobody can say yet how it fares."""
    return one.findings is None and one.record.desired_state == "running"


def _of_employees(everybody: list[Judged]) -> Iterator[Seen]:
    for one in everybody:
        for finding in one.findings or ():
            if finding.rule.alerts:
                yield Seen(finding.rule.kind, one.record.employee_id, finding.why)


def _of_all(everybody: list[Judged]) -> Iterator[Seen]:
    if len(everybody) > MANY_EMPLOYEES:
        yield Seen(
            "many_employees", None, f"there are {len(everybody)} employees, more than one control plane is made for"
        )


def _of_disk(home: Path) -> list[Seen]:
    disk = shutil.disk_usage(home)
    if disk.free > DISK_FREE_BYTES and disk.free > disk.total * DISK_FREE_SHARE:
        return []
    left = f"{disk.free / 2**30:.1f} of {disk.total / 2**30:.0f} GiB are free below {home}"
    return [Seen("disk_nearly_full", None, left)]


def _offset(token: str) -> int:
    if token and not (token.isascii() and token.isdigit() and len(token) < 10):
        raise Invalid("the page token is none of ours", fields={"page_token": "unknown"})
    return int(token or 0)


def _alert(row: Any) -> pb.Alert:
    alert = pb.Alert(
        alert_id=str(row["alert_id"]),
        kind=row["kind"],
        tenant=row["tenant"] or "",
        employee=row["employee"] or "",
        employee_id=str(row["employee_id"] or ""),
        detail=row["detail"],
    )
    for name in ("since", "fired_at", "cleared_at"):
        if row[name] is not None:
            getattr(alert, name).FromDatetime(row[name])
    return alert
