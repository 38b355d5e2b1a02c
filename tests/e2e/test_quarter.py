"""A week of a small staff, in which clocks are set forward. `python -m loadtests.quarter` lives through a quarter."""

import time
from datetime import UTC, datetime

import pytest

from loadtests.quarter.simulation import simulation

THURSDAY = datetime(2027, 3, 25, 7, tzinfo=UTC)
"""On the Sunday after it clocks are set forward in Berlin."""
HAPPENS = {
    "asked for in vain, and looked for in all tables",
    "beliefs faded",
    "beliefs held",
    "control planes killed",
    "employees restarted",
    "facts forgotten",
    "facts recalled",
    "goals",
    "messages",
    "procedures learnt",
    "procedures told",
    "schedule runs",
}


@pytest.mark.timeout(600)
def test_a_week_goes_by_and_all_comes_as_it_must():
    seed = time.time_ns()
    with simulation(THURSDAY, seed, employees=3) as life:
        account = life.run(7)
    assert account.wrongs == [], f"seed {seed}"
    assert account.counted.keys() >= HAPPENS
