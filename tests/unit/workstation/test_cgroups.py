"""Where control groups are found, and which files are written to bound one, on either version."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from workstation.errors import SandboxUnavailable
from workstation.local.jail import cgroups
from workstation.local.jail.cgroups import GroupLimits, find_cgroups

FILES_OF_VERSION_1 = (
    *("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "pids.max", "cpu.cfs_period_us", "cpu.cfs_quota_us"),
)
LIMITS = GroupLimits(memory_bytes=64 << 20, processes=7, cpus=0.5)
SHOWN = {
    "cgroup.controllers": "cpuset cpu io memory pids\n",
    "cgroup.subtree_control": "",
    "cgroup.type": "domain\n",
    "cgroup.procs": "",
}


def mountinfo(place: Path, kind: str, options: str, root: str = "/") -> str:
    return f"36 25 0:31 {root} {place} rw,relatime shared:9 - {kind} {kind} {options}\n"


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    """What the kernel shows of a version 2 hierarchy below its root, as far as plain files can."""
    own = tmp_path / "service"
    for directory in (own, own / "empla-jails"):
        directory.mkdir()
        for name, text in SHOWN.items():
            (directory / name).write_text(text)
    return tmp_path


def test_version_1_groups_are_made_below_our_own(tmp_path: Path):
    mounts, membership = "", ""
    for name in ("memory", "pids", "cpu", "cpuacct"):
        (tmp_path / name / "own").mkdir(parents=True)
        mounts += mountinfo(tmp_path / name, "cgroup", f"rw,{name}")
        membership += f"4:{name}:/own\n"
    found = find_cgroups(mounts, membership)
    assert found.version == 1
    assert [place.name for place in found.parents] == ["own"] * 4


def test_a_container_sees_its_own_part_of_the_hierarchy(tmp_path: Path):
    mounts, membership = "", ""
    for name in ("memory", "pids", "cpu", "cpuacct"):
        (tmp_path / name).mkdir()
        mounts += mountinfo(tmp_path / name, "cgroup", f"rw,{name}", root="/docker/1")
        membership += f"4:{name}:/docker/1\n"
    assert [place.name for place in find_cgroups(mounts, membership).parents] == ["memory", "pids", "cpu", "cpuacct"]


def test_groups_of_an_employee_in_a_group_of_its_own_lie_beside_it(tmp_path: Path, version_2: Path):
    mounts, membership = "", ""
    for name in ("memory", "pids", "cpu", "cpuacct"):
        (tmp_path / name / "own" / "empla-employee-1").mkdir(parents=True)
        mounts += mountinfo(tmp_path / name, "cgroup", f"rw,{name}")
        membership += f"4:{name}:/own/empla-employee-1\n"
    assert [place.name for place in find_cgroups(mounts, membership).parents] == ["own"] * 4

    (version_2 / "service" / "empla-jails" / "empla-employee-1").mkdir()
    found = find_cgroups(mountinfo(version_2, "cgroup2", "rw"), "0::/service/empla-jails/empla-employee-1\n")
    assert found.parents == (version_2 / "service" / "empla-jails",)


def test_version_2_hands_the_controllers_down(version_2: Path):
    found = find_cgroups(mountinfo(version_2, "cgroup2", "rw"), "0::/service\n")
    assert found.version == 2
    assert found.parents == (version_2 / "service" / "empla-jails",)
    for directory in (version_2 / "service", version_2 / "service" / "empla-jails"):
        assert (directory / "cgroup.subtree_control").read_text().split() == ["+memory", "+pids", "+cpu"]


@pytest.mark.parametrize("together", [True, False])
def test_version_2_limits_a_group_and_has_all_of_it_killed_together_if_wanted(version_2: Path, together: bool):
    group = find_cgroups(mountinfo(version_2, "cgroup2", "rw"), "0::/service\n").create()
    (directory,) = {Path(entrance).parent for entrance in group.entrances}
    for name in ("memory.max", "memory.oom.group", "pids.max", "cpu.max"):  # no memory.swap.max: a kernel without swap
        (directory / name).touch()
    group.limit(replace(LIMITS, ends_together=together))
    written = {path.name: path.read_text() for path in directory.iterdir()}
    assert written["memory.max"] == str(64 << 20)
    assert written["memory.oom.group"] == ("1" if together else "0")
    assert written["pids.max"] == "7"
    assert written["cpu.max"] == "50000 100000"


def test_version_2_stays_where_it_moved_before(version_2: Path):
    (version_2 / "service" / "empla-main").mkdir()
    found = find_cgroups(mountinfo(version_2, "cgroup2", "rw"), "0::/service/empla-main\n")
    assert found.parents == (version_2 / "service" / "empla-jails",)


def test_version_2_moves_nobody_where_a_controller_is_missing(version_2: Path):
    own = version_2 / "service"
    (own / "cgroup.controllers").write_text("memory pids\n")
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n")
    with pytest.raises(SandboxUnavailable, match="cpu missing"):
        find_cgroups(mountinfo(version_2, "cgroup2", "rw"), "0::/service\n")
    assert {path.name for path in own.iterdir()} == {*SHOWN, "empla-jails"}


def test_version_2_waits_for_all_to_have_moved(version_2: Path, monkeypatch: pytest.MonkeyPatch):
    """Who forked before it was moved left a child behind, and the kernel refuses until that has moved too."""
    refusals = iter([OSError(errno.EBUSY, "busy")] * 2)
    write = cgroups._write

    def busy(path: Path, value: object) -> None:
        if path == version_2 / "service" / "cgroup.subtree_control" and (refusal := next(refusals, None)):
            raise refusal
        write(path, value)

    monkeypatch.setattr(cgroups, "_write", busy)
    find_cgroups(mountinfo(version_2, "cgroup2", "rw"), "0::/service\n")
    assert next(refusals, None) is None
    assert (version_2 / "service" / "cgroup.subtree_control").read_text()


@pytest.mark.parametrize("mounts", ["", "36 25 0:31 / /proc rw - proc proc rw\n"])
def test_without_control_groups_it_says_so(mounts: str):
    with pytest.raises(SandboxUnavailable, match="control groups"):
        find_cgroups(mounts, "0::/\n")


def test_a_hierarchy_without_the_controllers_is_refused(tmp_path: Path):
    with pytest.raises(SandboxUnavailable, match="Delegate"):
        find_cgroups(mountinfo(tmp_path, "cgroup2", "rw"), "0::/\n")


def test_groups_of_this_machine_hold():
    """With the kernel itself: a process that is in the group is counted, bounded, and keeps the group from going."""
    found = find_cgroups()
    group = found.create()
    try:
        group.limit(LIMITS)
        joining = (
            'for f in "$@"; do echo $$ >"$f"; done; echo in; read line; '
            "for i in 1 2 3 4 5 6 7 8 9; do sleep 9 >/dev/null 2>&1 & done"
        )
        with subprocess.Popen(
            ["/bin/sh", "-c", joining, "sh", *group.entrances],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as shell:
            assert shell.stdout is not None
            assert shell.stdout.readline() == b"in\n"
            assert group.pids() == [shell.pid]
            assert not group.remove()
            _, said = shell.communicate(b"\n")
            assert b"fork" in said.lower()  # nine more are over the bound
            assert group.cpu_seconds() > 0
            assert group.peak_memory_bytes() > 0
            assert not group.out_of_memory()
            for pid in group.pids():
                os.kill(pid, 9)
    finally:
        while not group.remove():
            pass


def test_groups_of_dead_owners_are_swept():
    found = find_cgroups()
    with subprocess.Popen(["/bin/true"]) as gone:
        pass
    for parent in found.parents:
        (parent / f"empla-jail-{gone.pid}-1").mkdir()
    found.sweep()
    assert not [place for parent in found.parents for place in parent.glob(f"empla-jail-{gone.pid}-*")]


def test_who_is_in_a_group_without_a_number_of_its_own_here_does_not_end_us(tmp_path: Path):
    with subprocess.Popen(["/bin/true"]) as gone:
        pass
    (group := tmp_path / f"empla-jail-{gone.pid}-1").mkdir()
    (group / "cgroup.procs").write_text("0\n")  # as the kernel shows whoever lives outside of our namespace
    sweep = "import sys; from pathlib import Path; from workstation.local.jail.cgroups import Cgroups; "
    sweep += "Cgroups((Path(sys.argv[1]),), 2).sweep()"
    subprocess.run([sys.executable, "-c", sweep, str(tmp_path)], check=True, start_new_session=True)


def test_another_process_finds_the_same_place():
    """Also on version 2, where finding it moves us."""
    here = find_cgroups()
    assert find_cgroups() == here
    code = "from workstation.local.jail.cgroups import find_cgroups; print(*find_cgroups().parents)"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert there.stdout.split() == [str(place) for place in here.parents]


def test_controllers_that_are_mounted_together_have_one_group(tmp_path: Path):
    """As on most machines with version 1: cpu and cpuacct are one directory there."""
    mounts, membership = "", ""
    for names in ("memory", "pids", "cpu,cpuacct"):
        (tmp_path / names).mkdir()
        mounts += mountinfo(tmp_path / names, "cgroup", f"rw,{names}")
        membership += f"4:{names}:/\n"
    group = find_cgroups(mounts, membership).create()
    assert len(group.entrances) == 3
    assert group.remove()


def test_a_share_above_that_is_smaller_holds(tmp_path: Path):
    mounts, membership = "", ""
    for name in ("memory", "pids", "cpu", "cpuacct"):
        (tmp_path / name / "own").mkdir(parents=True)
        mounts += mountinfo(tmp_path / name, "cgroup", f"rw,{name}")
        membership += f"4:{name}:/own\n"
    own = tmp_path / "cpu" / "own"
    (own / "cpu.cfs_quota_us").write_text("25000")
    (own / "cpu.cfs_period_us").write_text("100000")
    group = find_cgroups(mounts, membership).create()
    for place in (Path(entrance).parent for entrance in group.entrances):
        for name in FILES_OF_VERSION_1:
            (place / name).write_text("")
    group.limit(LIMITS)
    (place,) = own.glob("empla-jail-*")
    assert (place / "cpu.cfs_quota_us").read_text() == "25000"
