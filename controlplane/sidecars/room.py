"""Room for sidecars: how many an employee, a tenant and this host may have, and who waits for one to end."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from controlplane.errors import Exhausted

RETRY_SECONDS = 5.0
_WHOSE = {"employee": "this employee has", "tenant": "this tenant has", "host": "this host has"}


@dataclass(frozen=True, slots=True)
class Party:
    """For whom room is taken."""

    employee_id: UUID
    tenant_id: UUID


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that one employee, one tenant and all together may have."""

    employee: int
    tenant: int
    host: int


@dataclass(slots=True)
class Tally:
    """Who has how many."""

    employees: Counter[UUID] = field(default_factory=Counter)
    tenants: Counter[UUID] = field(default_factory=Counter)
    total: int = 0

    def add(self, party: Party, count: int) -> None:
        """Count `count` more, or fewer."""
        for counter, key in ((self.employees, party.employee_id), (self.tenants, party.tenant_id)):
            counter[key] += count
            if not counter[key]:
                del counter[key]
        self.total += count

    def full(self, party: Party, bounds: Bounds) -> str:
        """Which bound leaves no room for one more: employee, tenant or host; '' for none."""
        if self.employees[party.employee_id] >= bounds.employee:
            return "employee"
        if self.tenants[party.tenant_id] >= bounds.tenant:
            return "tenant"
        return "host" if self.total >= bounds.host else ""


@dataclass(eq=False, slots=True)
class _Waiter:
    party: Party
    granted: asyncio.Future[None]


class Room:
    """Gives room within `bounds`, to others in the order in which they came; at most `queue` wait, `seconds` each.

    Whoever waits for a bound of its own is passed by those whom it does not concern.
    """

    def __init__(self, bounds: Bounds, queue: Bounds, seconds: float) -> None:
        self._bounds, self._queue, self._seconds = bounds, queue, seconds
        self._taken, self._waiting = Tally(), Tally()
        self._waiters: list[_Waiter] = []

    def hold(self, party: Party) -> None:
        """Count one that is there already, whatever the bounds say now."""
        self._taken.add(party, 1)

    def clear(self) -> None:
        """None is there any more, as far as is known here. Those who wait do so in vain."""
        self._taken = Tally()

    async def take(self, party: Party) -> None:
        """Take room for one, waiting for it if need be; raises `Exhausted`, which names the bound."""
        # Nobody who waits has room, or it would have it: so nobody is overtaken who could go on.
        if not self._taken.full(party, self._bounds):
            self._taken.add(party, 1)
            return
        if level := self._waiting.full(party, self._queue):
            raise self._exhausted(party, f"and {_WHOSE[level]} {getattr(self._queue, level)} waiting for one")
        await self._wait(party)

    async def _wait(self, party: Party) -> None:
        waiter = _Waiter(party, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._waiting.add(party, 1)
        try:
            async with asyncio.timeout(self._seconds):
                await waiter.granted
        except BaseException as error:
            if waiter.granted.done() and not waiter.granted.cancelled():  # it was granted in the same moment
                self.give(party)
            if isinstance(error, TimeoutError):
                raise self._exhausted(party, f"and none has ended within {self._seconds:g} s") from error
            raise
        finally:
            self._waiters.remove(waiter)
            self._waiting.add(party, -1)

    def give(self, party: Party) -> None:
        """Give back the room of one that is gone."""
        self._taken.add(party, -1)
        for waiter in self._waiters:
            if not waiter.granted.done() and not self._taken.full(waiter.party, self._bounds):
                self._taken.add(waiter.party, 1)
                waiter.granted.set_result(None)

    def _exhausted(self, party: Party, more: str) -> Exhausted:
        level = self._taken.full(party, self._bounds) or "host"
        most = getattr(self._bounds, level)
        return Exhausted(
            f"{_WHOSE[level]} {most} sidecars already, as many as EMPLA_SIDECARS_PER_{level.upper()} allows, {more}",
            reason=f"SIDECARS_OF_{level.upper()}",
            retry_after=RETRY_SECONDS,
        )
