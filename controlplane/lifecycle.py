"""Lifecycle: a level-triggered reconciler between what the table wants and what the launcher runs.

A successor starts only when the process before it is gone for certain, and with the next epoch. State is in the table; what
runs is asked of the launcher, so a restarted control plane adopts running employees instead of restarting them.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from controlplane.afar import Life, life_from_afar, observed_from_afar, pid_of, told_late
from controlplane.backoff import RARELY_SECONDS, STEADY_SECONDS, Backoff, exit_reason, is_own
from controlplane.belongings import Belongings, Companions
from controlplane.employees import SQL, EmployeeRecord, Employees
from controlplane.ending import Ending, lost_after
from controlplane.errors import LaunchFailed, NotLeading, Unknown
from controlplane.failures import Failing, note, note_well, observed_failing
from controlplane.gateway import Elsewhere, Stream, Streams
from controlplane.launchers.bounds import Bound
from controlplane.launchers.interface import CONTAINER, LaunchedProcess, Launcher
from controlplane.launchers.workspaces import Workspaces
from controlplane.launching import LaunchSettings, next_launch, record_end
from controlplane.planes import Nobody, Planes
from empla.store.connect import Pool, translated
from empla.store.errors import StoreUnavailable
from empla.v1 import control_pb2

log = logging.getLogger(__name__)

RECONCILE_SECONDS = 5.0
SLEPT_SECONDS = 3 * RECONCILE_SECONDS
"""Rounds further apart than this mean that the control plane itself stood still, and employees could not be heard."""
ADOPT_SECONDS = 10.0
TERM_SECONDS = 3.0
KILL_SECONDS = 10.0
GIVE_BACK_SECONDS = 10.0
"""After its drain an employee gives work back, which takes 5 s longer where its database has fallen silent."""
LAUNCH_SECONDS = 150.0
"""Beyond what launchers allow themselves, for a container as for the first warm parent."""
MAX_PARALLEL_LAUNCHES = 8


@dataclass
class Observed(Failing):
    """What this control plane knows of one employee's process; times are monotonic."""

    process: LaunchedProcess | None = None
    unsure: bool = False
    """A launch failed without telling whether a process came of it."""
    stream: Stream | Elsewhere | None = None
    """The last stream of the process, which may have ended."""
    launched_at: float = 0.0
    stopping: bool = False
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    passed_over: bool = False
    """A round could not look at it, for it was busy: another one follows."""


class Lifecycle:
    """Starts, watches, restarts and stops employees through one launcher."""

    def __init__(
        self,
        *,
        pool: Pool,
        employees: Employees,
        streams: Streams,
        launcher: Launcher,
        workspaces: Workspaces,
        sidecars: Companions,
        settings: LaunchSettings,
        planes: Planes | None = None,
    ) -> None:
        self._planes = planes
        self._ending = Ending(pool, streams, planes or Nobody())
        self._pool, self._employees, self._streams = pool, employees, streams
        self._launcher, self._settings = launcher, settings
        self._belongings = Belongings(sidecars, workspaces, browsers=settings.browsers, bounds=settings.bounds)
        self._lost_after = lost_after(settings.heartbeat_ms)
        self._observed: dict[UUID, Observed] = {}
        self._news = asyncio.Event()
        self._launches = asyncio.Semaphore(MAX_PARALLEL_LAUNCHES)
        self._group: asyncio.TaskGroup | None = None
        self._adopted = asyncio.Event()
        self._closing = False
        self.records: list[EmployeeRecord] | None = None
        """Everybody, as of the last round."""
        self._round_at = self._heard_since = time.monotonic()

    def look(self) -> None:
        """Something changed: compare now, or have the control plane do so that leads."""
        self._news.set()
        if self._planes is not None and not self._planes.has_lease:
            self._planes.tell("reconcile")

    def start_now(self, employee_id: UUID) -> None:
        """An operator asks for a start: what failed before no longer delays it."""
        if known := self._observed.get(employee_id):
            known.forgive()
        elif self._planes is not None and not self._planes.has_lease:
            self._planes.tell("start", employee_id)
        self.look()

    async def run(self) -> None:
        """Adopt what runs, then reconcile until cancelled: another control plane leads then, or this one ends."""
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._adopt_running()
                self._adopted.set()
                await self._rounds()
        finally:
            self._adopted.clear()
            for known in self._observed.values():
                if known.process is not None:
                    known.process.release()
            self._observed.clear()
            self.records = None

    async def until_adopted(self, seconds: float) -> None:
        """Wait until it is known what runs, if this control plane leads, but no longer than that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._adopted.wait()

    async def _rounds(self) -> None:
        while True:
            self._news.clear()
            try:
                await self._reconcile()
            except NotLeading as error:
                log.warning("employees stay as they are: %s", error)
            except StoreUnavailable as error:
                self._heard_since = time.monotonic()  # whoever lost its stream cannot attach without a database
                log.warning("the database is away, employees stay as they are: %s", error)
            except Exception:
                log.exception("employees stay as they are until the next round")
            await self._rest()

    def observed(self, record: EmployeeRecord) -> control_pb2.ObservedState.ValueType:
        """What is to be seen of an employee."""
        if not self._knows:
            return observed_from_afar(record, self._streams, self._lost_after)
        known = self._observed.get(record.employee_id, Observed())
        if known.process is None:
            if record.desired_state != "running":
                return control_pb2.OBSERVED_STATE_STOPPED
            return observed_failing(known.backoff.failures, known.backoff.own)
        if known.stopping:
            return control_pb2.OBSERVED_STATE_STOPPING
        if self._seen(known.process) is not None:
            return control_pb2.OBSERVED_STATE_ATTACHED
        starting = time.monotonic() - known.launched_at < self._lost_after
        return control_pb2.OBSERVED_STATE_STARTING if starting else control_pb2.OBSERVED_STATE_LOST

    def pid_of(self, employee_id: UUID) -> int:
        """Of the process that this control plane watches; 0: there is none."""
        process = self._observed.get(employee_id, Observed()).process
        return process.pid if process else 0

    def life_of(self, record: EmployeeRecord) -> Life | None:
        """How the employee's process does; None when it is not to run."""
        if not self._knows:
            return life_from_afar(record, self._streams, self._lost_after)
        known = self._observed.get(record.employee_id, Observed())
        if record.desired_state != "running" or known.stopping:
            return None
        if known.process is None:
            own = known.backoff.own
            return Life(starting=True, silent_seconds=0, crashes=own, unstarted=known.backoff.failures - own)
        steady = time.monotonic() - known.launched_at > STEADY_SECONDS
        starting = self.observed(record) == control_pb2.OBSERVED_STATE_STARTING
        silent = 0.0 if starting else max(0.0, self._silent_seconds(known.process, known) - told_late(known.stream))
        return Life(starting, silent, crashes=0 if steady else known.backoff.own)

    def bound_of(self, record: EmployeeRecord) -> Bound | None:
        """What bounds the employee's process, if one runs; reads a file."""
        memory = self._settings.memory_bytes
        if not self.process_on_record(record):
            return None
        if self._launcher.name == CONTAINER and memory is not None:
            return Bound(record.epoch, "cgroup", memory, ())
        return self._belongings.bound_of(record.employee_id)

    def process_on_record(self, record: EmployeeRecord) -> int:
        """The same of an employee whose process another control plane may watch."""
        return self.pid_of(record.employee_id) if self._knows else pid_of(record)

    async def ready_workspace(self, employee_id: UUID) -> None:
        """Have an employee's files ready to be used, whether or not it runs; raises `LaunchFailed`."""
        await self.until_adopted(ADOPT_SECONDS)
        if not self._knows:
            raise LaunchFailed("the control plane that leads does not know yet who runs; try again in some seconds")
        known = self._observed.setdefault(employee_id, Observed())
        try:
            async with asyncio.timeout(ADOPT_SECONDS):
                await known.busy.acquire()
        except TimeoutError as error:
            raise LaunchFailed("the employee is being started or stopped; try again in some seconds") from error
        try:
            if known.process is None and not known.unsure:  # else they were made ready for its process
                await self._belongings.workspaces.prepare(employee_id)
        finally:
            known.busy.release()

    async def stop(self, employee_id: UUID, drain_seconds: float) -> None:
        """Drain, then end the employee's process; returns when it is gone for certain. Ends a back-off too.

        Raises `LaunchFailed` when it does not end, when after a failed launch nobody can tell whether there is a process,
        when the control plane that leads does not end it in time, or when this one does and does not know yet what runs.
        """
        if self.leads and not self._knows:
            await self.until_adopted(ADOPT_SECONDS)
        if self._knows:
            await self._stop_here(employee_id, drain_seconds)
        elif self.leads:
            raise LaunchFailed("the control plane that leads does not know yet who runs; try again in some seconds")
        else:
            await self._ending.have_ended(employee_id, drain_seconds)

    async def _stop_here(self, employee_id: UUID, drain_seconds: float) -> None:
        known = self._observed.get(employee_id)
        if known is not None:
            async with known.busy:
                known.forgive()
                await self._find(employee_id, known, adoptable=None)
                await self._stop(known, drain_seconds)

    async def stop_all(self) -> None:
        """Drain everybody at once: the end of the control plane in the foreground."""
        self._closing = True
        async with asyncio.TaskGroup() as group:
            for employee_id in list(self._observed):
                work = self._stop_here(employee_id, self._settings.drain_seconds)
                group.create_task(_logged(work, f"stop {employee_id}"))
        await _logged(self._belongings.sidecars.end_all(), "end the sidecars")
        await self._belongings.workspaces.release_all()

    @property
    def leads(self) -> bool:
        """Whether this control plane starts and watches employees, or is about to."""
        return self._planes is None or self._planes.has_lease

    @property
    def _knows(self) -> bool:
        """Whether it is this control plane that watches the processes, which it does not before it has adopted them."""
        return self._planes is None or (self._planes.has_lease and self._adopted.is_set())

    def _seen(self, process: LaunchedProcess) -> Stream | Elsewhere | None:
        stream = self._streams.seen(process.employee_id)
        return stream if stream is not None and stream.launch.epoch == process.epoch else None

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._group is not None
        task = self._group.create_task(_logged(work, name), name=name)
        task.add_done_callback(lambda _: work.close())  # one that is cancelled before it begins

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._until_next()):
                await self._news.wait()
        except TimeoutError:
            return

    def _until_next(self) -> float:
        """Until the next back-off ends, at most the usual interval."""
        now = time.monotonic()
        ends = [known.backoff.not_before for known in self._observed.values() if known.process is None]
        return min([RECONCILE_SECONDS, *(end - now for end in ends if end > now)])

    # Comparing

    async def _reconcile(self) -> None:
        if self._closing:
            return
        if self._planes is not None and not self._planes.leads:
            self._heard_since = time.monotonic()
            return
        await note(self._pool, self._planes, self._observed)  # before anybody is started because of what is on record
        self.records = records = await self._employees.everybody()
        now = time.monotonic()
        if now - self._round_at > SLEPT_SECONDS:
            self._heard_since = now
        self._round_at = now
        for record in records:
            known = self._observed.setdefault(record.employee_id, Observed())
            known.recall(record.failures)
            if self._is_free(known):
                self._compare(record, known)
        self._forget(self._observed.keys() - {record.employee_id for record in records})
        for employee_id in await self._employees.left_roles():
            if employee_id not in self._observed:  # its process is gone, or there never was one
                self._task(self._employees.drop_role(employee_id), f"drop the role of {employee_id}")

    def _is_free(self, known: Observed) -> bool:
        if known.busy.locked() and not known.passed_over:
            known.passed_over = True
            self._task(self._look_once_free(known), "look once it is free")
        return not known.busy.locked()

    async def _look_once_free(self, known: Observed) -> None:
        async with known.busy:
            known.passed_over = False
        self._news.set()

    def _compare(self, record: EmployeeRecord, known: Observed) -> None:
        wanted = record.desired_state == "running"
        if record.draining is not None:
            self._task(self._stop_as_asked(record, known, record.draining), f"stop {record.name}, as was asked")
        elif not wanted:
            if known.process is not None or known.unsure:
                self._task(self.stop(record.employee_id, self._settings.drain_seconds), f"stop {record.name}")
        elif known.process is None:
            if time.monotonic() >= known.backoff.not_before:
                self._task(self._start(record.employee_id, known), f"start {record.name}")
        elif self._is_hung(known.process, known):
            log.warning("employee %s gives no sign of life; it is killed", record.name)
            known.process.kill(signal.SIGKILL)
        elif known.backoff.failures and time.monotonic() - known.launched_at > STEADY_SECONDS:
            self._task(self._forgive(record.employee_id, known), f"forgive {record.name}")

    async def _forgive(self, employee_id: UUID, known: Observed) -> None:
        """It has lived for a while: whichever control plane leads when it fails next begins anew."""
        await note_well(self._pool, self._planes, employee_id)
        if not known.unnoted:  # it has not failed just now
            known.backoff.reset()

    def _is_hung(self, process: LaunchedProcess, known: Observed) -> bool:
        """Attached once in time, and beating: otherwise it is of no use to anybody."""
        return self._silent_seconds(process, known) > self._lost_after

    def _silent_seconds(self, process: LaunchedProcess, known: Observed) -> float:
        known.stream = self._seen(process) or known.stream
        seen_at = known.stream.seen_at if known.stream else 0.0
        return time.monotonic() - max(seen_at, known.launched_at, self._heard_since)

    def _forget(self, deleted: set[UUID]) -> None:
        for employee_id in deleted:
            known = self._observed[employee_id]
            if not self._is_free(known):
                continue
            if known.process is not None or known.unsure:
                self._task(self.stop(employee_id, self._settings.drain_seconds), f"stop deleted {employee_id}")
            else:
                self._task(self._let_go(employee_id, known), f"let go of what {employee_id} had")

    async def _let_go(self, employee_id: UUID, known: Observed) -> None:
        """Nobody of an employee that is deleted is left but its sidecars. What fails of this the next round does again."""
        async with known.busy:
            with translated():
                await self._pool.execute(SQL.none_left, employee_id)
            await self._belongings.let_go(employee_id)
            self._observed.pop(employee_id, None)

    # Starting

    async def _start(self, employee_id: UUID, known: Observed) -> None:
        async with known.busy, self._launches:
            if known.process is not None or self._closing:
                return
            known.launched_at = time.monotonic()
            try:
                # The record that a round saw is old by now; the employee may be stopped or deleted since.
                record = await self._employees.by_id(employee_id)
                await self._find(employee_id, known, adoptable=record.epoch)
                if record.desired_state == "running" and known.process is None:
                    await self._launch(record, known)
            except Unknown:
                return
            except (LaunchFailed, StoreUnavailable) as error:
                log.warning("employee %s cannot be started: %s", employee_id, error)
                self._back_off(
                    employee_id, known, f"not started: {error}", own=False
                )  # the machine's, or the database's
            except Exception as error:
                log.exception("employee %s cannot be started", employee_id)
                self._back_off(employee_id, known, f"not started: {error!r}")

    async def _find(self, employee_id: UUID, known: Observed, *, adoptable: int | None) -> None:
        """After a launch that seemed to fail: adopt its process if it has the epoch `adoptable`, kill any other."""
        if not known.unsure:
            return
        for process in await self._launcher.running(employee_id):
            if process.epoch == adoptable and known.process is None:
                self._adopt(process, known)
            else:
                await _killed(process)
        known.unsure = False

    async def _launch(self, record: EmployeeRecord, known: Observed) -> None:
        workspace, browser = await self._belongings.ready(record.employee_id, record.epoch)
        spec = await next_launch(
            self._pool,
            record,
            self._launcher.name,
            self._settings,
            planes=self._planes,
            workspace=workspace,
            browser_profile=browser,
        )
        await self._belongings.sidecars.end_of(
            record.employee_id, spec.epoch - 1
        )  # one that was being acquired meanwhile
        if self._planes is not None and not self._planes.leads:
            raise NotLeading("another control plane leads by now")
        known.unsure = True
        try:
            async with asyncio.timeout(LAUNCH_SECONDS):
                process = await self._launcher.launch(spec)
        except TimeoutError as error:
            raise LaunchFailed(f"the launcher has not answered within {LAUNCH_SECONDS:g} s") from error
        # From here on there is a process: whatever else goes wrong, it is watched.
        known.unsure = False
        self._watch(process, known)
        log.info("employee %s is launched: epoch %d, pid %d", record.name, process.epoch, process.pid)
        try:
            with translated():
                await self._pool.execute(SQL.launched, record.employee_id, process.epoch, process.identity())
        except StoreUnavailable as error:
            log.warning("the launch of pid %d is not on record: %s", process.pid, error)

    async def _adopt_running(self) -> None:
        """Take over what an earlier control plane left. Until that is known, nobody may be started."""
        backoff = Backoff()
        while True:
            try:
                records = {record.employee_id: record for record in await self._employees.everybody()}
                running = await self._launcher.running()
                for process in running:
                    self._take(process, records.get(process.employee_id))
                await self._belongings.keep_only(records.keys() | {process.employee_id for process in running})
            except (LaunchFailed, StoreUnavailable) as error:
                log.warning("running employees cannot be adopted yet: %s", error)
            except Exception:
                log.exception("running employees cannot be adopted yet")
            else:
                return
            backoff.failed(own=False)
            await asyncio.sleep(backoff.not_before - time.monotonic())

    def _take(self, process: LaunchedProcess, record: EmployeeRecord | None) -> None:
        known = self._observed.setdefault(process.employee_id, Observed())
        if record is not None:
            known.recall(record.failures)
        if record is not None and process.epoch == record.epoch:
            self._adopt(process, known)
        else:
            self._task(self._end(process, known), f"end pid {process.pid}")

    async def _end(self, process: LaunchedProcess, known: Observed) -> None:
        """Kill a process of a former launch or of a deleted employee; nobody is started meanwhile."""
        async with known.busy:
            await _killed(process)

    def _adopt(self, process: LaunchedProcess, known: Observed) -> None:
        known.launched_at = time.monotonic()
        self._watch(process, known)
        log.info("adopted employee %s: epoch %d, pid %d", process.employee_id, process.epoch, process.pid)

    # Watching and stopping

    def _watch(self, process: LaunchedProcess, known: Observed) -> None:
        known.process, known.stream = process, None
        self._task(self._until_gone(process, known), f"watch {process.pid}")

    async def _until_gone(self, process: LaunchedProcess, known: Observed) -> None:
        code = await process.wait()
        used_up = await self._belongings.unbind(process.employee_id, process.epoch)
        reason = exit_reason(code, used_up=used_up)
        log.info("employee %s, pid %d, is gone: %s", process.employee_id, process.pid, reason)
        if known.process is process:
            known.process = None
            if not known.stopping:
                known.restarts += 1
                lived = time.monotonic() - known.launched_at
                self._back_off(process.employee_id, known, reason, lived=lived, own=is_own(code, used_up=used_up))
        self._news.set()
        if not self._closing:  # then all of them are ended together
            ended = self._belongings.sidecars.end_of(process.employee_id, process.epoch)
            self._task(ended, f"end the sidecars of {process.employee_id}")
        try:
            await record_end(self._pool, process.employee_id, process.epoch)
        except StoreUnavailable as error:
            log.warning("the end of pid %d is not on record: %s", process.pid, error)

    def _back_off(
        self, employee_id: UUID, known: Observed, reason: str, *, lived: float = 0.0, own: bool = True
    ) -> None:
        looped = known.backoff.crash_looping
        known.failed(reason, lived=lived, own=own)
        if known.backoff.crash_looping and not looped:
            times, rarely = known.backoff.own, RARELY_SECONDS / 60
            log.error(
                "employee %s ended %d times in a row, lastly: %s; from now on it is started every %g minutes at most, "
                "or at once by `empla employee start`",
                *(employee_id, times, reason, rarely),
            )
        self._news.set()  # the reconciler's rest ends with the back-off

    async def _stop_as_asked(self, record: EmployeeRecord, known: Observed, drain_seconds: float) -> None:
        """Another control plane was asked for the end of this launch, and waits for it to be on record."""
        if known.busy.locked() or (known.process is not None and known.process.epoch != record.epoch):
            return  # it has ended since the record was read, or is looked at in the next round
        await self.stop(record.employee_id, drain_seconds)
        if known.process is None:
            await record_end(self._pool, record.employee_id, record.epoch)
            self._news.set()

    async def _stop(self, known: Observed, drain_seconds: float) -> None:
        process = known.process
        if process is None:
            return
        known.stopping = True
        try:
            if await self._ending.drain(process.employee_id, process.epoch, drain_seconds):
                await _gone(process, known, drain_seconds + GIVE_BACK_SECONDS)
            for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
                if known.process is process:
                    process.kill(number)
                    await _gone(process, known, seconds)
            if known.process is process:
                raise LaunchFailed(f"pid {process.pid} does not end; it is ended as soon as that can be done")
            # Whoever watches it may not come to that any more.
            await self._belongings.unbind(process.employee_id, process.epoch)
        finally:
            known.stopping = False


async def _logged(work: Coroutine[Any, Any, None], name: str) -> None:
    """One employee's trouble ends its own task, not those of all."""
    try:
        await work
    except Exception:
        log.exception("%s failed", name)


async def _killed(process: LaunchedProcess) -> None:
    log.warning("pid %d of employee %s has no place here; it is killed", process.pid, process.employee_id)
    process.kill(signal.SIGKILL)
    try:
        await process.wait()
    finally:
        process.release()


async def _gone(process: LaunchedProcess, known: Observed, seconds: float) -> None:
    """Until the process is gone, which no longer counts as a failure, or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        return
    if known.process is process:
        known.process = None
