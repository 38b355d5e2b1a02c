"""Which of several streams is the employee's."""

import time

import pytest

from controlplane.gateway import Elsewhere, Launch, Stream, Streams
from empla import rpc
from empla.store.ids import new_id

ADA = new_id()


def here(epoch: int) -> Stream:
    return Stream(Launch(ADA, epoch), "tests")


def elsewhere(epoch: int) -> Elsewhere:
    return Elsewhere(Launch(ADA, epoch), "tests", None, time.time(), time.monotonic(), "unix:/there")


@pytest.mark.parametrize(("told", "is_here"), [(elsewhere(1), True), (elsewhere(2), True), (elsewhere(3), False)])
def test_the_stream_of_the_latest_launch_is_the_employees(told: Elsewhere, is_here: bool):
    streams, stream = Streams(), here(2)
    with streams.holding(stream):
        assert streams.seen(ADA) is stream
        streams.elsewhere = {ADA: told}
        assert streams.seen(ADA) is (stream if is_here else told)
        assert streams.address_of(ADA) == (None if is_here else told.address)
    assert streams.seen(ADA) is told


def test_a_stream_of_an_earlier_launch_that_comes_late_takes_nobodys_place():
    streams, stream = Streams(), here(2)
    with streams.holding(stream):
        with pytest.raises(rpc.StatusError) as refused, streams.holding(here(1)):
            pass
        assert refused.value.reason == "SUPERSEDED"
        assert not stream.closed.is_set()
        with streams.holding(here(3)):
            assert stream.closed.is_set()
