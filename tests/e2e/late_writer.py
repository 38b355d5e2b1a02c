"""A process that writes late, as one does that was frozen or cut off while its successor was launched."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from agent.errors import Superseded, TransitionRefused
from agent.identity import Identity
from agent.pipeline.transitions import Transitions
from agent.pipeline.units import Machine, Move, Place, Record, Unit
from empla.store.connect import Pool, connect, translated
from empla.store.errors import StoreUnavailable

PAUSE_SECONDS = 0.1
WRITE_SECONDS = 5.0
_FAILED = Record(stage="work", outcome="failed", duration_ms=1, error_class="Late", error="too late")
_IN_WORK = """
SELECT 'message' AS machine, message_id AS unit_id, message_id, processing_state AS state, step, attempt,
  employee_id, tenant_id, epoch
FROM inbound_messages
WHERE ended_at IS NULL AND epoch IS NOT NULL AND processing_state IN ('received', 'analyzing', 'merging')
UNION ALL
SELECT 'worker', worker_id, message_id, state, step, attempt, employee_id, tenant_id, epoch
FROM message_workers WHERE state = 'running' AND epoch IS NOT NULL
"""


class LateWriter:
    """Writes from another thread to the database at `dsn` until it is told to end.

    `refused` counts what it could not write, `wrongs` tells what it could.
    It tries what an earlier launch would write of a unit in work, which the fence must refuse, and what this launch would
    write of another attempt, which the compare-and-set must refuse.
    """

    def __init__(self, dsn: Callable[[], str], seed: int) -> None:
        self._dsn, self._random = dsn, Random(seed)
        self.refused: Counter[str] = Counter()
        self.wrongs: list[str] = []

    def run(self, over: threading.Event) -> None:
        """Write until it is over; while the database is away, nothing."""
        asyncio.run(self._run(over))

    async def _run(self, over: threading.Event) -> None:
        while not over.is_set():
            try:
                dsn = await asyncio.to_thread(self._dsn)
                async with connect(dsn, application_name="late") as pool:
                    while not over.is_set():
                        async with asyncio.timeout(WRITE_SECONDS):
                            await self._write(pool)
                        await asyncio.sleep(PAUSE_SECONDS)
            except (StoreUnavailable, FileNotFoundError, IndexError, TimeoutError):
                await asyncio.sleep(PAUSE_SECONDS)

    async def _write(self, pool: Pool) -> None:
        with translated():
            rows = await pool.fetch(_IN_WORK)
        if not rows:
            return
        row = self._random.choice(rows)
        for who, epoch, attempt in (
            ("an earlier launch", row["epoch"] - 1, row["attempt"]),
            ("an attempt that is not", row["epoch"], row["attempt"] + 7),
        ):
            identity = Identity(row["employee_id"], row["tenant_id"], epoch)
            try:
                await (await Transitions.load(pool, identity)).commit(_late(row, attempt))
            except (Superseded, TransitionRefused):
                self.refused[who] += 1
            else:
                self.wrongs.append(f"{row['message_id']}: {who} moved it at {row['state']} {row['step']}")


def _late(row: Any, attempt: int) -> Move:
    machine: Machine = row["machine"]
    place = Place(row["state"], row["step"])
    unit = Unit(machine=machine, unit_id=row["unit_id"], message_id=row["message_id"], place=place, attempt=attempt)
    return Move(unit=unit, to=place, begins=False, record=_FAILED)
