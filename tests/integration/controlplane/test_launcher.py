"""The process launcher with its real warm parent."""

import asyncio
import fcntl
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.errors import LaunchFailed
from controlplane.launchers.bounds import BoundsRecords
from controlplane.launchers.interface import EMPLOYEE, LaunchSpec
from controlplane.launchers.process import Parent, ProcessLauncher, employees
from empla.store.ids import new_id
from tests.integration.controlplane.seats import held
from workstation.local.jail.cgroups import find_cgroups

MARKER = "marker-of-a-secret"


@pytest.fixture
async def launcher(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProcessLauncher]:
    monkeypatch.setenv("EMPLA_DATABASE_URL", f"postgresql://{MARKER}")
    monkeypatch.setenv("ANTHROPIC_API_KEY", MARKER)
    monkeypatch.setenv("LC_CTYPE", "C.UTF-8")
    launcher = ProcessLauncher(short_directory, short_directory / "forkserver.log", employees([]))
    try:
        yield launcher
    finally:
        await launcher.stop()


def spec(directory: Path) -> LaunchSpec:
    """An employee that tries for as long as it lives to reach a control plane that is not there."""
    employee_id = new_id()
    settings = {
        "employee_id": str(employee_id),
        "tenant_id": str(new_id()),
        "epoch": 1,
        "credential": f"{employee_id}:1:secret",
        "gateway": "127.0.0.1:1",
        "database_url": "postgresql://nobody@127.0.0.1:1/empla",
        "workspace": str(directory),
        "model_provider": "offline",
    }
    return LaunchSpec(employee_id, 1, settings, directory / "employee.log")


async def environment(pid: int) -> bytes:
    return await asyncio.to_thread(Path(f"/proc/{pid}/environ").read_bytes)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_no_secret_of_ours_is_in_the_environment_of_a_parent_or_an_employee(
    launcher: ProcessLauncher, short_directory: Path
):
    process = await launcher.launch(spec(short_directory))
    parent = await asyncio.to_thread(parent_of, process.pid)
    for pid in (process.pid, parent):
        found = await environment(pid)
        assert MARKER.encode() not in found
        assert b"LC_CTYPE=C.UTF-8" in found


async def test_running_finds_all_children_or_those_of_one_employee(launcher: ProcessLauncher, short_directory: Path):
    first, second = [await launcher.launch(spec(short_directory)) for _ in range(2)]
    assert {p.pid for p in await launcher.running()} == {first.pid, second.pid}
    (found,) = await launcher.running(second.employee_id)
    assert (found.pid, found.epoch, found.identity()) == (second.pid, 1, second.identity())
    assert await launcher.running(new_id()) == []
    second.kill(signal.SIGKILL)
    async with asyncio.timeout(10):
        assert await second.wait() == await found.wait() == -signal.SIGKILL


async def test_a_launch_that_is_given_up_leaves_no_process_and_no_hold_of_one(
    launcher: ProcessLauncher, short_directory: Path
):
    # With one thread, what is asked later is answered later.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await launcher.prepare()
    before = set(await asyncio.to_thread(held))
    launching = asyncio.create_task(launcher.launch(spec(short_directory)))
    await asyncio.sleep(0)  # it has asked by then
    launching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launching
    async with asyncio.timeout(30):
        while left := await launcher.running():
            for process in left:
                process.release()
            await asyncio.sleep(0.01)
    assert set(await asyncio.to_thread(held)) <= before  # what earlier tests left may go meanwhile


async def test_a_process_that_is_let_go_of_lives_on_and_is_found_again(
    launcher: ProcessLauncher, short_directory: Path
):
    process = await launcher.launch(spec(short_directory))
    assert process.pid in await asyncio.to_thread(held)
    process.release()
    process.release()
    process.kill(signal.SIGKILL)
    assert process.pid not in await asyncio.to_thread(held)
    (found,) = await launcher.running()
    assert found.identity() == process.identity()


async def test_an_employee_lives_in_a_control_group_of_its_own(launcher: ProcessLauncher, short_directory: Path):
    records, wanted = BoundsRecords(short_directory), spec(short_directory)
    bounds = {"memory_bytes": 300 << 20, "bounds": str(records.place(wanted.employee_id))}
    process = await launcher.launch(replace(wanted, settings=wanted.settings | bounds))
    async with asyncio.timeout(30):
        while (bound := await asyncio.to_thread(records.of, wanted.employee_id)) is None:
            await asyncio.sleep(0.02)
    assert (bound.epoch, bound.kind, bound.memory_bytes) == (1, "cgroup", 300 << 20)
    for group in bound.groups:
        assert await asyncio.to_thread((group / "cgroup.procs").read_text) == f"{process.pid}\n"
    process.kill(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert not await asyncio.to_thread(records.remove, wanted.employee_id, 1)
    assert not any(group.exists() for group in bound.groups)


async def test_an_employee_without_a_control_group_limits_itself(launcher: ProcessLauncher, short_directory: Path):
    records, wanted = BoundsRecords(short_directory), spec(short_directory)
    # Its group is there already, so it can make none.
    existing = find_cgroups().create(f"empla-employee-{wanted.employee_id}-1")
    try:
        bounds = {"memory_bytes": 300 << 20, "bounds": str(records.place(wanted.employee_id))}
        process = await launcher.launch(replace(wanted, settings=wanted.settings | bounds))
        async with asyncio.timeout(30):
            while (bound := await asyncio.to_thread(records.of, wanted.employee_id)) is None:
                await asyncio.sleep(0.02)
        assert (bound.kind, bound.groups) == ("process", ())
        assert resource.prlimit(process.pid, resource.RLIMIT_DATA)[0] == 300 << 20
    finally:
        existing.remove()


@pytest.mark.parametrize(
    "request_",
    [
        b"{}",
        b"garbage",
        b"\xff",
        b"[]",
        b"7",
        b"[" * 100_000,
        b'{"op": "open"}',
        b'{"op": "exit", "pid": []}',
        b'{"op": "spawn"}',
        b'{"op": "spawn", "kind": "employee", "settings": {"epoch": 1}}',
        b'{"op": "spawn", "kind": "employee", "names": {}, "log": "/dev/null", "settings": 3}',
        b'{"op": "spawn", "kind": "employee", "names": 3, "log": "/dev/null", "settings": {}}',
        b'{"op": "spawn", "kind": "nothing", "names": {}, "log": "/dev/null", "settings": {}}',
    ],
    ids=lambda request: request[:40].decode(errors="replace"),
)
async def test_a_broken_request_costs_nobody_else_anything(
    launcher: ProcessLauncher, short_directory: Path, request_: bytes
):
    process = await launcher.launch(spec(short_directory))
    assert await asyncio.to_thread(sent, short_directory / "forkserver.sock", request_) == b""
    assert [p.pid for p in await launcher.running()] == [process.pid]


async def test_logs_that_take_nothing_end_no_parent_and_keep_no_child_from_its_end(short_directory: Path):
    full, lock = Path("/dev/full"), short_directory / "forkserver.lock"
    launcher = ProcessLauncher(short_directory, full, Parent("forkserver", {EMPLOYEE: "builtins:int"}))
    try:
        await launcher.prepare()
        parent = lock.read_text()
        assert await asyncio.to_thread(sent, short_directory / "forkserver.sock", b"{") == b""
        process = await launcher.launch(replace(spec(short_directory), log=full))
        async with asyncio.timeout(20):
            assert await process.wait() == 1
        assert lock.read_text() == parent
    finally:
        await launcher.stop()


def sent(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.send(request)
        try:
            return connection.recv(1000)
        except ConnectionResetError:
            return b""


async def test_a_launch_whose_answer_nobody_reads_leaves_a_child_that_is_found(
    launcher: ProcessLauncher, short_directory: Path
):
    await launcher.prepare()
    wanted = spec(short_directory)
    names = {"employee_id": str(wanted.employee_id), "epoch": 1, "sidecar_id": ""}
    request = {"op": "spawn", "kind": "employee", "names": names, "log": str(wanted.log), "settings": wanted.settings}

    def leave() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(short_directory / "forkserver.sock"))
            connection.send(json.dumps(request).encode())

    await asyncio.to_thread(leave)
    (found,) = await launcher.running(wanted.employee_id)
    assert found.epoch == 1


async def test_a_parent_calls_what_it_is_told_to_before_it_serves(short_directory: Path):
    launcher = ProcessLauncher(short_directory, short_directory / "log", Parent("forkserver", {}, ("sys:exit",)))
    with pytest.raises(LaunchFailed, match="did not start"):
        await launcher.prepare()


async def test_a_parent_that_does_not_answer_is_a_failed_launch(
    launcher: ProcessLauncher, short_directory: Path, monkeypatch: pytest.MonkeyPatch
):
    process = await launcher.launch(spec(short_directory))
    parent = await asyncio.to_thread(parent_of, process.pid)
    monkeypatch.setattr("controlplane.launchers.process.ANSWER_SECONDS", 0.3)
    os.kill(parent, signal.SIGSTOP)
    try:
        with pytest.raises(LaunchFailed):
            await launcher.running()
    finally:
        os.kill(parent, signal.SIGCONT)


async def test_a_parent_whose_socket_is_gone_gets_no_other_beside_it(launcher: ProcessLauncher, short_directory: Path):
    process = await launcher.launch(spec(short_directory))
    parent = await asyncio.to_thread(parent_of, process.pid)
    (short_directory / "forkserver.sock").unlink()
    for attempt in (launcher.launch(spec(short_directory)), launcher.running()):
        with pytest.raises(LaunchFailed, match=rf"process {parent} ") as refused:
            await attempt
        assert refused.value.reason == "PARENT_UNREACHABLE"
    os.kill(parent, signal.SIGKILL)
    async with asyncio.timeout(30):
        await process.wait()
        successor = await launcher.launch(spec(short_directory))
    assert await asyncio.to_thread(parent_of, successor.pid) != parent


async def test_nobody_is_started_while_a_child_of_a_parent_that_died_is_left(
    launcher: ProcessLauncher, short_directory: Path
):
    """A process of the old parent that does not die at once, as one that waits for a disk does not."""
    lock = os.open(short_directory / "forkserver.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starting = asyncio.create_task(launcher.launch(spec(short_directory)))
        await asyncio.sleep(1)
        assert not starting.done()
    finally:
        os.close(lock)
    assert (await asyncio.wait_for(starting, 30)).epoch == 1


LATE = """
import os, sys, time
from pathlib import Path
from empla.forkserver import _leave_parent
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.01)
_leave_parent(Path(sys.argv[1]), parent)
Path(sys.argv[2]).touch()
"""


async def test_a_child_whose_parent_died_before_it_looked_ends(short_directory: Path):
    log, survived = short_directory / "log", short_directory / "survived"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LATE, str(log), str(survived), stdout=asyncio.subprocess.PIPE
    )
    await asyncio.wait_for(process.communicate(), 20)  # until the child too has closed its end
    assert not log.exists()
    assert not survived.exists()
