"""How long a failed launch waits for the next."""

import time

import pytest

from controlplane.backoff import CRASH_LOOP, MAX_BACKOFF_SECONDS, RARELY_SECONDS, STEADY_SECONDS, Backoff, exit_reason


def waits(backoff: Backoff, times: int, *, own: bool = False) -> list[float]:
    found = []
    for _ in range(times):
        backoff.failed(own=own)
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


def test_who_fails_again_and_again_by_itself_is_tried_rarely():
    backoff = Backoff()
    *usual, last = waits(backoff, CRASH_LOOP, own=True)
    assert max(usual) <= MAX_BACKOFF_SECONDS < RARELY_SECONDS - 1 < last <= 2 * RARELY_SECONDS
    assert backoff.crash_looping
    backoff.failed(lived=STEADY_SECONDS - 1)
    assert backoff.crash_looping, "a trial that ends soon changes nothing"
    backoff.failed(lived=STEADY_SECONDS + 1)
    assert not backoff.crash_looping
    assert backoff.not_before <= time.monotonic()


def test_failures_that_are_not_its_own_make_no_crash_loop():
    backoff = Backoff()
    waits(backoff, 2 * CRASH_LOOP)
    waits(backoff, CRASH_LOOP - 1, own=True)
    assert not backoff.crash_looping


def test_an_operators_start_ends_a_crash_loop():
    backoff = Backoff()
    waits(backoff, CRASH_LOOP, own=True)
    backoff.reset()
    assert not backoff.crash_looping
    assert waits(backoff, 1, own=True)[0] <= 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1, "exit code 1"),
        (-9, "killed by SIGKILL"),
        (4, "refused by the control plane"),
        (-50, "killed by signal 50"),
        (None, "gone with the process that it was forked from"),
    ],
)
def test_an_end_is_told_in_words(code: int | None, said: str):
    assert exit_reason(code) == said
