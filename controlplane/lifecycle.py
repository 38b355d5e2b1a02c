"""Lifecycle: a level-triggered reconciler between what the table wants and what the launcher runs.

A successor starts only when the process before it is gone for certain, and with the next epoch. State is in the table; what
runs is asked of the launcher, so a restarted control plane adopts running employees instead of restarting them.
"""

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from controlplane.auth import hashed, new_secret
from controlplane.employees import SQL, EmployeeRecord, Employees
from controlplane.gateway import Streams, credential
from controlplane.launchers.interface import EmployeeProcess, Launcher, LaunchSpec
from empla.store.connect import Pool, translated
from empla.store.errors import StoreUnavailable
from empla.store.roles import create_employee_role, employee_dsn
from empla.v1 import control_pb2
from empla.v1 import gateway_pb2 as pb

log = logging.getLogger(__name__)

RECONCILE_SECONDS = 5.0
BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""A process that lived this long starts over with no back-off."""
TERM_SECONDS = 3.0
MISSED_HEARTBEATS = 6
MAX_PARALLEL_LAUNCHES = 8


@dataclass
class Observed:
    """What this control plane knows of one employee's process."""

    process: EmployeeProcess | None = None
    launched_at: float = 0.0
    failures: int = 0
    restarts: int = 0
    not_before: float = 0.0
    stopping: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class LaunchSettings:
    """What every launch on this machine has in common."""

    gateway: str
    database_url: str
    workspaces: Path
    logs: Path
    drain_seconds: float
    heartbeat_ms: int
    model: dict[str, Any]


class Lifecycle:
    """Starts, watches, restarts and stops employees through one launcher."""

    def __init__(
        self,
        *,
        pool: Pool,
        employees: Employees,
        streams: Streams,
        launcher: Launcher,
        settings: LaunchSettings,
        on_change: Callable[[UUID], None],
    ) -> None:
        self._pool, self._employees, self._streams = pool, employees, streams
        self._launcher, self._settings, self._on_change = launcher, settings, on_change
        self._observed: dict[UUID, Observed] = {}
        self._news = asyncio.Event()
        self._launches = asyncio.Semaphore(MAX_PARALLEL_LAUNCHES)
        self._group: asyncio.TaskGroup | None = None
        self._closing = False

    def look(self) -> None:
        """Something changed: compare now."""
        self._news.set()

    async def run(self) -> None:
        """Adopt what runs, then reconcile until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            for process in await self._launcher.running():
                self._adopt(process)
            while True:
                self._news.clear()
                try:
                    await self._reconcile(self._group)
                except StoreUnavailable as error:
                    log.warning("the database is away, employees stay as they are: %s", error)
                await self._rest()

    def observed(self, record: EmployeeRecord) -> control_pb2.ObservedState.ValueType:
        """What is to be seen of an employee."""
        known = self._observed.get(record.employee_id, Observed())
        stream = self._streams.get(record.employee_id)
        if known.process is None:
            wanted = record.desired_state == "running"
            return (
                control_pb2.OBSERVED_STATE_BACKING_OFF
                if wanted and known.failures
                else control_pb2.OBSERVED_STATE_STOPPED
            )
        if known.stopping:
            return control_pb2.OBSERVED_STATE_STOPPING
        if stream is not None and stream.launch.epoch == known.process.epoch:
            return control_pb2.OBSERVED_STATE_ATTACHED
        starting = time.monotonic() - known.launched_at < self._lost_after
        return control_pb2.OBSERVED_STATE_STARTING if starting else control_pb2.OBSERVED_STATE_LOST

    def process_of(self, employee_id: UUID) -> tuple[int, int]:
        """Pid (0: none) and how often the employee was restarted without being asked."""
        known = self._observed.get(employee_id, Observed())
        return (known.process.pid if known.process else 0), known.restarts

    async def stop(self, employee_id: UUID, drain_seconds: float) -> None:
        """Drain, then end the employee's process; returns when it is gone for certain."""
        known = self._observed.get(employee_id)
        if known is not None:
            async with known.busy:
                await self._stop(known, drain_seconds)

    async def stop_all(self) -> None:
        """Drain everybody at once: the end of the control plane in the foreground."""
        self._closing = True
        async with asyncio.TaskGroup() as group:
            for employee_id in list(self._observed):
                group.create_task(self.stop(employee_id, self._settings.drain_seconds))

    @property
    def _lost_after(self) -> float:
        return max(15.0, MISSED_HEARTBEATS * self._settings.heartbeat_ms / 1000)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._until_next()):
                await self._news.wait()
        except TimeoutError:
            return

    def _until_next(self) -> float:
        """Until the next back-off ends, at most the usual interval."""
        now = time.monotonic()
        waits = [o.not_before - now for o in self._observed.values() if o.process is None and o.not_before > now]
        return min([RECONCILE_SECONDS, *waits])

    async def _reconcile(self, group: asyncio.TaskGroup) -> None:
        if self._closing:
            return
        for record in await self._employees.list_of(None, limit=10_000):
            known = self._observed.setdefault(record.employee_id, Observed())
            if known.busy.locked():
                continue
            wanted = record.desired_state == "running"
            if wanted and known.process is None and time.monotonic() >= known.not_before:
                group.create_task(self._start(record, known), name=f"start {record.name}")
            elif known.process is not None and not wanted:
                group.create_task(self.stop(record.employee_id, self._settings.drain_seconds))
            elif known.process is not None and self._is_hung(record.employee_id, known):
                log.warning("employee %s gives no sign of life; it is killed", record.name)
                known.process.kill(signal.SIGKILL)

    def _is_hung(self, employee_id: UUID, known: Observed) -> bool:
        """Attached once in time, and beating: otherwise it is of no use to anybody."""
        stream = self._streams.get(employee_id)
        last = time.time() - stream.heartbeat_at if stream else time.monotonic() - known.launched_at
        return last > self._lost_after

    async def _start(self, record: EmployeeRecord, known: Observed) -> None:
        async with known.busy, self._launches:
            if known.process is not None or self._closing:
                return
            try:
                process = await self._launch(record)
            except Exception:
                log.exception("employee %s cannot be started", record.name)
                self._back_off(known)
                return
            known.launched_at = time.monotonic()
            self._watch(process, known)
        self._on_change(record.employee_id)

    async def _launch(self, record: EmployeeRecord) -> EmployeeProcess:
        secret, password = new_secret(), new_secret()
        workspace = self._settings.workspaces / str(record.employee_id)
        await asyncio.to_thread(workspace.mkdir, mode=0o700, parents=True, exist_ok=True)
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                epoch = await connection.fetchval(SQL.launch, record.employee_id, hashed(secret), self._launcher.name)
                await create_employee_role(connection, record.employee_id, password)
        settings = {
            "employee_id": str(record.employee_id),
            "tenant_id": str(record.tenant_id),
            "epoch": epoch,
            "credential": credential(record.employee_id, epoch, secret),
            "gateway": self._settings.gateway,
            "database_url": employee_dsn(self._settings.database_url, record.employee_id, password),
            "workspace": str(workspace),
            **_model_of(record, self._settings.model),
        }
        log_file = self._settings.logs / f"{record.employee_id}.log"
        process = await self._launcher.launch(LaunchSpec(record.employee_id, epoch, settings, log_file))
        with translated():
            await self._pool.execute(SQL.launched, record.employee_id, epoch, process.identity())
        log.info("employee %s is launched: epoch %d, pid %d", record.name, epoch, process.pid)
        return process

    def _adopt(self, process: EmployeeProcess) -> None:
        known = self._observed.setdefault(process.employee_id, Observed())
        known.launched_at = time.monotonic()
        self._watch(process, known)
        log.info("adopted employee %s: epoch %d, pid %d", process.employee_id, process.epoch, process.pid)

    def _watch(self, process: EmployeeProcess, known: Observed) -> None:
        assert self._group is not None
        known.process = process
        known.gone.clear()
        self._group.create_task(self._until_gone(process, known), name=f"watch {process.pid}")

    async def _until_gone(self, process: EmployeeProcess, known: Observed) -> None:
        code = await process.wait()
        log.info("employee %s, pid %d, is gone: exit code %s", process.employee_id, process.pid, code)
        known.process = None
        known.gone.set()
        if not known.stopping:
            known.restarts += 1
            self._back_off(known)
        try:
            with translated():
                await self._pool.execute(SQL.ended, process.employee_id, process.epoch)
        except StoreUnavailable as error:
            log.warning("the end of pid %d is not on record: %s", process.pid, error)
        self._on_change(process.employee_id)
        self._news.set()

    def _back_off(self, known: Observed) -> None:
        """The first restart comes at once, each further one after twice the wait, with jitter."""
        if time.monotonic() - known.launched_at > STEADY_SECONDS:
            known.failures = 0
        wait = 0.0 if known.failures == 0 else BACKOFF_SECONDS * 2**known.failures
        known.failures += 1
        known.not_before = time.monotonic() + min(MAX_BACKOFF_SECONDS, wait) * random.uniform(0.5, 1)  # noqa: S311 - jitter
        self._news.set()

    async def _stop(self, known: Observed, drain_seconds: float) -> None:
        process = known.process
        if process is None:
            return
        known.stopping = True
        try:
            stream = self._streams.get(process.employee_id)
            if stream is not None:
                stream.send(pb.ControlFrame(drain=pb.Drain(deadline_ms=round(drain_seconds * 1000))))
                await _gone(known, drain_seconds + TERM_SECONDS)
            for number in (signal.SIGTERM, signal.SIGKILL):
                if known.process is process:
                    process.kill(number)
                    await _gone(known, TERM_SECONDS)
        finally:
            known.stopping, known.failures = False, 0


async def _gone(known: Observed, seconds: float) -> None:
    """Until the watcher has seen the end, or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await known.gone.wait()
    except TimeoutError:
        return


def _model_of(record: EmployeeRecord, machine: dict[str, Any]) -> dict[str, Any]:
    """The machine's keys, and the profile's choice of a model where it makes one."""
    chosen = record.profile.model
    mine = {"model_provider": chosen.provider, "model_name": chosen.name}
    return machine | {name: value for name, value in mine.items() if value and value != "auto"}
