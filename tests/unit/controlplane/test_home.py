"""What a home is known by."""

from pathlib import Path

import pytest

from controlplane import home
from controlplane.home import home_id, write_once


def test_a_home_keeps_its_id_which_its_owner_alone_may_read(tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    assert home_id(one) == home_id(one) != home_id(other)
    assert (one / "id").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in one.iterdir()] == ["id"]


def test_the_same_files_on_another_machine_are_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here, machine = home.place_id(tmp_path), tmp_path / "machine"
    assert home.place_id(tmp_path) == here != home_id(tmp_path)
    machine.write_text("another\n")
    monkeypatch.setattr(home, "_BOOT_ID", machine)
    assert home.place_id(tmp_path) == f"{home_id(tmp_path)}@another" != here


def test_the_first_of_several_who_write_wins(tmp_path: Path):
    for text in ("first", "second"):
        write_once(tmp_path / "file", text)
    assert (tmp_path / "file").read_text() == "first\n"
