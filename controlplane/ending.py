"""The end of a launch that concerns two control planes: one watches its process, and another one has its stream."""

import asyncio
import time
from uuid import UUID

from controlplane.errors import LaunchFailed
from controlplane.gateway import Stream, Streams
from controlplane.planes import Others
from empla.store.connect import Pool, load_queries, translated
from empla.v1 import gateway_pb2 as pb

SQL = load_queries("controlplane", "ending.sql")
LOOK_SECONDS = 0.1
END_SECONDS = 30.0
"""What an end may take besides the drain: giving work back, signals, and a control plane that takes the lease meanwhile."""
MISSED_HEARTBEATS = 6
SILENT_SECONDS = 30.0
"""Twice the time after which an employee notices that its stream is half open, and attaches again."""


class Ending:
    """Drains employees wherever they are attached, and has launches ended by the control plane that leads."""

    def __init__(self, pool: Pool, streams: Streams, others: Others) -> None:
        self._pool, self._streams, self._others = pool, streams, others

    async def drain(self, employee_id: UUID, epoch: int, seconds: float) -> bool:
        """Tell a launch to finish its work; whether it is attached anywhere to be told."""
        seen = self._streams.seen(employee_id)
        if seen is None or seen.launch.epoch != epoch:
            return False
        if isinstance(seen, Stream):
            seen.send(_drain(seconds))
            return True
        with translated():
            await self._pool.execute(SQL.drain, employee_id, seconds)
        self._others.tell("drain", employee_id)
        return True

    async def drain_here(self, employee_id: UUID) -> None:
        """Another control plane says that somebody wants a launch ended, which may be attached here."""
        if stream := self._streams.get(employee_id):
            with translated():
                seconds = await self._pool.fetchval(SQL.draining, employee_id, stream.launch.epoch)
            if seconds is not None:
                stream.send(_drain(seconds))

    async def have_ended(self, employee_id: UUID, drain_seconds: float) -> None:
        """Have the control plane that leads end the present launch, if there is one; returns when it is gone for certain.

        Raises `LaunchFailed` when that takes too long; the wish stays, and is fulfilled by whichever leads then.
        """
        with translated():
            epoch = await self._pool.fetchval(SQL.drain, employee_id, drain_seconds)
        if epoch is None:
            return
        self._others.tell("reconcile")
        end = time.monotonic() + drain_seconds + END_SECONDS
        while await self._goes_on(employee_id, epoch):
            if time.monotonic() > end:
                raise LaunchFailed(
                    "the control plane that leads has not ended the employee yet; it does so when it can"
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def _goes_on(self, employee_id: UUID, epoch: int) -> bool:
        with translated():
            return await self._pool.fetchrow(SQL.goes_on, employee_id, epoch) is not None


def lost_after(heartbeat_ms: int) -> float:
    """Seconds without a sign of life after which an employee is of no use to anybody."""
    return max(SILENT_SECONDS, MISSED_HEARTBEATS * heartbeat_ms / 1000)


def _drain(seconds: float) -> pb.ControlFrame:
    return pb.ControlFrame(drain=pb.Drain(deadline_ms=round(seconds * 1000)))
