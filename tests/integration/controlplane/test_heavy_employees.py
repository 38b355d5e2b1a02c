"""An employee that keeps a processor busy comes behind everybody else's at the processor, and forward again."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from controlplane.launchers.heavy import HeavyEmployees
from empla.store.ids import new_id
from workstation.local.jail.cgroups import Group, find_cgroups

LOOK_SECONDS = 0.1
SPINS = "import threading\nfor _ in range(2): threading.Thread(target=exec, args=['while True: pass']).start()"
WAITS = "import threading; threading.Event().wait()"

type Employee = tuple[UUID, Group]


@pytest.fixture
def employee(tmp_path: Path) -> Iterator[Employee]:
    """The control group of an employee's launch, with its note; whatever is in it ends with the test."""
    employee_id = new_id()
    group = find_cgroups().create(f"empla-employee-{employee_id}-1")
    told = {"epoch": 1, "kind": "cgroup", "memory_bytes": 1, "groups": list(map(str, group.directories))}
    (tmp_path / f"{employee_id}.json").write_text(json.dumps(told))
    yield employee_id, group
    assert group.remove()


@contextmanager
def begun(group: Group, program: str) -> Iterator[None]:
    """A process in the group."""
    enter = "import os, sys\nfor one in sys.argv[1:]: open(one, 'w').write(str(os.getpid()))\n"
    with subprocess.Popen([sys.executable, "-c", enter + program, *group.entrances]) as process:
        try:
            yield
        finally:
            process.kill()


def rank(group: Group) -> str:
    (found,) = [place / "cpu.idle" for place in group.directories if (place / "cpu.idle").exists()]
    return found.read_text().strip()


async def looking(heavy: HeavyEmployees, until: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not until():
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(heavy.look)


async def test_one_that_spins_gets_what_is_left_until_it_rests(employee: Employee, tmp_path: Path):
    _, group = employee
    with begun(group, SPINS):
        await looking(HeavyEmployees(tmp_path), lambda: rank(group) == "1")
        later = HeavyEmployees(tmp_path)  # of the next control plane
        for _ in range(5):
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(later.look)
        assert rank(group) == "1"
    with begun(group, WAITS):
        await looking(later, lambda: rank(group) == "0")


async def test_a_note_ranks_no_group_of_another(employee: Employee, tmp_path: Path):
    employee_id, group = employee
    note = tmp_path / f"{employee_id}.json"
    note.rename(tmp_path / f"{new_id()}.json")
    heavy = HeavyEmployees(tmp_path)
    with begun(group, SPINS):
        for _ in range(5):
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(heavy.look)
        assert rank(group) == "0"
