"""How long a failed launch waits for the next."""

import time

from controlplane.backoff import MAX_BACKOFF_SECONDS, STEADY_SECONDS, Backoff


def waits(backoff: Backoff, times: int) -> list[float]:
    found = []
    for _ in range(times):
        backoff.failed()
        found.append(backoff.not_before - time.monotonic())
    return found


def test_the_first_try_comes_at_once_and_the_later_ones_ever_later():
    first, second, *_, last = waits(Backoff(), 12)
    assert first <= 0
    assert 0.15 < second <= 0.4
    assert MAX_BACKOFF_SECONDS / 2 - 1 < last <= MAX_BACKOFF_SECONDS


def test_any_number_of_failures_has_a_wait():
    assert max(waits(Backoff(), 2000)) <= MAX_BACKOFF_SECONDS


def test_only_a_long_life_starts_over():
    backoff = Backoff()
    waits(backoff, 5)
    backoff.failed(lived=STEADY_SECONDS / 2)
    assert backoff.failures == 6
    backoff.failed(lived=STEADY_SECONDS + 1)
    assert backoff.failures == 1
