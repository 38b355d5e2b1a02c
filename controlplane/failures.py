"""The failures of employees on record, which outlive the control plane that leads, and which every other one tells."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from controlplane.backoff import Backoff, Ended
from controlplane.planes import Planes
from empla.store.connect import Pool, load_queries, translated
from empla.v1 import control_pb2

SQL = load_queries("controlplane", "failures.sql")


@dataclass(frozen=True, slots=True)
class Failures:
    """An employee's, as they are on record; times are the database's."""

    restarts: int = 0
    failures: int = 0
    own: int = 0
    reason: str = ""
    """Of the last one; '' if there was none."""
    ended_at: datetime | None = None
    next_at: datetime | None = None
    wait: float = 0.0
    """Seconds until `next_at`, as of when this was read."""


@dataclass
class Failing:
    """An employee's failures as the control plane that leads knows them."""

    backoff: Backoff = field(default_factory=Backoff)
    restarts: int = 0
    ended: Ended | None = None
    """The last failure that this control plane has seen itself."""
    unnoted: bool = False
    """They are not on record yet."""

    def recall(self, kept: Failures) -> None:
        """Go by the record, if it is another: some other control plane has led, or an operator has started the employee."""
        mine = self.restarts, self.backoff.failures, self.backoff.own
        if not self.unnoted and mine != (kept.restarts, kept.failures, kept.own):
            self.restarts = kept.restarts
            self.backoff = Backoff(kept.failures, kept.own, time.monotonic() + kept.wait)

    def failed(self, reason: str, *, lived: float = 0.0, own: bool = True) -> None:
        """It ended without being asked, or was not started."""
        self.ended, self.unnoted = Ended(reason, time.monotonic()), True
        self.backoff.failed(lived=lived, own=own)

    def forgive(self) -> None:
        """An operator wants something of it: what failed before delays it no longer, even where that is noted just now."""
        self.backoff.reset()
        self.unnoted = self.ended is not None


async def note(pool: Pool, planes: Planes | None, failing: Mapping[UUID, Failing]) -> None:
    """Put on record what is not, if this control plane leads; raises `NotLeading`, and `StoreUnavailable`."""
    now, news = time.monotonic(), {key: one for key, one in failing.items() if one.unnoted}
    if not news:
        return
    for one in news.values():
        one.unnoted = False  # what fails meanwhile is noted the next time
    try:
        await _written(pool, planes, SQL.note, *_columns(news, now))
    except BaseException:  # they are still to be noted, a second time if need be
        for one in news.values():
            one.unnoted = True
        raise


async def note_well(pool: Pool, planes: Planes | None, employee_id: UUID) -> None:
    """Put on record that an employee lives well, if this control plane leads; raises as `note`."""
    await _written(pool, planes, SQL.forgive, employee_id)


async def _written(pool: Pool, planes: Planes | None, query: str, *values: Any) -> None:
    with translated():
        async with pool.acquire() as connection, connection.transaction():
            if planes is not None:
                await planes.check(connection)
            await connection.execute(query, *values)


def _columns(news: Mapping[UUID, Failing], now: float) -> tuple[list[Any], ...]:
    ended = [one.ended or Ended("", now) for one in news.values()]
    backoffs = [one.backoff for one in news.values()]
    return (
        list(news),
        [one.restarts for one in news.values()],
        [one.failures for one in backoffs],
        [one.own for one in backoffs],
        [one.reason.encode(errors="replace").decode().replace("\0", " ") for one in ended],  # whatever an error says
        [now - one.at for one in ended],
        [max(0.0, one.not_before - now) for one in backoffs],
    )


def observed_failing(failures: int, own: int) -> control_pb2.ObservedState.ValueType:
    """What is to be seen of an employee that should run and has no process."""
    if not failures:
        return control_pb2.OBSERVED_STATE_STARTING
    looping = Backoff(failures, own).crash_looping
    return control_pb2.OBSERVED_STATE_CRASH_LOOPING if looping else control_pb2.OBSERVED_STATE_BACKING_OFF
