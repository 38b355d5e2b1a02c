"""What the database's clock shows, as it was last heard."""

import time
from types import SimpleNamespace

import pytest

from controlplane import clock
from controlplane.clock import DatabaseClock, said


def test_until_it_is_heard_it_is_the_machines() -> None:
    shown = DatabaseClock()
    assert abs(shown.time() - time.time()) < 1
    assert abs(shown.skew) < 1


def test_it_is_told_whatever_the_machines_clock_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = SimpleNamespace(time=lambda: 5000.0, monotonic=lambda: 70.5)
    monkeypatch.setattr(clock, "time", machine)
    shown = DatabaseClock()
    shown.heard(4400.25, began=70.0)  # in the midst of the half second that it took
    assert shown.time() == 4400.5
    assert shown.now().timestamp() == 4400.5
    assert shown.skew == 599.5
    machine.time, machine.monotonic = (lambda: 1.0), (lambda: 80.5)
    assert shown.time() == 4410.5
    assert said(shown.skew) == "4410 s behind the database's"


def test_an_answer_that_took_long_says_nothing() -> None:
    shown = DatabaseClock()
    shown.heard(4400.0, began=time.monotonic() - 60)
    assert abs(shown.skew) < 1
