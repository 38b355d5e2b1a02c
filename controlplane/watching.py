"""Employees for those who watch them: each as it is, then what changes."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Self
from uuid import UUID

from controlplane.employees import EmployeeRecord, Employees
from controlplane.errors import Exhausted
from controlplane.shown import glance
from empla.v1 import control_pb2 as pb

LOOK_SECONDS = 1.0
MAX_WATCHERS = 64
_PAGE = 1000
_MEASURED: tuple[Literal["heartbeat_at", "memory_bytes", "loop_lag_ms", "reported"], ...] = (
    "heartbeat_at", "memory_bytes", "loop_lag_ms", "reported",
)  # fmt: skip
"""What differs with every heartbeat, and is no change for that."""
_DERIVED: tuple[Literal["figures", "health_reasons"], ...] = ("figures", "health_reasons")
"""What differs with the moment: costs of a month so far, and how long something lasts."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An employee as it was seen, and what of that a later one is compared with."""

    tenant_id: UUID
    employee: pb.Employee
    essence: pb.Employee

    @classmethod
    def of(cls, tenant_id: UUID, employee: pb.Employee) -> Self:
        """`employee` as it is now."""
        essence = pb.Employee()
        essence.CopyFrom(employee)
        for derived in _DERIVED:
            essence.ClearField(derived)
        if employee.HasField("health"):
            for name in _MEASURED:
                essence.health.ClearField(name)
        return cls(tenant_id, employee, essence)


class Watching:
    """Looks at everybody once in a while, however many watch; while nobody does, it does not look."""

    def __init__(self, employees: Employees, shown: Callable[[EmployeeRecord], pb.Employee]) -> None:
        self._employees, self._shown = employees, shown
        self._seen: Mapping[UUID, Seen] = {}
        self._looked_at = -LOOK_SECONDS
        self._looking = asyncio.Lock()
        self._watchers = 0

    async def events(self, tenant_id: UUID | None) -> AsyncGenerator[pb.EmployeeEvent]:
        """Each employee of a tenant (None: of all), that this was all, and what changes; without an end.

        Whoever reads slowly misses states in between, and never the last one. Raises `Exhausted` when too many watch.
        """
        with self._counted():
            told: dict[UUID, Seen] = {}
            complete = False
            while True:
                seen = await self._latest()
                wanted = {key: one for key, one in seen.items() if tenant_id in (None, one.tenant_id)}
                for event in _differences(told, wanted):
                    yield event
                if not complete:
                    yield pb.EmployeeEvent(complete=pb.WatchComplete())
                told, complete = wanted, True
                await asyncio.sleep(LOOK_SECONDS)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._watchers >= MAX_WATCHERS:
            why = f"{MAX_WATCHERS} watch already, which is as many as may"
            raise Exhausted(why, reason="TOO_MANY_WATCHERS", retry_after=10)
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    async def _latest(self) -> Mapping[UUID, Seen]:
        """Everybody, as seen at most one interval ago."""
        async with self._looking:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._seen = {key: one async for key, one in self._everybody()}
                self._looked_at = time.monotonic()
            return self._seen

    async def _everybody(self) -> AsyncIterator[tuple[UUID, Seen]]:
        """Who is there; of whom nothing changed, what was seen before."""
        after = ("", UUID(int=0))
        while True:
            page = await self._employees.list_of(None, after=after, limit=_PAGE)
            for record in page:
                now = Seen.of(record.tenant_id, glance(self._shown(record)))
                before = self._seen.get(record.employee_id)
                yield record.employee_id, before if before is not None and before.essence == now.essence else now
                after = (record.name, record.employee_id)
            if len(page) < _PAGE:
                return


def _differences(told: Mapping[UUID, Seen], seen: Mapping[UUID, Seen]) -> Iterator[pb.EmployeeEvent]:
    for key, one in seen.items():
        if told.get(key) is not one:
            yield pb.EmployeeEvent(changed=one.employee)
    for key in told.keys() - seen.keys():
        yield pb.EmployeeEvent(deleted=told[key].employee)
