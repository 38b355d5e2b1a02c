"""Two minutes of everything dying at random. `python -m loadtests.chaos` does it for longer."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.callback_server import CallbackServer
from tests.e2e.chaos import Chaos, open_desks
from tests.e2e.conftest import own_system
from tests.e2e.model_server import ModelServer
from tests.e2e.system import System


@pytest.fixture
def own(model: ModelServer) -> Iterator[System]:
    """A system that no other test has seen, and none will."""
    with own_system(model) as system:
        system.start()
        yield system


@pytest.mark.timeout(900)
def test_every_message_is_answered_once_or_open_for_a_person(own: System, callbacks: CallbackServer) -> None:
    seed = time.time_ns()
    account = Chaos(own, open_desks(own, 3, callbacks), callbacks, seed).run(messages=400, rate=4.0)
    print(f"seed: {seed}\n{account}")
    assert account.wrongs == [], f"seed {seed}\n{account}"
    assert min(account.refused.values(), default=0) > 0, "nobody tried to write late"
    assert account.ends["answered"] > 400 - account.blows.total()
