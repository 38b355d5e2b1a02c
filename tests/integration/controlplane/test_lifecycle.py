"""The reconciler over a real database, with a launcher whose processes are the test's to end and to lose."""

import asyncio
import json
import math
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from controlplane import backoff, lifecycle
from controlplane.backoff import Backoff, Ended
from controlplane.employees import DEFAULT_TENANT, SQL, EmployeeRecord, Employees
from controlplane.errors import LaunchFailed
from controlplane.failures import Failing, Failures, note
from controlplane.gateway import Elsewhere, Launch, Stream, Streams
from controlplane.launchers.interface import EMPLOYEE, LaunchSpec
from controlplane.launchers.volumes import SMALLEST_BYTES, Volumes
from controlplane.launchers.workspaces import Workspaces
from controlplane.launching import LaunchSettings
from controlplane.lifecycle import Lifecycle
from controlplane.planes import Planes
from controlplane.profiles import shipped_profile
from empla.store.connect import Pool
from empla.store.errors import StoreUnavailable
from empla.v1 import control_pb2 as pb
from tests.conftest import Database


class ScriptedProcess:
    kind = EMPLOYEE

    def __init__(self, employee_id: UUID, epoch: int, pid: int) -> None:
        self.sidecar_id: UUID | None = None
        self.employee_id, self.epoch, self.pid = employee_id, epoch, pid
        self.signals: list[int] = []
        self.stubborn = self.released = False
        self.code: int | None = 0
        self.gone = asyncio.Event()

    def identity(self) -> dict[str, Any]:
        return {"pid": self.pid}

    async def wait(self) -> int | None:
        await self.gone.wait()
        return self.code

    def kill(self, signal_number: int) -> None:
        self.signals.append(signal_number)
        if not self.stubborn:
            self.gone.set()

    def release(self) -> None:
        self.released = True


@dataclass
class ScriptedLauncher:
    """Launches processes in name only; `failing` launches fail, and `lost` ones fail after the process is there."""

    failing: bool = False
    dying: UUID | None = None
    """Whose processes end as soon as they are there."""
    hanging: UUID | None = None
    """Whose launches never come to an end."""
    lost: bool = False
    deaf: int = 0
    """How many times `running` fails."""
    name: str = "scripted"
    calls: int = 0
    processes: list[ScriptedProcess] = field(default_factory=list)
    on_launch: Callable[[LaunchSpec], Awaitable[None]] | None = None

    async def launch(self, spec: LaunchSpec) -> ScriptedProcess:
        self.calls += 1
        if self.on_launch:
            await self.on_launch(spec)
        if spec.employee_id == self.hanging:
            await asyncio.Event().wait()
        if self.failing:
            raise LaunchFailed("no room\0 in \udcff")
        process = ScriptedProcess(spec.employee_id, spec.epoch, 1000 + len(self.processes))
        self.processes.append(process)
        if self.lost:
            raise LaunchFailed("timed out")
        if spec.employee_id == self.dying:
            process.code = 7
            process.gone.set()
        return process

    async def running(self, employee_id: UUID | None = None) -> Sequence[ScriptedProcess]:
        if self.deaf:
            self.deaf -= 1
            raise LaunchFailed("no answer")
        return [p for p in self.alive if employee_id in (None, p.employee_id)]

    async def stop(self) -> None:
        return

    @property
    def alive(self) -> list[ScriptedProcess]:
        return [process for process in self.processes if not process.gone.is_set()]


class ScriptedSidecars:
    """Keeps note of whose were to end."""

    def __init__(self) -> None:
        self.ended: list[tuple[UUID, int]] = []
        self.all_ended = False
        self.failing = False

    async def end_of(self, employee_id: UUID, epoch: int) -> None:
        self.ended.append((employee_id, epoch))
        if self.failing:
            raise LaunchFailed("one does not end")

    async def end_all(self) -> None:
        self.all_ended = True


@dataclass
class Site:
    """One control plane's lifecycle and what it works with."""

    pool: Pool
    employees: Employees
    streams: Streams
    launcher: ScriptedLauncher
    sidecars: ScriptedSidecars
    lifecycle: Lifecycle

    async def employee(self, name: str = "ada", *, running: bool = True) -> EmployeeRecord:
        tenant_id = await self.employees.ensure_tenant(DEFAULT_TENANT)
        profile = await asyncio.to_thread(shipped_profile, "sales-ae")
        return await self.employees.create(tenant_id, name, profile, running=running)

    async def left_over(self, record: EmployeeRecord, epoch: int) -> ScriptedProcess:
        """A process that an earlier control plane launched."""
        process = ScriptedProcess(record.employee_id, epoch, 500 + len(self.launcher.processes))
        self.launcher.processes.append(process)
        return process

    async def noted(self, record: EmployeeRecord) -> None:
        """Until its failures, of which there are some, are on record."""
        known = self.lifecycle._observed[record.employee_id]
        async with asyncio.timeout(10):
            while (await self.employees.by_id(record.employee_id)).failures.failures != known.backoff.failures:
                await asyncio.sleep(0.01)

    async def has_failed(self, record: EmployeeRecord, times: int) -> None:
        """As an earlier control plane has seen and noted; the next try is due in a minute."""
        failing = Failing(restarts=times, ended=Ended("exit code 7", time.monotonic()), unnoted=True)
        failing.backoff = Backoff(times, times, time.monotonic() + 60)
        await note(self.pool, None, {record.employee_id: failing})

    @asynccontextmanager
    async def reconciling(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.lifecycle.run())
        try:
            yield
            assert not task.done(), "the reconciler has ended"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def site(database: Database, short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(lifecycle, "RECONCILE_SECONDS", 0.05)
    async with database.connect() as pool:
        employees, streams, launcher = Employees(pool), Streams(), ScriptedLauncher()
        sidecars = ScriptedSidecars()
        settings = LaunchSettings(
            gateway="127.0.0.1:1",
            database_url=database.dsn,
            logs=short_directory,
            drain_seconds=0.1,
            heartbeat_ms=1000,
            model={},
            browsers=short_directory / "browsers",
            bounds=short_directory,
        )
        workspaces = Workspaces(short_directory / "workspaces", Volumes(short_directory / "volumes", None, None))
        reconciler = Lifecycle(
            pool=pool,
            employees=employees,
            streams=streams,
            launcher=launcher,
            workspaces=workspaces,
            sidecars=sidecars,
            settings=settings,
        )
        yield Site(pool, employees, streams, launcher, sidecars, reconciler)


async def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_launch_that_fails_is_tried_ever_more_rarely(site: Site):
    site.launcher.failing = True
    earliest: list[float] = []
    late: list[float] = []

    async def note(spec: LaunchSpec) -> None:
        earliest.append(site.lifecycle._observed[spec.employee_id].backoff.not_before)
        late.append(time.monotonic() - earliest[-1])

    site.launcher.on_launch = note
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.calls >= 4)
        await until(lambda: site.lifecycle.observed(record) == pb.OBSERVED_STATE_BACKING_OFF)
    assert min(late) >= 0
    # The first try and the second come at once, each later one after twice the wait, of which up to half is jitter.
    for doublings, (before, after) in enumerate(pairwise(earliest[1:4]), 1):
        assert after - before >= backoff.BACKOFF_SECONDS * 2**doublings / 2


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-offs of next to nothing."""
    monkeypatch.setattr(backoff, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(backoff, "MAX_BACKOFF_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_crash_loop_is_broken_and_leaves_the_rest_up(site: Site):
    looping, other = await site.employee("looping"), await site.employee("other")
    site.launcher.dying = looping.employee_id
    async with site.reconciling():
        await until(lambda: site.lifecycle.observed(looping) == pb.OBSERVED_STATE_CRASH_LOOPING)
        assert [one.employee_id for one in site.launcher.processes].count(looping.employee_id) == backoff.CRASH_LOOP
        await site.noted(looping)
        failures = (await site.employees.by_id(looping.employee_id)).failures
        assert failures.reason == "exit code 7"
        assert failures.wait > backoff.RARELY_SECONDS - 1
        await asyncio.sleep(0.2)
        assert [one.employee_id for one in site.launcher.alive] == [other.employee_id]
        assert site.launcher.calls == backoff.CRASH_LOOP + 1
        assert (await site.employees.by_id(other.employee_id)).failures == Failures()

        site.lifecycle._observed[looping.employee_id].backoff.not_before = 0.0  # it is time for a trial
        site.lifecycle.look()
        await until(lambda: site.launcher.calls == backoff.CRASH_LOOP + 2)
        await until(lambda: site.lifecycle.observed(looping) == pb.OBSERVED_STATE_CRASH_LOOPING)
        site.launcher.dying = None
        site.lifecycle.start_now(looping.employee_id)
        await until(lambda: len(site.launcher.alive) == 2)


@pytest.mark.usefixtures("impatient")
async def test_a_crash_loop_outlives_the_control_plane_that_broke_it(site: Site):
    looping = await site.employee()
    site.launcher.dying = looping.employee_id
    async with site.reconciling():
        await until(lambda: site.lifecycle.observed(looping) == pb.OBSERVED_STATE_CRASH_LOOPING)
        await site.noted(looping)
    async with site.reconciling():
        await until(lambda: site.lifecycle.observed(looping) == pb.OBSERVED_STATE_CRASH_LOOPING)
        await asyncio.sleep(0.2)
        assert site.launcher.calls == backoff.CRASH_LOOP
        site.launcher.dying = None
        await site.employees.want(looping.employee_id, "running")  # by another control plane, whose hint is lost
        await until(lambda: site.launcher.alive)
    assert (await site.employees.by_id(looping.employee_id)).failures.restarts == backoff.CRASH_LOOP


async def test_who_is_adopted_and_dies_goes_on_failing(site: Site, monkeypatch: pytest.MonkeyPatch):
    record = await site.employee()
    await site.has_failed(record, backoff.CRASH_LOOP - 1)
    process = await site.left_over(record, 0)
    process.code = 7
    monkeypatch.setattr(ScriptedLauncher, "alive", [process])
    process.gone.set()  # right after the launcher has told of it
    async with site.reconciling():
        await until(lambda: site.lifecycle.observed(record) == pb.OBSERVED_STATE_CRASH_LOOPING)
        await site.noted(record)
    assert site.launcher.calls == 0
    failures = (await site.employees.by_id(record.employee_id)).failures
    assert (failures.restarts, failures.own) == (backoff.CRASH_LOOP, backoff.CRASH_LOOP)


async def test_a_steady_life_ends_the_failures_on_record(site: Site):
    record = await site.employee()
    await site.has_failed(record, backoff.CRASH_LOOP)
    await site.left_over(record, 0)
    async with site.reconciling():
        await until(lambda: site.lifecycle._observed.get(record.employee_id))
        known = site.lifecycle._observed[record.employee_id]
        await asyncio.sleep(0.2)
        assert (await site.employees.by_id(record.employee_id)).failures.own == backoff.CRASH_LOOP
        known.launched_at -= backoff.STEADY_SECONDS + 1
        await until(lambda: not known.backoff.failures)
    failures = (await site.employees.by_id(record.employee_id)).failures
    assert (failures.failures, failures.own, failures.restarts) == (0, 0, backoff.CRASH_LOOP)


async def test_a_failure_is_noted_when_the_database_is_back(site: Site, monkeypatch: pytest.MonkeyPatch):
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        await site.pool.execute("ALTER TABLE employee_failures RENAME TO away")
        site.launcher.alive[0].kill(signal.SIGTERM)
        known = site.lifecycle._observed[record.employee_id]
        await until(lambda: known.unnoted)
        await asyncio.sleep(0.2)
        assert known.unnoted
        assert site.launcher.calls == 1, "nobody is started by what is not on record"
        await site.pool.execute("ALTER TABLE away RENAME TO employee_failures")
        await until(lambda: site.launcher.calls == 2)
    assert (await site.employees.by_id(record.employee_id)).failures.restarts == 1


async def test_a_launch_that_hangs_fails_in_the_end_and_holds_up_nobody_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lifecycle, "LAUNCH_SECONDS", 0.2)
    hanging = await site.employee("hanging")
    site.launcher.hanging = hanging.employee_id
    async with site.reconciling():
        await until(lambda: site.launcher.calls)
        other = await site.employee("other")
        await until(lambda: site.launcher.alive)
        assert [one.employee_id for one in site.launcher.alive] == [other.employee_id]
        await until(lambda: site.lifecycle.observed(hanging) == pb.OBSERVED_STATE_BACKING_OFF)
        await site.noted(hanging)
        kept = (await site.employees.by_id(hanging.employee_id)).failures
        assert kept.reason == "not started: the launcher has not answered within 0.2 s"
        assert kept.own == 0
        site.launcher.hanging = None
        await until(lambda: len(site.launcher.alive) == 2)


async def test_bounds_that_cannot_be_removed_keep_nobody_from_being_launched_again(site: Site, short_directory: Path):
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        group = short_directory / f"empla-employee-{record.employee_id}-1"
        group.mkdir()
        (group / "memory.events").write_text("nothing that the kernel says\n")
        said = {"epoch": 1, "kind": "cgroup", "memory_bytes": 1, "groups": [str(group)]}
        (short_directory / f"{record.employee_id}.json").write_text(json.dumps(said))
        site.launcher.alive[0].gone.set()
        await until(lambda: site.launcher.calls == 2)


@pytest.mark.usefixtures("impatient")
async def test_neither_launches_that_fail_nor_a_database_that_is_away_make_a_crash_loop(site: Site):
    """They are the machine's failures: all employees would be in one, also when the machine is well again."""
    record = await site.employee()
    away = True

    async def look(_: LaunchSpec) -> None:
        if away:
            raise StoreUnavailable("the database is away")

    site.launcher.failing, site.launcher.on_launch = True, look
    async with site.reconciling():
        await until(lambda: site.launcher.calls > 2 * backoff.CRASH_LOOP)
        assert site.lifecycle.observed(record) == pb.OBSERVED_STATE_BACKING_OFF
        away, before = False, site.launcher.calls
        await until(lambda: site.launcher.calls > before + 2 * backoff.CRASH_LOOP)
        assert site.lifecycle.observed(record) == pb.OBSERVED_STATE_BACKING_OFF
        await site.noted(record)
        assert (await site.employees.by_id(record.employee_id)).failures.reason == "not started: no room  in ?"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("code", [None, -signal.SIGKILL])
async def test_who_dies_with_the_warm_parent_or_is_killed_is_in_no_crash_loop(site: Site, code: int | None):
    record = await site.employee()
    async with site.reconciling():
        for _ in range(backoff.CRASH_LOOP + 1):
            await until(lambda: site.launcher.alive)
            [process] = site.launcher.alive
            process.code = code
            process.gone.set()
        await until(lambda: site.launcher.alive)
        assert site.lifecycle.observed(record) == pb.OBSERVED_STATE_STARTING


@pytest.mark.parametrize("restart", [False, True])
async def test_an_operators_start_or_restart_ends_a_back_off(site: Site, restart: bool):
    record = await site.employee()
    await site.has_failed(record, 12)
    async with site.reconciling():
        await asyncio.sleep(0.2)
        assert site.launcher.calls == 0
        if restart:
            await site.employees.want(record.employee_id, "running", "restart")
            await site.lifecycle.stop(record.employee_id, 0)
            site.lifecycle.look()
        else:
            await site.employees.want(record.employee_id, "running")
            site.lifecycle.start_now(record.employee_id)
        await until(lambda: site.launcher.alive)


async def test_a_launch_whose_answer_is_lost_has_no_second_process(site: Site):
    site.launcher.lost = True
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.lifecycle.pid_of(record.employee_id))
        await asyncio.sleep(0.3)
        assert site.launcher.calls == 1
        assert site.lifecycle.pid_of(record.employee_id) == site.launcher.alive[0].pid


async def test_nobody_is_started_while_it_is_unknown_what_a_lost_launch_left(site: Site):
    site.launcher.lost, site.launcher.deaf = True, 0

    async def deafen(_: LaunchSpec) -> None:
        site.launcher.deaf = 2

    site.launcher.on_launch = deafen
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.lifecycle.pid_of(record.employee_id))
        assert site.launcher.calls == 1


async def test_stopping_ends_the_process_of_a_lost_launch(site: Site):
    site.launcher.lost = True
    record = await site.employee()

    async def stop_wanted(_: LaunchSpec) -> None:
        await site.employees.want(record.employee_id, "stopped")

    site.launcher.on_launch = stop_wanted
    async with site.reconciling():
        await until(lambda: site.launcher.calls)
        await until(lambda: not site.launcher.alive)


async def test_a_launched_process_is_watched_even_when_the_database_went_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    execute = site.pool.execute

    async def fail(query: str, *arguments: Any, **options: Any) -> Any:
        if query == SQL.launched:
            raise StoreUnavailable("gone")
        return await execute(query, *arguments, **options)

    monkeypatch.setattr(type(site.pool), "execute", lambda _, *arguments, **options: fail(*arguments, **options))
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.calls)
        await asyncio.sleep(0.3)
        assert site.launcher.calls == 1
        assert site.lifecycle.pid_of(record.employee_id)


async def test_what_runs_is_adopted_and_what_is_superseded_or_deleted_is_killed(site: Site):
    current, old, deleted = [await site.employee(name) for name in ("current", "old", "deleted")]
    await site.pool.execute("UPDATE employee_epochs SET epoch = 3")
    processes = [await site.left_over(*of) for of in ((current, 3), (old, 2), (deleted, 3))]
    await site.employees.delete(deleted.employee_id, force=True)
    await site.employees.want(current.employee_id, "running")
    async with site.reconciling():
        await until(lambda: site.launcher.calls)
        assert not processes[0].signals
        assert site.lifecycle.pid_of(current.employee_id) == processes[0].pid
        assert [process.signals for process in processes[1:]] == [[signal.SIGKILL]] * 2
        await until(lambda: deleted.employee_id not in site.lifecycle._observed)
        assert {p.employee_id for p in site.launcher.alive} == {current.employee_id, old.employee_id}


async def test_a_successor_waits_for_the_superseded_process(site: Site):
    record = await site.employee()
    process = await site.left_over(record, record.epoch + 5)
    process.stubborn = True
    async with site.reconciling():
        await until(lambda: process.signals)
        await asyncio.sleep(0.2)
        assert site.launcher.calls == 0
        process.gone.set()
        await until(lambda: site.launcher.calls)


async def test_who_leads_no_more_lets_go_of_what_it_watched(site: Site):
    await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        (process,) = site.launcher.alive
        assert not process.released
    assert process.released
    assert not process.gone.is_set()


async def test_whoever_asks_for_an_end_hears_that_it_does_not_come(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lifecycle, "TERM_SECONDS", 0.05)
    monkeypatch.setattr(lifecycle, "KILL_SECONDS", 0.05)
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        (process,) = site.launcher.alive
        process.stubborn = True
        with pytest.raises(LaunchFailed, match="does not end"):
            await site.lifecycle.stop(record.employee_id, 0)
        assert site.lifecycle.pid_of(record.employee_id) == process.pid, "it is watched"
        process.stubborn = False
        await site.lifecycle.stop(record.employee_id, 0)
        assert process.gone.is_set()


async def test_adoption_is_tried_again_and_nobody_started_before(site: Site):
    record = await site.employee()
    process = await site.left_over(record, record.epoch)
    site.launcher.deaf = 2
    async with site.reconciling():
        await until(lambda: site.lifecycle.pid_of(record.employee_id) == process.pid)
        assert site.launcher.calls == 0


async def test_a_round_that_fails_is_not_the_last(site: Site):
    await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        await site.pool.execute("""UPDATE employees SET profile = '{"role": 7}'""")
        site.launcher.alive[0].gone.set()
        await asyncio.sleep(0.3)
        assert not site.launcher.alive
        await site.pool.execute("""UPDATE employees SET profile = '{"role": "Clerk"}'""")
        await until(lambda: site.launcher.alive)


async def test_what_cannot_be_read_delays_adoption_and_does_not_prevent_it(site: Site):
    record = await site.employee()
    process = await site.left_over(record, record.epoch)
    await site.pool.execute("""UPDATE employees SET profile = '{"role": 7}'""")
    async with site.reconciling():
        await asyncio.sleep(0.2)
        await site.pool.execute("""UPDATE employees SET profile = '{"role": "Clerk"}'""")
        await until(lambda: site.lifecycle.pid_of(record.employee_id) == process.pid)
        assert site.launcher.calls == 0


async def test_a_deleted_employee_is_stopped_and_forgotten(site: Site):
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        await site.employees.delete(record.employee_id, force=True)
        await until(lambda: not site.launcher.alive)
        await until(lambda: not site.lifecycle._observed)
        assert site.launcher.calls == 1


@pytest.mark.parametrize("end", ["deleted", "stop all"])
async def test_a_volume_is_mounted_as_long_as_its_employee_may_need_it(site: Site, short_directory: Path, end: str):
    volumes = Volumes(short_directory / "volumes", SMALLEST_BYTES, None)
    site.lifecycle._belongings.workspaces = Workspaces(short_directory / "workspaces", volumes)
    record = await site.employee()
    place = short_directory / "workspaces" / str(record.employee_id)
    at_launch: list[bool] = []

    async def look(spec: LaunchSpec) -> None:
        assert spec.settings["workspace"] == str(place.resolve())
        at_launch.append(await asyncio.to_thread(place.is_mount))

    site.launcher.on_launch = look
    try:
        async with site.reconciling():
            await until(lambda: site.launcher.alive)
            if end == "deleted":
                await site.employees.delete(record.employee_id, force=True)
                await until(lambda: not place.is_mount())
            else:
                await site.lifecycle.stop_all()
        assert at_launch == [True]
        assert not site.launcher.alive
        assert not place.is_mount()
    finally:
        await site.lifecycle._belongings.workspaces.release_all()


async def test_a_workspace_that_cannot_be_made_is_a_failed_launch_like_others(site: Site, short_directory: Path):
    (short_directory / "workspaces").write_text("no directory")
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.lifecycle.observed(record) == pb.OBSERVED_STATE_BACKING_OFF)
    assert site.launcher.calls == 0


@pytest.mark.parametrize("change", ["stopped", "deleted"])
async def test_a_start_looks_at_the_record_once_more(site: Site, change: str):
    record = await site.employee()
    known = lifecycle.Observed()
    if change == "deleted":
        await site.employees.delete(record.employee_id, force=True)
    else:
        await site.employees.want(record.employee_id, "stopped")
    await site.lifecycle._start(record.employee_id, known)
    assert site.launcher.calls == 0
    roles = await site.pool.fetchval(
        "SELECT count(*) FROM pg_roles WHERE rolname = $1", f"empla_e_{record.employee_id.hex}"
    )
    assert roles == 0


def judged(site: Site, process: ScriptedProcess, known: lifecycle.Observed) -> bool:
    return site.lifecycle._is_hung(process, known)


async def test_an_employee_is_judged_by_its_last_sign_of_life(site: Site):
    now = time.monotonic()
    site.lifecycle._heard_since = 0
    record = await site.employee()
    process = ScriptedProcess(record.employee_id, 1, 1)
    known = lifecycle.Observed(process=process, launched_at=now - 3600)
    stream = Stream(Launch(record.employee_id, 1), "test", seen_at=now - 1, heartbeat_at=0.0)
    with site.streams.holding(stream):
        assert not judged(site, process, known)
    assert not judged(site, process, known), "its stream is away for an instant"
    stream.seen_at = now - 20
    assert not judged(site, process, known), "its stream may be half open, which it has hardly noticed yet"
    stream.seen_at = now - 31
    assert judged(site, process, known)


async def test_whoever_is_attached_to_another_control_plane_is_judged_by_what_that_one_tells(site: Site):
    now = time.monotonic()
    site.lifecycle._heard_since = 0
    record = await site.employee()
    process = ScriptedProcess(record.employee_id, 1, 1)
    known = lifecycle.Observed(process=process, launched_at=now - 3600)
    for silent, hung in ((1, False), (31, True)):
        there = Elsewhere(
            Launch(record.employee_id, 1), "test", None, heartbeat_at=0.0, seen_at=now - silent, address=""
        )
        site.streams.elsewhere = {record.employee_id: there}
        assert judged(site, process, known) is hung


async def test_a_leader_that_stood_still_launches_nobody(site: Site, database: Database):
    record = await site.employee()
    frozen = Planes(database.dsn, "frozen", "unix:/frozen", home="home", renew=3600, lease=0.2)
    following = Planes(database.dsn, "following", "unix:/following", home="home", renew=0.05, lease=3600)
    async with frozen.present(), following.present():
        assert frozen.has_lease
        await until(lambda: following.leads)
        site.lifecycle._planes = frozen
        async with site.reconciling():
            await asyncio.sleep(0.3)
            assert not site.lifecycle._observed, "it begins no round"
            frozen._lease_ends = math.inf  # as by a clock that stood still with it
            known = site.lifecycle._observed.setdefault(record.employee_id, lifecycle.Observed())
            await until(lambda: known.backoff.failures)
    assert site.launcher.calls == 0
    assert (await site.employees.by_id(record.employee_id)).epoch == 0


async def test_one_that_has_just_taken_the_lead_does_not_say_that_somebody_has_stopped(
    site: Site, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lifecycle, "ADOPT_SECONDS", 0.1)
    record = await site.employee()
    planes = Planes(database.dsn, "leading", "unix:/leading", home="home")
    async with planes.present():
        site.lifecycle._planes = planes
        with pytest.raises(LaunchFailed, match="try again"):
            await site.lifecycle.stop(record.employee_id, 0)
        async with site.reconciling():
            monkeypatch.setattr(lifecycle, "ADOPT_SECONDS", 20)
            await site.lifecycle.stop(record.employee_id, 0)


async def test_nobody_is_judged_after_the_control_plane_itself_stood_still(site: Site):
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        known = site.lifecycle._observed[record.employee_id]
        known.launched_at -= 3600
        site.lifecycle._round_at -= 3600
        site.lifecycle._heard_since -= 3600
        await asyncio.sleep(0.3)
        assert not site.launcher.processes[0].signals
        site.lifecycle._heard_since -= 3600
        await until(lambda: site.launcher.processes[0].signals == [signal.SIGKILL])


async def test_nobody_is_judged_until_some_time_after_the_database_is_back(site: Site, monkeypatch: pytest.MonkeyPatch):
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        known = site.lifecycle._observed[record.employee_id]
        await until(lambda: not known.busy.locked())
        before = site.employees.list_of
        away, rounds = True, 0

        async def list_of(*arguments: Any, **options: Any) -> list[EmployeeRecord]:
            nonlocal rounds
            rounds += 1
            if away:
                raise StoreUnavailable("gone")
            return await before(*arguments, **options)

        async def further(count: int) -> None:
            """Until so many more rounds are over, and with them one that was under way."""
            last = rounds + count + 1
            await until(lambda: rounds >= last)

        monkeypatch.setattr(site.employees, "list_of", list_of)
        await further(1)
        known.launched_at -= 3600
        site.lifecycle._heard_since -= 3600
        await further(1)
        away = False
        await further(2)
        assert not site.launcher.processes[0].signals


def cookies_of(record: EmployeeRecord, directory: Path) -> Path:
    """What an employee's browser kept."""
    place = directory / "browsers" / str(record.employee_id)
    place.mkdir(parents=True)
    (place / "storage.json").write_text("{}")
    return place


async def test_the_browser_profile_stays_when_an_employee_stops_and_goes_when_it_is_deleted(
    site: Site, short_directory: Path
):
    told: list[str] = []

    async def note(spec: LaunchSpec) -> None:
        told.append(spec.settings["browser_profile"])

    site.launcher.on_launch = note
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.processes)
        place = cookies_of(record, short_directory)
        assert told == [str(place)]
        await site.employees.want(record.employee_id, "stopped")
        await until(lambda: site.lifecycle.pid_of(record.employee_id) == 0)
        assert place.exists()
        await site.employees.delete(record.employee_id, force=True)
        await until(lambda: not place.exists())


async def test_what_a_deleted_employee_had_goes_although_that_fails_at_first(site: Site, short_directory: Path):
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        place = cookies_of(record, short_directory)
        site.sidecars.failing = True
        await site.employees.delete(record.employee_id, force=True)
        await until(lambda: (record.employee_id, sys.maxsize) in site.sidecars.ended)
        assert place.exists()
        site.sidecars.failing = False
        await until(lambda: not place.exists())
        await until(lambda: not site.lifecycle._observed)


async def test_browser_profiles_of_employees_deleted_before_go_at_the_start(site: Site, short_directory: Path):
    kept, deleted = [await site.employee(name, running=False) for name in ("kept", "deleted")]
    places = [cookies_of(record, short_directory) for record in (kept, deleted)]
    await site.employees.delete(deleted.employee_id, force=True)
    async with site.reconciling():
        await until(lambda: not places[1].exists())
    assert places[0].exists()


async def test_sidecars_of_an_earlier_launch_end_before_the_next(site: Site):
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        assert site.sidecars.ended == [(record.employee_id, 0), (record.employee_id, 0)]
        site.launcher.alive[0].kill(signal.SIGKILL)
        await until(lambda: len(site.launcher.processes) == 2)
        assert set(site.sidecars.ended[2:]) == {(record.employee_id, 1)}
    await site.lifecycle.stop_all()
    assert site.sidecars.all_ended


async def test_nobody_is_started_while_a_sidecar_does_not_end(site: Site):
    site.sidecars.failing = True
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.lifecycle.observed(record) == pb.OBSERVED_STATE_BACKING_OFF)
        assert site.launcher.calls == 0
        site.sidecars.failing = False
        await until(lambda: site.launcher.alive)


@pytest.mark.parametrize("ends", ["stopped", "deleted"])
async def test_what_is_asked_while_an_employee_is_busy_is_done_as_soon_as_it_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch, ends: str
):
    monkeypatch.setattr(lifecycle, "RECONCILE_SECONDS", 3600)
    record = await site.employee()
    async with site.reconciling():
        await until(lambda: site.launcher.alive)
        known = site.lifecycle._observed[record.employee_id]
        async with known.busy:
            if ends == "stopped":
                await site.employees.want(record.employee_id, "stopped")
            else:
                await site.employees.delete(record.employee_id, force=True)
            for _ in range(3):
                site.lifecycle.records = None
                site.lifecycle.look()
                await until(lambda: site.lifecycle.records is not None)
            assert site.launcher.alive
        await until(lambda: not site.launcher.alive)
        if ends == "deleted":
            await until(lambda: record.employee_id not in site.lifecycle._observed)
