"""Which Chromium is taken, and what is said where there is none or it does not start."""

from pathlib import Path

import pytest

from workstation.errors import SandboxUnavailable
from workstation.local.browser import requirements
from workstation.local.browser.requirements import explain, find_chromium


def program(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch(mode=0o755)
    return place


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a Chromium, whose home and PATH are in the directory."""
    for name in ("_PLACES", "_LARGE_PLACES"):
        monkeypatch.setattr(requirements, name, ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_without_any_it_says_what_to_install(bare: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="apt-get install chromium-headless-shell"):
        find_chromium()


def test_the_small_one_is_taken_before_the_large_one(bare: Path) -> None:
    large = program(bare / "bin" / "google-chrome")
    assert find_chromium() == large
    small = program(bare / ".cache/ms-playwright/chromium_headless_shell-1/chrome-linux64/chrome-headless-shell")
    assert find_chromium() == small
    installed = program(bare / "bin" / "chromium-headless-shell")
    assert find_chromium() == installed


def test_the_newest_of_playwright_s_is_taken(bare: Path) -> None:
    for number in (9, 1000, 999):
        program(bare / f".cache/ms-playwright/chromium-{number}/chrome-linux64/chrome")
    assert "chromium-1000" in str(find_chromium())


def test_a_snap_is_none(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snap = program(bare / "snap")
    (bare / "bin").mkdir()
    (bare / "bin" / "chromium").symlink_to(snap)
    assert find_chromium() == snap
    monkeypatch.setattr(requirements, "_SNAP", (str(snap),))
    with pytest.raises(SandboxUnavailable):
        find_chromium()


def test_one_that_is_named_must_be_there(bare: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="no Chromium at"):
        find_chromium(bare / "chromium")
    assert find_chromium(program(bare / "chromium")) == bare / "chromium"


def test_a_library_that_is_missing_is_named() -> None:
    said = "[pid=7][err] chrome: error while loading shared libraries: libnss3.so: cannot open shared object file"
    assert "the library libnss3.so" in explain(said)


@pytest.mark.parametrize("said", ["No usable sandbox! Update your kernel", "Failed to move to new namespace: PID"])
def test_a_sandbox_that_cannot_be_names_the_switch(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "own sandbox does not work" in explain(said)
    (tmp_path / "switch").write_text("1\n")
    switches = ((str(tmp_path / "switch"), "1", "sysctl -w that=0"),)
    monkeypatch.setattr("workstation.local.jail.requirements._SWITCHES", switches)
    assert explain(said).endswith("sysctl -w that=0")


@pytest.mark.parametrize("said", ["", "\x1b[31m", "x" * 100_000, "[pid=1][err] " + "y\n" * 9_000])
def test_whatever_is_said_makes_one_short_sentence(said: str) -> None:
    assert len(explain(said)) < 1_000
