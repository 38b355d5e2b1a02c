"""How long work takes, whatever is done to the machine's clock meanwhile."""

import time

import pytest

from agent.pipeline.background import steady_clock


def test_setting_the_clock_of_the_machine_makes_nobody_wait_longer(monkeypatch: pytest.MonkeyPatch):
    clock = steady_clock()
    assert clock() == pytest.approx(time.time(), abs=5)
    before = clock()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock() >= before
