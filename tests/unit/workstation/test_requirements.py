"""What the sandbox says where a machine lacks something, in words that tell how to get it."""

import os
from pathlib import Path

import pytest

from workstation.errors import SandboxUnavailable
from workstation.interface import ExecSpec
from workstation.local.compute import LocalCompute
from workstation.local.jail import jail, requirements
from workstation.local.jail.requirements import explain


@pytest.fixture
def workspace(short_directory: Path) -> Path:
    place = short_directory / "workspace"
    place.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(place, 1_900_000_000, 1_900_000_000)
    return place


def program(place: Path, text: str) -> str:
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)
    return str(place)


async def refused(workspace: Path) -> str:
    with pytest.raises(SandboxUnavailable) as caught:
        async with LocalCompute(workspace) as compute:
            await compute.start("one", ExecSpec(argv=("true",)))
    return str(caught.value)


async def test_a_missing_library_is_named_with_its_package(
    workspace: Path, short_directory: Path, monkeypatch: pytest.MonkeyPatch
):
    said = "nsjail: error while loading shared libraries: libnl-route-3.so.200: cannot open shared object file"
    broken = program(short_directory / "nsjail", f"echo '{said}' >&2; exit 127")
    monkeypatch.setattr(jail, "_nsjail", lambda: broken)
    assert "apt-get install libnl-route-3-200" in await refused(workspace)


async def test_without_nsjail_it_says_where_to_get_it(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jail, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no nsjail" in await refused(workspace)


async def test_what_nsjail_complains_of_is_passed_on(
    workspace: Path, short_directory: Path, monkeypatch: pytest.MonkeyPatch
):
    said = "[E][2026-01-01T00:00:00+0000][1] buildMountTree():328 Failed to mount mandatory point"
    broken = program(short_directory / "nsjail", f"echo '{said}' >&2; exit 255")
    monkeypatch.setattr(jail, "_nsjail", lambda: broken)
    assert "Failed to mount mandatory point" in await refused(workspace)


def test_a_switched_off_kernel_feature_is_named(short_directory: Path, monkeypatch: pytest.MonkeyPatch):
    switch = short_directory / "unprivileged_userns_clone"
    switch.write_text("0\n")
    monkeypatch.setattr(requirements, "_SWITCHES", ((str(switch), "0", "sysctl -w that=1"),))
    assert explain("[E][2026][1] clone(): Operation not permitted").endswith("sysctl -w that=1")


@pytest.mark.parametrize("said", ["", "\x1b[31m nonsense", "x" * 100_000])
def test_whatever_is_said_makes_one_short_sentence(said: str):
    assert len(explain(said)) < 1_000


async def test_a_workspace_of_root_is_refused_with_the_cure(short_directory: Path):
    if os.geteuid() != 0:
        return  # without root there are no such workspaces of ours
    place = short_directory / "roots"
    place.mkdir()
    assert "chown" in await refused(place)
