"""Employees in the control plane's own process: each ends, fails and is started again as if it had one to itself."""

import asyncio
import logging
import os
import signal
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from controlplane.auth import new_secret
from controlplane.errors import LaunchFailed
from controlplane.launchers.inprocess import InProcessLauncher
from controlplane.launchers.interface import LaunchSpec
from controlplane.settings import Settings
from controlplane.sidecars.launching import owner_of
from controlplane.sidecars.table import Launch
from empla import telemetry
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.integration.controlplane.conftest import Plane, serving
from tests.integration.controlplane.seats import lives, until

_mark: ContextVar[str] = ContextVar("mark", default="")
FIRST, SECOND = new_id(), new_id()


def spec(directory: Path, employee_id: UUID = FIRST, **settings: Any) -> LaunchSpec:
    return LaunchSpec(employee_id, 1, settings, directory / f"{employee_id}.log")


@contextmanager
def logged() -> Iterator[StringIO]:
    """What is logged by nobody in particular."""
    handler, root = telemetry.LogHandler(own := StringIO()), logging.getLogger()
    root.addHandler(handler)
    try:
        yield own
    finally:
        root.removeHandler(handler)


async def ending(settings: dict[str, Any]) -> int:
    """A life that lasts for a moment, and what it was told."""
    await asyncio.sleep(0)
    if "error" in settings:
        raise RuntimeError(settings["error"])
    return int(settings["code"])


async def lasting(_: dict[str, Any]) -> int:
    await asyncio.Event().wait()
    return 0


async def test_a_life_that_ends_is_a_process_that_exits(tmp_path: Path):
    async with InProcessLauncher(ending) as launcher:
        ended = await launcher.launch(spec(tmp_path, code=3))
        assert await ended.wait() == 3
        ended.kill(signal.SIGKILL)  # as of a process that is gone: no error, and no other end
        assert await ended.wait() == 3
        assert not await launcher.running()


async def test_a_life_that_fails_says_why_in_its_log_and_harms_no_other(tmp_path: Path):
    async def live(settings: dict[str, Any]) -> int:
        return await (ending(settings) if settings else lasting(settings))

    with logged() as own:
        async with InProcessLauncher(live) as launcher:
            other = await launcher.launch(spec(tmp_path, SECOND))
            failed = await launcher.launch(spec(tmp_path, error="the tea is cold"))
            assert await failed.wait() == 1
            assert list(await launcher.running(SECOND)) == [other]
    assert "the tea is cold" in (tmp_path / f"{FIRST}.log").read_text()
    assert (tmp_path / f"{SECOND}.log").read_text() == own.getvalue() == ""


async def test_each_has_a_context_and_threads_of_its_own(tmp_path: Path):
    logger = logging.getLogger("tests.life")
    seen: dict[str, tuple[str, str]] = {}

    async def live(settings: dict[str, Any]) -> int:
        seen[settings["name"]] = _mark.get(), await asyncio.to_thread(lambda: threading.current_thread().name)
        _mark.set(settings["name"])
        await asyncio.to_thread(logger.warning, settings["name"])
        return 0

    _mark.set("who launches them")
    with logged() as own:
        async with InProcessLauncher(live) as launcher:
            for employee_id, name in ((FIRST, "ada"), (SECOND, "bob")):
                await (await launcher.launch(spec(tmp_path, employee_id, name=name))).wait()
            logger.warning("the control plane")
    assert [mark for mark, _ in seen.values()] == ["", ""]
    assert str(FIRST) in seen["ada"][1]
    assert str(SECOND) in seen["bob"][1]
    for text, name in (((tmp_path / f"{FIRST}.log").read_text(), "ada"), (own.getvalue(), "the control plane")):
        [line] = text.splitlines()
        assert f'"message": "{name}"' in line


async def test_it_is_not_gone_before_its_threads_are(tmp_path: Path):
    began, go_on = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait()

    async def live(_: dict[str, Any]) -> int:
        await asyncio.to_thread(work)
        return 0

    async with InProcessLauncher(live) as launcher:
        stuck = await launcher.launch(spec(tmp_path))
        await until(began.is_set)
        stuck.kill(signal.SIGKILL)
        gone = asyncio.create_task(stuck.wait())
        try:
            await asyncio.wait([gone], timeout=0.2)
            assert not gone.done(), "it still has a thread that may write to its files"
            assert list(await launcher.running(FIRST)) == [stuck]
        finally:
            go_on.set()
        assert await gone == -signal.SIGKILL


@pytest.mark.parametrize(("second", "cleaned_up"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
async def test_sigterm_lets_it_clean_up_and_sigkill_does_not_wait_for_that(
    tmp_path: Path, second: signal.Signals, cleaned_up: bool
):
    cleaning, go_on, cleaned = asyncio.Event(), asyncio.Event(), []

    async def live(_: dict[str, Any]) -> int:
        try:
            return await lasting({})
        finally:
            cleaning.set()
            await go_on.wait()
            cleaned.append(True)

    async with InProcessLauncher(live) as launcher:
        employee = await launcher.launch(spec(tmp_path))
        await asyncio.sleep(0)
        employee.kill(signal.SIGTERM)
        await cleaning.wait()
        employee.kill(second)
        go_on.set()
        assert await employee.wait() == -second
        assert bool(cleaned) == cleaned_up


async def test_nobody_outlives_the_launcher_or_comes_after_it(tmp_path: Path):
    async with InProcessLauncher(lasting) as launcher:
        left = await launcher.launch(spec(tmp_path))
    assert await left.wait() == -signal.SIGTERM
    with pytest.raises(LaunchFailed, match="nothing is launched any more"):
        await launcher.launch(spec(tmp_path))


HANGS = """
import asyncio, threading
from pathlib import Path
from uuid import uuid4
from controlplane.launchers import inprocess
from controlplane.launchers.interface import LaunchSpec

began = threading.Event()

def work():
    began.set()
    threading.Event().wait()

async def live(_):
    await asyncio.to_thread(work)

async def main():
    async with inprocess.InProcessLauncher(live) as launcher:
        await launcher.launch(LaunchSpec(uuid4(), 1, {}, Path("log")))
        while not began.is_set():
            await asyncio.sleep(0.01)

inprocess.END_SECONDS = 0.2
asyncio.run(main())
print("stopped", flush=True)
inprocess.end_despite_threads()
"""


async def test_a_thread_that_hangs_does_not_keep_the_process(tmp_path: Path):
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HANGS,
        cwd=tmp_path,
        stdout=PIPE,
        stderr=PIPE,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        async with asyncio.timeout(60):
            output, errors = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert (program.returncode, output) == (0, b"stopped\n")
    assert b"does not end: what it began in a thread hangs" in errors


async def test_a_log_that_cannot_be_written_is_a_failed_launch(tmp_path: Path):
    async with InProcessLauncher(lasting) as launcher:
        with pytest.raises(LaunchFailed, match="the log cannot be written"):
            await launcher.launch(spec(tmp_path / "missing"))


@pytest.mark.parametrize("address", ["grpc_address", "http_address"])
def test_it_is_refused_where_other_machines_are_let_in(address: str):
    assert Settings(launcher="inprocess").launcher == "inprocess"
    with pytest.raises(ValidationError, match=f"EMPLA_{address.upper()} lets other machines in"):
        Settings.model_validate({"launcher": "inprocess", address: "0.0.0.0:7400"})


@pytest.fixture
def plane_settings(plane_settings: Settings) -> Settings:
    return plane_settings.model_copy(update={"launcher": "inprocess"})


@pytest.fixture
async def pair(plane: Plane) -> Plane:
    """A control plane with two employees."""
    for name in ("ada", "bob"):
        await plane.stub.CreateEmployee(
            pb.CreateEmployeeRequest(name=name, profile_name="sales-ae", start=True), timeout=10
        )
    for name in ("ada", "bob"):
        await attached(plane, name)
    return plane


async def attached(plane: Plane, name: str, *, epoch: int = 1) -> pb.Employee:
    while True:
        found: pb.Employee = await plane.stub.GetEmployee(pb.GetEmployeeRequest(employee=name), timeout=10)
        if found.observed_state == pb.OBSERVED_STATE_ATTACHED and found.epoch == epoch:
            return found
        await asyncio.sleep(0.02)


async def asked(plane: Plane, name: str, text: str = "What is 17 * 23?") -> str:
    request = pb.SendMessageRequest(employee=name, text=text, wait_ms=30_000)
    return str((await plane.stub.SendMessage(request, timeout=60)).replies[0].text)


async def test_one_that_is_lost_is_started_again_and_the_other_goes_on(pair: Plane):
    ada = UUID((await attached(pair, "ada")).employee_id)
    [life] = await pair.running.launcher.running(ada)
    life.kill(signal.SIGKILL)
    assert "391" in await asked(pair, "ada")
    assert (await attached(pair, "ada", epoch=2)).restarts == 1
    assert "391" in await asked(pair, "bob")
    await attached(pair, "bob", epoch=1)


async def test_each_runs_programs_beside_its_own_files(pair: Plane):
    for name in ("ada", "bob"):
        await asked(pair, name, f"Write 'I am {name}' to me.txt")
    for name in ("ada", "bob"):
        assert f"I am {name}" in await asked(pair, name, "Run `cat me.txt`")


async def test_its_sidecar_is_a_process_that_ends_with_this_one(plane: Plane):
    profile = pb.Profile(role="Clerk", autonomy=pb.AUTONOMY_AUTONOMOUS)
    profile.workstation.compute = "sidecar"
    await plane.stub.CreateEmployee(pb.CreateEmployeeRequest(name="ada", profile=profile, start=True), timeout=10)
    await attached(plane, "ada")
    assert "42" in await asked(plane, "ada", "Run `python3 -c 'print(6 * 7)'`")
    [sidecar] = (await plane.stub.ListSidecars(pb.ListSidecarsRequest(), timeout=10)).sidecars
    assert sidecar.pid not in (0, os.getpid())
    [launch] = await plane.pool.fetch("SELECT launcher, process FROM employee_epochs")
    owner = owner_of(Launch(new_id(), 1, launch["launcher"], launch["process"]), "process")
    assert owner["owner_pid"] == os.getpid()


async def test_one_that_cannot_live_backs_off_and_its_log_says_why(pair: Plane):
    broken = pb.CreateEmployeeRequest(name="eve", start=True)
    broken.profile.role = "Clerk"
    broken.profile.model.provider = "openai"  # and there is no key
    employee_id = (await pair.stub.CreateEmployee(broken, timeout=10)).employee_id
    while (found := await pair.stub.GetEmployee(pb.GetEmployeeRequest(employee="eve"), timeout=10)).restarts < 2:
        await asyncio.sleep(0.02)
    assert found.observed_state in (pb.OBSERVED_STATE_BACKING_OFF, pb.OBSERVED_STATE_STARTING)
    assert (pair.settings.log_directory / f"{employee_id}.log").exists()
    assert "391" in await asked(pair, "ada")


@pytest.mark.parametrize("before", ["process", "inprocess"])
async def test_who_an_earlier_control_plane_left_is_launched_again(
    plane_settings: Settings, database: Database, before: str
):
    token, earlier = new_secret(), plane_settings.model_copy(update={"launcher": before})
    async with database.connect() as pool:
        async with serving(earlier, database.dsn, token, pool) as first:
            left = await first.attached()
        async with serving(plane_settings, database.dsn, token, pool) as second:
            found = await attached(second, left.name, epoch=left.epoch + 1)
            assert found.pid == os.getpid()
            assert before == "inprocess" or not lives(left.pid)
            assert "391" in await asked(second, left.name)
            await second.running.lifecycle.stop_all()
        await first.running.launcher.stop()  # which collects the parent that the second one ended
