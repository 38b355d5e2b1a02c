"""A database behind a network that falls silent: nothing is lost, nothing comes twice, and nobody is restarted."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from typing import NamedTuple
from uuid import uuid4

import pytest

from empla.v1 import control_pb2 as pb
from tests.e2e.callback_server import CallbackServer
from tests.e2e.conftest import Inbox, connected, one_system
from tests.e2e.door import Door, far_database
from tests.e2e.system import System, until

MESSAGES = 24
PAUSE_SECONDS = 0.05
SHUT_SECONDS = 28.0
"""Longer than any statement is waited for."""
SILENT_SECONDS = 120.0
"""Many times what it may take until all goes on."""


class Far(NamedTuple):
    """A system, the door between it and its database, and an inbox of its employee."""

    system: System
    door: Door
    inbox: Inbox


@pytest.fixture(scope="module")
def far(callbacks: CallbackServer) -> Iterator[Far]:
    with far_database() as database, one_system(EMPLA_DATABASE_URL=database.url, EMPLA_DRAIN_SECONDS="1") as system:
        system.start()
        system.attached()
        yield Far(system, database.door, connected(system, callbacks))


@pytest.mark.timeout(400)
def test_what_was_done_and_not_heard_of_is_not_done_again(far: Far) -> None:
    with undisturbed(far) as ids, ThreadPoolExecutor(MESSAGES) as senders:
        before = sent(senders, far.inbox, MESSAGES // 2)
        assert far.door.lose_answers() > 1  # and what is asked there from now on is done
        ids += [sending.result() for sending in [*before, *sent(senders, far.inbox, MESSAGES // 2)]]


@pytest.mark.timeout(400)
def test_a_network_that_stands_still_and_then_goes_on(far: Far) -> None:
    with undisturbed(far) as ids, ThreadPoolExecutor(MESSAGES) as senders:
        before = sent(senders, far.inbox, MESSAGES // 2)
        with far.door.shut():
            end = time.monotonic() + SHUT_SECONDS
            during = sent(senders, far.inbox, MESSAGES // 2)
            status, problem = far.inbox.deliver("Is anybody there?")
            assert (status, problem["reason"]) == (503, "STORE_UNAVAILABLE")
            time.sleep(max(0.0, end - time.monotonic()))
        ids += [sending.result() for sending in [*before, *during]]


def sent(senders: ThreadPoolExecutor, inbox: Inbox, count: int) -> list[Future[str]]:
    """So many messages begun, one soon after the other, so that some are in work whenever this is over."""
    sendings = []
    for _ in range(count):
        sendings.append(senders.submit(accepted, inbox))
        time.sleep(PAUSE_SECONDS)
    return sendings


@contextmanager
def undisturbed(far: Far) -> Iterator[list[str]]:
    """The messages of these ids end answered, each once and at the first attempt, by the launch that was there before."""
    system, callbacks, ids = far.system, far.inbox.callbacks, list[str]()
    before = system.attached()
    yield ids
    assert len(set(ids)) == MESSAGES
    until(lambda: system.request("GET", "/readyz")[0] == 200, "the database is back", seconds=SILENT_SECONDS)
    until(lambda: all(map(callbacks.about, ids)), "all are answered", seconds=SILENT_SECONDS)
    messages = [system.ended(message_id) for message_id in ids]
    assert {message.state for message in messages} == {"answered"}
    attempts = [attempt for message in messages for attempt in message.attempts if attempt.stage != "send"]
    assert {attempt.outcome for attempt in attempts} == {"succeeded"}, [a for a in attempts if a.error]
    assert {len(callbacks.about(message_id)) for message_id in ids} == {1}
    assert not system.call("ListReviews", pb.ListReviewsRequest(page_size=10)).reviews
    after = system.attached()
    assert (after.pid, after.epoch, after.restarts) == (before.pid, before.epoch, before.restarts)


def accepted(inbox: Inbox) -> str:
    """Deliver a message as providers do: again, as long as it is not acknowledged."""
    event_id, end = uuid4().hex, time.monotonic() + SILENT_SECONDS
    while True:
        try:
            status, answer = inbox.deliver("What files do you have?", event_id=event_id)
        except (OSError, HTTPException):
            status, answer = 0, {}
        if status == 202:
            return str(answer["message_id"])
        assert status in (0, 503), answer
        assert time.monotonic() < end, "it is never taken"
        time.sleep(0.2)
