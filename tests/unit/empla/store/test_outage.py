"""What a log says of an outage."""

import logging

import pytest

from empla.store.errors import StoreUnavailable
from empla.store.outage import Outage


def test_an_outage_is_told_once_when_it_begins_and_once_when_it_is_over(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    outage = Outage(logging.getLogger("tests"), "a test")
    outage.over()
    for _ in range(2):
        for _ in range(3):
            outage.lasts(StoreUnavailable("refused"))
        for _ in range(3):
            outage.over()
    away, back = "the database is away, a test waits: refused", "the database is back, a test goes on"
    assert caplog.messages == [away, back, away, back]
