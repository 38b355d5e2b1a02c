"""The disk below the home fills up, stays full for a while, and has room again."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from empla.store.cluster import OWNER, SUPERUSER, Cluster
from tests.e2e.callback_server import CallbackServer
from tests.e2e.conftest import connected, ended_properly, temporary_directory, using
from tests.e2e.model_server import COPY, ModelServer
from tests.e2e.small_disk import Provider, SmallDisk, small_disk
from tests.e2e.system import PATIENCE, System, is_alive, until

DISK_BYTES = 3 << 30
NEARLY_FULL_BYTES = 512 << 20
LITTLE_ROOM, LARGE_FILE = 24 << 20, 40 << 20
LONG_TEXT = "Hello. " + "x" * 100_000


@pytest.fixture(scope="module")
def running(model: ModelServer) -> Iterator[tuple[SmallDisk, System]]:
    """A running system whose home is a small disk."""
    settings = {"EMPLA_ALERT_AFTER_SECONDS": "0", "EMPLA_ALERT_CLEAR_SECONDS": "0", **using(model)}
    with temporary_directory() as directory:
        system = System(directory, patience=PATIENCE, **settings)
        with small_disk(directory / "image", system.home, DISK_BYTES) as disk, ended_properly(system):
            system.start()
            yield disk, system


@pytest.fixture
def disk(running: tuple[SmallDisk, System]) -> Iterator[SmallDisk]:
    """The disk of `system`, on which each test leaves as much room as it found."""
    yield running[0]
    running[0].relieve()


@pytest.fixture
def system(running: tuple[SmallDisk, System]) -> System:
    return running[1]


def test_a_file_that_the_disk_has_no_room_for_is_a_failure_that_the_sender_reads_of(disk: SmallDisk, system: System):
    before, workspace = _processes(system), system.workspace()
    (workspace / "large.md").write_bytes(b"x" * LARGE_FILE)
    disk.leave(LITTLE_ROOM)
    assert f"the volume is full: {COPY}" in _reply(system, "copy `large.md`")
    assert [path.name for path in workspace.iterdir()] == ["large.md"]
    disk.relieve()
    _reply(system, "copy `large.md`")
    assert (workspace / COPY).stat().st_size == LARGE_FILE
    assert _processes(system) == before


def test_a_full_disk_loses_no_message_answers_none_twice_and_restarts_no_employee(
    disk: SmallDisk, system: System, callbacks: CallbackServer
):
    before, url = _processes(system), _superuser_url(system)
    server = int(Cluster(system.home).pid_file.read_text().split()[0])
    disk.leave(NEARLY_FULL_BYTES)
    until(lambda: "disk_nearly_full" in _open_alerts(system), "the alert is open")

    provider = Provider(connected(system, callbacks), LONG_TEXT)
    with provider.delivering():
        until(lambda: provider.acknowledged, "messages come in")
        with disk.full():
            until(lambda: provider.answers[503], "the database takes nothing more in")
            assert _unready(system) == "DISK_FULL"
            until(lambda: _has_stopped(system, url), "the database has stopped")
            until(lambda: not is_alive(server), "the database has found no room to start again")
            refused = provider.answers[503]
            until(lambda: provider.answers[503] > refused, "messages are still refused")
        taken = len(provider.acknowledged)
        until(lambda: len(provider.acknowledged) > taken, "messages come in again")

    assert set(provider.answers) == {202, 503}
    assert {system.ended(message_id).state for message_id in provider.acknowledged} == {"answered"}
    until(lambda: all(map(callbacks.about, provider.acknowledged)), "every reply is posted")
    assert {len(callbacks.about(message_id)) for message_id in provider.acknowledged} == {1}
    assert _processes(system) == before
    assert _unready(system) == ""
    until(lambda: "disk_nearly_full" not in _open_alerts(system), "the alert is over")


def _reply(system: System, text: str) -> str:
    [reply] = system.ended(system.send(text).message_id).replies
    return str(reply.text)


def _processes(system: System) -> tuple[Any, ...]:
    employee = system.attached()
    return system.pid, system.warm_parent, employee.pid, employee.epoch


def _open_alerts(system: System) -> list[str]:
    return [alert["kind"] for alert in system.json("alerts", "--open")]


def _unready(system: System) -> str:
    """The reason that probes are told; '' when it is ready."""
    status, problem = system.request("GET", "/readyz")
    assert status in {200, 503}, problem
    return str(problem.get("reason", ""))


def _has_stopped(system: System, superuser_url: str) -> bool:
    """Have the database begin another file of its log, as it does after each 16 MiB, until there is no room for one."""
    with suppress(OSError, asyncpg.PostgresError):
        asyncio.run(_begin_segment(superuser_url))
    return _unready(system) == "STORE_UNAVAILABLE"


async def _begin_segment(superuser_url: str) -> None:
    connection = await asyncpg.connect(superuser_url, timeout=5)
    try:
        await connection.execute("SELECT pg_switch_wal()", timeout=5)
    finally:
        await connection.close(timeout=5)


def _superuser_url(system: System) -> str:
    cluster = Cluster(system.home)
    owner, superuser = (f"//{role}:{cluster.password(role)}@" for role in (OWNER, SUPERUSER))
    return system.database_url.replace(owner, superuser)
