"""What this control plane does when another one tells it something: a word and ids, see `planes`.

A hint may come late, or twice, and what it says may be over: whether an employee is paused, how it is configured and whether
it is to drain, the tables say. Only control planes are heard, see `planes`.

Whoever has an employee's stream does what concerns it, whoever leads what concerns processes. The rest takes no notice, but
for what all of them tell when they are asked.
"""

import asyncio
import logging
from contextlib import suppress
from uuid import UUID

from controlplane.employees import Employees
from controlplane.ending import Ending
from controlplane.errors import Unknown
from controlplane.followers import Followers
from controlplane.gateway import Streams
from controlplane.lifecycle import Lifecycle
from controlplane.planes import MISSED, RETRY_SECONDS, Planes
from controlplane.sidecars.keeper import Sidecars
from empla.store.errors import StoreUnavailable
from empla.store.outage import Outage
from empla.v1 import gateway_pb2 as pb

log = logging.getLogger(__name__)


class Hints:
    """Hears all words that are told anywhere; constructing one begins it."""

    def __init__(
        self,
        planes: Planes,
        *,
        employees: Employees,
        streams: Streams,
        followers: Followers,
        lifecycle: Lifecycle,
        ending: Ending,
        sidecars: Sidecars,
    ) -> None:
        self._planes, self._employees, self._streams = planes, employees, streams
        self._followers, self._lifecycle, self._ending, self._sidecars = followers, lifecycle, ending, sidecars
        self._outage = Outage(log, "what may have been missed")
        planes.on(MISSED, self._missed)
        for word in (
            "stored",
            "wake",
            "pause",
            "stop",
            "resume",
            "configure",
            "drain",
            "changed",
            "reconcile",
            "start",
            "sidecar_failed",
        ):
            planes.on(word, getattr(self, f"_{word}"))

    async def _missed(self) -> None:
        """What was told is lost: have each employee that is attached here look at all that it could have been."""
        for stream in self._streams.all():
            employee_id = stream.launch.employee_id
            with suppress(Unknown):  # it was deleted meanwhile
                await self._configure_patiently(employee_id)
                self._streams.wake(employee_id, "look again")
                self._streams.resume(employee_id, pb.ResumeUnit())

    async def _configure_patiently(self, employee_id: UUID) -> None:
        while True:
            try:
                await self._configure(str(employee_id))
            except StoreUnavailable as error:
                self._outage.lasts(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._outage.over()
                return

    def _stored(self, employee_id: str, message_id: str) -> None:
        """A message was stored elsewhere, and whoever brought it there may follow it."""
        if self._streams.get(UUID(employee_id)):
            self._followers.stored_elsewhere(UUID(message_id))
            self._streams.look(UUID(employee_id), UUID(message_id))

    def _wake(self, employee_id: str, *reason: str) -> None:
        if self._streams.get(UUID(employee_id)):
            self._streams.wake(UUID(employee_id), " ".join(reason))

    async def _pause(self, employee_id: str) -> None:
        if self._streams.get(UUID(employee_id)):
            record = await self._employees.by_id(UUID(employee_id))
            if self._streams.get(record.employee_id):
                self._streams.pause(record.employee_id, paused=record.paused)

    def _stop(self, employee_id: str, message_id: str) -> None:
        if self._streams.get(UUID(employee_id)):
            self._streams.stop(UUID(employee_id), UUID(message_id))

    def _resume(self, employee_id: str, unit_id: str, message_id: str, question_key: str) -> None:
        if self._streams.get(UUID(employee_id)):
            unit = pb.ResumeUnit(unit_id=unit_id, message_id=message_id, question_key=question_key)
            self._streams.resume(UUID(employee_id), unit)

    async def _configure(self, employee_id: str) -> None:
        if self._streams.get(UUID(employee_id)):
            record = await self._employees.by_id(UUID(employee_id))
            if self._streams.get(record.employee_id):
                self._streams.configure(record)

    async def _drain(self, employee_id: str) -> None:
        await self._ending.drain_here(UUID(employee_id))

    def _changed(self, message_id: str) -> None:
        self._followers.look(UUID(message_id))

    def _sidecar_failed(self, employee_id: str, *_count: str) -> None:
        """The leader could not launch a sidecar; the count tells this hint from the one before."""
        self._sidecars.failed.add(UUID(employee_id))

    def _reconcile(self) -> None:
        if self._planes.has_lease:
            self._lifecycle.look()

    def _start(self, employee_id: str) -> None:
        if self._planes.has_lease:
            self._lifecycle.start_now(UUID(employee_id))
