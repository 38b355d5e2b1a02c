"""Ids of version 7 sort by the time they were made."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122

import pytest

from empla.store.ids import new_id


def test_version_and_variant() -> None:
    made = new_id()
    assert made.version == 7
    assert made.variant == RFC_4122


def test_carries_the_time() -> None:
    before = time.time_ns() // 1_000_000
    milliseconds = new_id().int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000 + 1


def test_each_is_greater_than_the_one_before() -> None:
    made = [new_id() for _ in range(50_000)]
    assert made == sorted(set(made))


def test_clock_that_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert new_id() > before


def test_threads_get_different_ones() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: new_id(), range(10_000)))
    assert len(set(made)) == len(made)
