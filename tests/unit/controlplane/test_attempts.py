"""How often an address may show a wrong token."""

import logging
from collections.abc import Callable, Iterator

import pytest

from controlplane import attempts
from controlplane.attempts import PEER, Attempts
from controlplane.errors import ControlError, Exhausted, Unauthenticated

WRONG = Unauthenticated("wrong")


@pytest.fixture(autouse=True)
def peer() -> Iterator[None]:
    """A peer of this test."""
    token = PEER.set("192.0.2.1")
    yield
    PEER.reset(token)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass."""
    now = [1000.0]
    monkeypatch.setattr("controlplane.attempts.time.monotonic", lambda: now[0])

    def pass_(seconds: float) -> None:
        now[0] += seconds

    return pass_


def answers(known: Attempts, count: int) -> list[ControlError]:
    return [known.refusal(WRONG) for _ in range(count)]


def test_after_too_many_its_sender_is_told_how_long_to_wait(later: Callable[[float], None]) -> None:
    known = Attempts(3)
    later(20)
    *first, last = answers(known, 4)
    assert first == [WRONG] * 3
    assert isinstance(last, Exhausted)
    assert last.retry_after == pytest.approx(40)
    later(last.retry_after)
    assert known.refusal(WRONG) is WRONG


def test_another_address_is_counted_apart() -> None:
    known = Attempts(1)
    answers(known, 5)
    for address in ("192.0.2.2", "", "2001:db8::1"):
        PEER.set(address)
        assert known.refusal(WRONG) is WRONG


def test_the_network_of_a_machine_is_one_sender() -> None:
    known = Attempts(1)
    for address in ("2001:db8:0:7::1", "2001:db8:0:7:ffff::9"):
        PEER.set(address)
        last = known.refusal(WRONG)
    assert isinstance(last, Exhausted)


def test_as_many_addresses_as_there_are_take_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_ADDRESSES", 10)
    known = Attempts(5)
    for number in range(200):
        PEER.set(f"198.51.100.{number}")
        last = known.refusal(WRONG)
    assert isinstance(last, Exhausted)
    assert len(known._failures) <= 11


def test_the_log_tells_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    answers(Attempts(1), 50)
    [said] = [record.getMessage() for record in caplog.records]
    assert "192.0.2.1" in said
