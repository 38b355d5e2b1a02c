"""How long a sidecar may live: as long as its lease, its owner, and whoever launched it let it."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from empla import rpc
from empla.leases import Lease, verify
from sidecars.settings import SidecarSettings

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often the clock is looked at: it may be set, and the machine may have slept."""


class Tenure:
    """Lets in whoever shows a good token, and knows when there is no use in living on."""

    def __init__(self, settings: SidecarSettings) -> None:
        self._settings, self._expires_at, self._shown = settings, settings.expires_at, False
        self._why = ""
        self._over = asyncio.Event()

    @property
    def expires_at(self) -> float:
        """The latest expiry that was shown, in seconds since 1970; until one is, that of the launch."""
        return self._expires_at

    async def authenticate(self, _: str, metadata: Any) -> Lease:
        """The lease behind a call, which holds from now if it is the latest.

        Raises `LeaseRefused`, and `StatusError` TOKEN_MISSING without a token.
        """
        lease = verify(
            self._settings.key_bytes,
            rpc.bearer(metadata),
            sidecar_id=self._settings.id,
            employee_id=self._settings.employee_id,
        )
        self._expires_at = max(self._expires_at, lease.expires_at) if self._shown else lease.expires_at
        self._shown = True
        return lease

    async def over(self) -> str:
        """Wait for the end; returns why."""
        with self._told_to_end():
            async with self._owner_watched():
                await self._until_over()
        return self._why or "the lease has run out"

    async def _until_over(self) -> None:
        while not self._why and (left := self._expires_at - time.time()) > 0:
            try:
                async with asyncio.timeout(min(left, LOOK_SECONDS)):
                    await self._over.wait()
            except TimeoutError:
                continue

    def _end(self, why: str) -> None:
        self._why = why
        self._over.set()

    @contextmanager
    def _told_to_end(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, "it was told to end")
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)  # it ends already, and in order

    @asynccontextmanager
    async def _owner_watched(self) -> AsyncIterator[None]:
        pid = self._settings.owner_pid
        if pid is None:
            yield
            return
        owner = await asyncio.to_thread(_held, pid, self._settings.owner_start_time)
        if owner is None:
            self._end("its owner is gone")
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(owner, self._end, "its owner is gone")
        try:
            yield
        finally:
            loop.remove_reader(owner)
            os.close(owner)


def _held(pid: int, start_time: int | None) -> int | None:
    """A pidfd of that very process; None when it is gone, whoever has its pid now."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if start_time is None or _start_time(pid) == start_time:
        return descriptor
    os.close(descriptor)
    return None


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None
