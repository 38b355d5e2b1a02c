"""What employees said that bounds them, and what is left of it when they are gone."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from controlplane.launchers.bounds import BoundsRecords
from empla.store.ids import new_id

EMPLOYEE = new_id()


@pytest.fixture
def records(tmp_path: Path) -> BoundsRecords:
    return BoundsRecords(tmp_path)


def group(place: Path, epoch: int = 3, employee_id: UUID = EMPLOYEE) -> Path:
    made = place / "cgroup" / f"empla-employee-{employee_id}-{epoch}"
    made.mkdir(parents=True)
    return made


def said(records: BoundsRecords, *groups: Path, epoch: int = 3) -> None:
    told = {"epoch": epoch, "kind": "cgroup", "memory_bytes": 1, "groups": [str(one) for one in groups]}
    records.place(EMPLOYEE).write_text(json.dumps(told))


@pytest.mark.parametrize(
    "told", ["", "[]", "{}", "nothing", '{"epoch": "x", "kind": "", "memory_bytes": 1, "groups": []}']
)
def test_what_is_of_no_use_bounds_nobody(records: BoundsRecords, told: str):
    assert records.of(EMPLOYEE) is None
    records.place(EMPLOYEE).write_text(told)
    assert records.of(EMPLOYEE) is None
    assert not records.remove(EMPLOYEE, 3)


def test_the_group_of_a_process_that_is_gone_is_removed(records: BoundsRecords, tmp_path: Path):
    own = group(tmp_path)
    said(records, own)
    assert not records.remove(EMPLOYEE, 3)
    assert not own.exists()
    assert records.of(EMPLOYEE) is None


def test_the_group_of_a_later_launch_stays(records: BoundsRecords, tmp_path: Path):
    own = group(tmp_path, epoch=4)
    said(records, own, epoch=4)
    assert not records.remove(EMPLOYEE, 3)
    assert own.exists()
    assert records.of(EMPLOYEE) is not None


def test_nothing_but_the_employees_own_group_is_removed(records: BoundsRecords, tmp_path: Path):
    others, elsewhere = group(tmp_path, employee_id=new_id()), tmp_path / "elsewhere"
    elsewhere.mkdir()
    said(records, others, elsewhere)
    records.remove(EMPLOYEE, 3)
    assert others.exists()
    assert elsewhere.exists()


@pytest.mark.parametrize(
    ("file", "text", "used_up"),
    [
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", True),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", False),
        ("memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\n", True),
    ],
)
def test_memory_that_was_used_up_is_told(records: BoundsRecords, tmp_path: Path, file: str, text: str, used_up: bool):
    own = group(tmp_path)
    (own / file).write_text(text)
    said(records, own)
    assert records.remove(EMPLOYEE, 3) is used_up
    assert records.of(EMPLOYEE) is not None, "the group is not empty, so it is left for the next launch"
