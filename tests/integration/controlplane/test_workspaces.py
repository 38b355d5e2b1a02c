"""Workspaces as root makes them: each is an account's of its own, with all that lies in it, and nothing outside is."""

import logging
import os
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from controlplane.errors import LaunchFailed
from controlplane.launchers import workspaces as module
from controlplane.launchers.volumes import Volumes
from controlplane.launchers.workspaces import ACCOUNTS, FIRST_ACCOUNT, Workspaces, account_of
from empla.store.ids import new_id

EMPLOYEE = UUID("0190f3c4-7a00-7abc-8def-0123456789ab")
AS_ROOT = os.geteuid() == 0
ACCOUNT = account_of(EMPLOYEE) if AS_ROOT else os.geteuid()
"""Not root, everything stays ours."""


@pytest.fixture
def workspaces(short_directory: Path) -> Workspaces:
    return Workspaces(short_directory / "workspaces", Volumes(short_directory / "volumes", None, None))


@pytest.fixture
def place(short_directory: Path) -> Path:
    place = short_directory / "workspaces" / str(EMPLOYEE)
    place.mkdir(parents=True)
    return place


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def test_each_employee_has_the_same_account_always():
    assert account_of(EMPLOYEE) == 2_091_451_947
    accounts = [account_of(new_id()) for _ in range(1000)]
    assert len(set(accounts)) >= 998
    assert all(FIRST_ACCOUNT <= account < FIRST_ACCOUNT + ACCOUNTS for account in accounts)


async def test_a_new_workspace_is_the_employees_and_closed_to_others(workspaces: Workspaces, short_directory: Path):
    place = await workspaces.prepare(EMPLOYEE)
    assert place == (short_directory / "workspaces" / str(EMPLOYEE)).resolve()
    assert owner(place) == (ACCOUNT, ACCOUNT if AS_ROOT else os.getegid())
    assert place.stat().st_mode & 0o777 == 0o700


async def test_what_lies_there_is_given_and_links_are_not_followed(
    workspaces: Workspaces, place: Path, short_directory: Path
):
    outside, directory = short_directory / "outside", short_directory / "directory"
    outside.touch()
    directory.mkdir()
    (directory / "in it").touch()
    (place / "a" / "b").mkdir(parents=True)
    for name in ("a/b/file", "-execdir", "new\nline", "'; touch x"):
        (place / name).touch()
    os.mkfifo(place / "fifo")
    (place / "link").symlink_to(outside)
    (place / "to directory").symlink_to(directory)
    before = [owner(path) for path in (outside, directory, directory / "in it")]
    await workspaces.prepare(EMPLOYEE)
    assert {owner(path)[0] for path in (place, *place.rglob("*"))} == {ACCOUNT}
    assert [owner(path) for path in (outside, directory, directory / "in it")] == before
    assert len(list(place.rglob("*"))) == 9


async def test_a_file_that_is_outside_as_well_keeps_its_owner(
    workspaces: Workspaces, place: Path, short_directory: Path
):
    outside = short_directory / "outside"
    outside.touch()
    (place / "name").hardlink_to(outside)
    before = owner(outside)
    await workspaces.prepare(EMPLOYEE)
    assert owner(outside) == before


async def test_a_deep_tree_is_given_to_its_end(workspaces: Workspaces, place: Path):
    name = "d" * 200  # so that the end has a path that no system call takes
    script = f"for _ in $(seq 50); do mkdir {name} && cd -P {name}; done && touch end"
    subprocess.run(["/bin/bash", "-c", script], cwd=place, check=True)
    await workspaces.prepare(EMPLOYEE)
    found = subprocess.run(["find", place, "-uid", str(ACCOUNT)], check=True, capture_output=True)
    assert found.stdout.count(b"\n") == 52


async def test_a_link_to_another_disk_in_the_workspaces_place_is_the_operators(
    workspaces: Workspaces, short_directory: Path
):
    elsewhere = short_directory / "elsewhere"
    elsewhere.mkdir()
    (short_directory / "workspaces").mkdir()
    (short_directory / "workspaces" / str(EMPLOYEE)).symlink_to(elsewhere)
    assert await workspaces.prepare(EMPLOYEE) == elsewhere.resolve()
    assert owner(elsewhere)[0] == ACCOUNT


async def test_when_not_root_nothing_is_given(workspaces: Workspaces, place: Path, monkeypatch: pytest.MonkeyPatch):
    (place / "file").touch()
    before = owner(place / "file")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    await workspaces.prepare(EMPLOYEE)
    assert (owner(place), owner(place / "file")) == (before, before)


async def test_what_cannot_be_given_is_told_and_delays_nobody(
    workspaces: Workspaces, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "account_of", lambda _: os.getuid())
    monkeypatch.setattr(module, "GIVING_SECONDS", 0.0)
    with caplog.at_level(logging.WARNING):
        assert await workspaces.prepare(EMPLOYEE) == place.resolve()
    assert "do not belong to the employee: find was not done after 0 s" in caplog.text


async def test_a_workspace_that_cannot_be_made_is_a_failed_launch(workspaces: Workspaces, short_directory: Path):
    (short_directory / "workspaces").write_text("a file")
    with pytest.raises(LaunchFailed, match="workspace cannot be made"):
        await workspaces.prepare(EMPLOYEE)
