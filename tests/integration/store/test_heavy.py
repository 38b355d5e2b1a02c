"""Sessions that keep the embedded server busy come behind those of everybody else, and forward again."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from uuid import UUID

import pytest

from empla.store.connect import AnyConnection, connect_once
from empla.store.embedded import EmbeddedPostgres
from empla.store.heavy import BEHIND
from empla.store.ids import new_id
from empla.store.roles import create_employee_role, drop_employee_role, employee_dsn

LOOK_SECONDS = 0.05
ROOT = os.geteuid() == 0
SESSIONS = 4
WORKING_SECONDS = 100.0
BUSY = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 1000000) b"
"""For longer than a test takes, and with no more memory than others."""


@pytest.fixture
async def employees(postgres: EmbeddedPostgres) -> AsyncIterator[tuple[UUID, UUID]]:
    both = new_id(), new_id()
    async with connect_once(postgres.dsn, application_name="tests") as owner:
        for employee in both:
            await create_employee_role(owner, employee, "secret")
        yield both
        for employee in both:
            await drop_employee_role(owner, employee)


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(LOOK_SECONDS)


def nice(session: AnyConnection) -> tuple[int, int | None]:
    """The session's process's, and that of its group where there are any."""
    pid = session.get_server_pid()
    group = None
    with suppress(OSError):
        group = int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])
    return os.getpriority(os.PRIO_PROCESS, pid), group


async def test_busy_sessions_of_an_employee_come_behind_those_of_others_until_they_rest(
    postgres: EmbeddedPostgres, employees: tuple[UUID, UUID]
) -> None:
    busy, calm = (employee_dsn(postgres.dsn, employee, "secret") for employee in employees)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        keeping = group.create_task(postgres.keep_running())
        other, *heavy = [
            await stack.enter_async_context(connect_once(dsn, application_name="tests"))
            for dsn in (calm, *(busy for _ in range(SESSIONS)))
        ]
        before = nice(other)
        working = [group.create_task(session.execute(BUSY, timeout=WORKING_SECONDS)) for session in heavy]

        behind = (BEHIND, None if before[1] is None else BEHIND)
        await eventually(lambda: all(nice(session) == behind for session in heavy))
        assert await other.fetchval("SELECT 1") == 1
        assert nice(other) == before

        for task in working:
            task.cancel()
        await asyncio.wait(working)
        if ROOT:  # nobody else can take it back
            await eventually(lambda: all(nice(session) == before for session in heavy))
        keeping.cancel()
