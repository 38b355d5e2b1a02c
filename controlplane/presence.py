"""Presence: each control plane tells the others who is attached to it, about every second, and nothing while it is alone.

The leader reads even when it is alone as far as it knows: it kills whoever it hears nothing of.
"""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from controlplane.gateway import Elsewhere, Launch, Stream, Streams
from controlplane.planes import LEASE_SECONDS, RENEW_SECONDS, Planes
from controlplane.rounds import every
from empla.store.connect import Pool, load_queries, translated
from empla.v1 import gateway_pb2 as pb

SQL = load_queries("controlplane", "presence.sql")


class Presence:
    """Keeps the table and `streams.elsewhere`; an employee that is silent for `lost_after` seconds is attached nowhere."""

    def __init__(self, pool: Pool, streams: Streams, planes: Planes, *, lost_after: float) -> None:
        self._pool, self._streams, self._planes, self._lost_after = pool, streams, planes, lost_after
        self._told: dict[UUID, tuple[Stream, float]] = {}
        self._heard_at = time.monotonic()

    async def run(self) -> None:
        """Tell and hear, until cancelled."""
        await every(RENEW_SECONDS, self.round, name="the news of who is attached where")

    async def round(self) -> None:
        """Tell once what has changed, and hear once; raises `StoreUnavailable`."""
        if self._planes.others:
            await self._tell()
        else:
            self._told.clear()
            if not self._planes.has_lease:
                self._hear([])
                return
        seen_within = LEASE_SECONDS + RENEW_SECONDS
        with translated():
            rows = await self._pool.fetch(SQL.elsewhere, self._planes.instance, self._lost_after, seen_within)
        self._hear(rows)

    def _hear(self, rows: Sequence[Any]) -> None:
        now = time.monotonic()
        if now - self._heard_at > LEASE_SECONDS:  # the database was away, or this control plane stood still
            self._streams.hears_since = now
        self._heard_at = now
        told = {row["employee_id"]: (row["attached"], _elsewhere(row)) for row in rows}
        self._streams.elsewhere = {key: one for key, (attached, one) in told.items() if attached}
        self._streams.left = {key: one for key, (attached, one) in told.items() if not attached}

    async def _tell(self) -> None:
        now = {stream.launch.employee_id: (stream, stream.heartbeat_at) for stream in self._streams.all()}
        if now == self._told:
            return
        news = [stream for employee_id, (stream, at) in now.items() if self._told.get(employee_id) != (stream, at)]
        with translated():
            await self._pool.execute(SQL.gone, self._planes.instance, list(now))
            await self._pool.execute(SQL.tell, self._planes.instance, *_columns(news))
        self._told = now


def _columns(streams: list[Stream]) -> tuple[list[Any], ...]:
    now = time.monotonic()
    return (
        [stream.launch.employee_id for stream in streams],
        [stream.launch.epoch for stream in streams],
        [stream.build for stream in streams],
        [stream.heartbeat.SerializeToString() if stream.heartbeat else b"" for stream in streams],
        [now - stream.seen_at for stream in streams],
    )


def _elsewhere(row: Any) -> Elsewhere:
    return Elsewhere(
        launch=Launch(row["employee_id"], row["epoch"]),
        build=row["build"],
        heartbeat=pb.Heartbeat.FromString(row["heartbeat"]) if row["heartbeat"] else None,
        heartbeat_at=row["seen_at"].timestamp(),
        seen_at=time.monotonic() - row["age"],
        address=row["address"],
    )
