"""Whether this control plane can do its work, as probes are told by HTTP and by the standard gRPC health of each service."""

import asyncio
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse

from controlplane.errors import LaunchFailed
from controlplane.launchers.interface import Launcher
from empla.store.connect import Pool, translated
from empla.store.errors import StoreUnavailable

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
READY_SECONDS = 1.0
NOBODY = UUID(int=0)
FULL_BYTES = 16 << 20
"""A segment of PostgreSQL's log, which stops where there is no room for the next one."""


class Readiness:
    """Of a control plane, which only serves once its tables are migrated. `services` are told by `status`.

    A database of our own has its files below `home`; it reads on while their disk is full, and takes little in.
    """

    def __init__(
        self, pool: Pool, launcher: Launcher, services: Iterable[str] = (), *, home: Path | None = None
    ) -> None:
        self._pool, self._launcher, self._services, self._home = pool, launcher, ("", *services), home
        self._launcher_trouble = ""
        self.status = health.aio.HealthServicer()

    async def run(self) -> None:
        """Look every 2 s until cancelled: without its database, or room for it, no service serves."""
        while True:
            try:
                await self._look()
            except Exception:
                log.exception("whether all is well is looked at again")
            await asyncio.sleep(LOOK_SECONDS)

    async def trouble(self) -> tuple[str, str] | None:
        """The reason, and in words, why it is not ready; None when it is."""
        if trouble := await self._database_trouble():
            return trouble
        if self._launcher_trouble:
            return "LAUNCHER_UNAVAILABLE", f"no employee can be launched: {self._launcher_trouble}"
        return None

    async def _look(self) -> None:
        trouble = await self._database_trouble()
        state = HealthCheckResponse.NOT_SERVING if trouble else HealthCheckResponse.SERVING
        for service in self._services:
            await self.status.set(service, state)
        try:
            await self._launcher.running(NOBODY)
            self._launcher_trouble = ""
        except LaunchFailed as error:
            self._launcher_trouble = str(error)

    async def _database_trouble(self) -> tuple[str, str] | None:
        if not await self._database_answers():
            return "STORE_UNAVAILABLE", "the database does not answer"
        if self._home is not None and await asyncio.to_thread(_is_full, self._home):
            return "DISK_FULL", f"the disk of the database, below {self._home}, is full: make room there"
        return None

    async def _database_answers(self) -> bool:
        try:
            # The pool waits for a query that it cancels: only its own timeouts bound that as well.
            with translated():
                async with self._pool.acquire(timeout=READY_SECONDS) as connection:
                    await connection.fetchval("SELECT 1", timeout=READY_SECONDS)
        except StoreUnavailable:
            return False
        return True


def _is_full(directory: Path) -> bool:
    return shutil.disk_usage(directory).free < FULL_BYTES
