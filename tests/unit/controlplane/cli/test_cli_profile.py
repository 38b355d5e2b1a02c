"""`empla profile`: what is shipped can be seen, and is a file to begin with."""

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.cli.profile_file import read_profile
from controlplane.profiles import shipped_names, shipped_profile

type Fixture = Any


def test_the_list_says_what_each_is(empla: Fixture) -> None:
    header, *lines = empla("profile", "list").stdout.splitlines()
    assert header.split() == ["NAME", "ROLE", "AUTONOMY", "CAPABILITIES"]
    assert [line.split()[0] for line in lines] == shipped_names()
    [sdr] = [line for line in lines if line.startswith("sdr ")]
    assert "Sales development representative  supervised  workspace, browser, memory" in sdr
    listed = json.loads(empla("profile", "list", "--json").stdout)
    assert [one["name"] for one in listed] == shipped_names()


@pytest.mark.parametrize("name", shipped_names())
def test_what_is_shown_is_a_file_that_can_be_used(empla: Fixture, tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(empla("profile", "show", name).stdout)
    assert read_profile(path) == shipped_profile(name)


def test_a_profile_for_programs(empla: Fixture) -> None:
    shown = json.loads(empla("profile", "show", "researcher", "--json").stdout)
    assert (shown["name"], shown["when_busy"], shown["workstation"]["browser"]) == ("researcher", "steer", "sidecar")


def test_one_that_there_is_not(empla: Fixture) -> None:
    result = empla("profile", "show", "boss")
    assert (result.exit_code, "there are: csm, researcher" in result.stderr) == (4, True)
