"""`empla compute packages` over a package index that is a directory of small wheels."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controlplane import packages
from tests.wheels import make_wheel, only_index

Fixture = Callable[..., Any]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds wheels to the only index there is."""
    place = tmp_path / "index"
    place.mkdir()
    for name, value in only_index(place).items():
        monkeypatch.setenv(name, value)
    return partial(make_wheel, place)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "compute" / "packages"


@pytest.fixture
def installed(empla: Fixture) -> Callable[..., dict[str, tuple[str, bool]]]:
    """Runs a command that must go well; versions by name, and whether they were asked for."""

    def run(*arguments: str) -> dict[str, tuple[str, bool]]:
        result = empla("compute", "packages", *arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return {one["name"]: (one["version"], one["asked"]) for one in json.loads(result.stdout)}

    return run


def imported(place: Path, name: str) -> str:
    """The version that a program finds."""
    script = f"import {name}; print({name}.VERSION)"
    environment = {"PYTHONPATH": str(place), "PATH": os.environ["PATH"]}
    python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    ended = subprocess.run([python, "-c", script], capture_output=True, text=True, env=environment, check=True)
    return ended.stdout.strip()


def test_packages_come_with_what_they_need(index: Fixture, installed: Fixture, place: Path) -> None:
    index("plots", needs=["frames>=1"])
    index("frames", "1.4")
    assert installed("list") == {}
    assert installed("add", "plots") == {"plots": ("1.0", True), "frames": ("1.4", False)}
    assert imported(place, "frames") == "1.4"
    assert installed("list") == {"plots": ("1.0", True), "frames": ("1.4", False)}


def test_everybody_may_read_them_whatever_the_umask(index: Fixture, installed: Fixture, place: Path) -> None:
    index("plots")
    before = os.umask(0o077)
    try:
        installed("add", "plots")
    finally:
        os.umask(before)
    for path in (place.parent, place, *place.rglob("*")):
        assert path.stat().st_mode & 0o055 == (0o055 if path.is_dir() else 0o044), path


def test_the_directory_stays_the_same_one(index: Fixture, installed: Fixture, place: Path) -> None:
    packages.make_directory(place)
    inode = place.stat().st_ino
    index("plots")
    installed("add", "plots")
    installed("remove", "plots")
    assert place.stat().st_ino == inode
    assert list(place.iterdir()) == []


def test_what_is_named_is_brought_up_to_date_and_the_rest_stays(
    index: Fixture, installed: Fixture, place: Path
) -> None:
    index("plots")
    index("frames", "1.0")
    installed("add", "plots", "frames")
    index("plots", "2.0")
    index("frames", "2.0")
    assert installed("add", "plots") == {"plots": ("2.0", True), "frames": ("1.0", True)}
    assert imported(place, "plots") == "2.0"
    assert installed("add", "frames<2") == {"plots": ("2.0", True), "frames": ("1.0", True)}
    assert installed("add", "frames")["frames"] == ("2.0", True)


def test_what_is_removed_takes_along_what_nobody_else_needs(index: Fixture, installed: Fixture, empla: Fixture) -> None:
    index("plots", needs=["frames", "colours; extra == 'nice'"])
    index("tables", needs=["frames", "dates"])
    for name in ("frames", "dates", "colours"):
        index(name)
    installed("add", "plots[nice]", "tables")
    refused = empla("compute", "packages", "remove", "frames")
    assert (refused.exit_code, "came along" in refused.stderr) == (4, True)
    assert set(installed("remove", "Tables")) == {"plots", "frames", "colours"}
    assert installed("remove", "plots") == {}


def test_a_change_that_fails_changes_nothing(index: Fixture, installed: Fixture, empla: Fixture, place: Path) -> None:
    index("plots", needs=["frames<2"])
    index("frames")
    index("tables", needs=["frames>=2"])
    installed("add", "plots")
    before = sorted(place.rglob("*"))
    refused = empla("compute", "packages", "add", "tables")
    assert refused.exit_code in (1, 4), refused.stderr
    assert sorted(place.rglob("*")) == before
    assert set(installed("list")) == {"plots", "frames"}
    assert [path.name for path in place.parent.iterdir() if path.name.startswith("building")] == []


@pytest.mark.parametrize(
    "name", ["", "../frames", "--index-url=x", "https://example.com/x.whl", "x @ file:///x", "a b"]
)
def test_only_names_are_taken(empla: Fixture, index: Fixture, name: str) -> None:
    refused = empla("compute", "packages", "add", "--", name)
    assert (refused.exit_code, "name" in refused.stderr) == (2, True)


def test_a_package_that_there_is_not(empla: Fixture, index: Fixture) -> None:
    index("plots", tag="cp27-cp27m-win32")
    for name in ("plots", "nothing"):
        refused = empla("compute", "packages", "add", name)
        assert (refused.exit_code, f"here of {name}" in refused.stderr) == (4, True), refused.stderr
    assert empla("compute", "packages", "remove", "nothing").exit_code == 4


def test_an_index_that_does_not_answer(empla: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    refused = empla("compute", "packages", "add", "plots")
    assert (refused.exit_code, "cannot be reached" in refused.stderr) == (1, True), refused.stderr


def test_without_pip(empla: Fixture, index: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(sys, "base_prefix", "/nonexistent")
    refused = empla("compute", "packages", "add", "plots")
    assert (refused.exit_code, "ensurepip" in refused.stderr) == (1, True)


def test_what_a_killed_one_left_is_cleared_away(index: Fixture, installed: Fixture, place: Path) -> None:
    index("plots")
    packages.make_directory(place)
    (place.parent / "building-left").mkdir()
    installed("add", "plots")
    assert not (place.parent / "building-left").exists()


def test_people_get_a_table(empla: Fixture, index: Fixture) -> None:
    assert "no packages" in empla("compute", "packages", "list").stdout
    index("plots", needs=["frames"])
    index("frames")
    shown = empla("compute", "packages", "add", "plots").stdout
    assert "plots   1.0\n" in shown
    assert "frames  1.0      came along\n" in shown
