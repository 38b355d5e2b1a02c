"""Systems of real processes, started once and again after a test that stopped one; none may leave a process behind."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests.e2e.callback_server import CallbackServer, callback_server
from tests.e2e.model_server import ModelServer, model_server
from tests.e2e.system import EMPLOYEE, PATIENCE, System


class Inbox(NamedTuple):
    """A registered webhook channel of the employee, whose replies go to `callbacks`."""

    system: System
    path: str
    secret: str
    callbacks: CallbackServer

    def deliver(self, text: str, **fields: Any) -> tuple[int, Any]:
        delivery = {"event_id": uuid4().hex, "sender": "ada@example.com", "text": text, **fields}
        return self.system.deliver(self.path, self.secret, delivery)

    def accept(self, text: str, **fields: Any) -> str:
        """Deliver a message that must be taken; returns its id."""
        status, answer = self.deliver(text, **fields)
        assert status == 202, answer
        return str(answer["message_id"])


@pytest.fixture(scope="session")
def first_start() -> Iterator[tuple[System, str]]:
    """A system that began with an empty directory, and what its first start printed."""
    with one_system() as system:
        yield system, system.start()


@pytest.fixture
def system(first_start: tuple[System, str]) -> System:
    """A running system without any model key: the offline rules answer."""
    first_start[0].ensure_running()
    first_start[0].forgive()
    return first_start[0]


@pytest.fixture(scope="session")
def callbacks() -> Iterator[CallbackServer]:
    with callback_server() as server:
        yield server


@pytest.fixture
def inbox(system: System, callbacks: CallbackServer) -> Inbox:
    return connected(system, callbacks)


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture(scope="session")
def started_with_model(model: ModelServer) -> Iterator[System]:
    with own_system(model) as system:
        yield system


@pytest.fixture
def system_with_model(started_with_model: System) -> System:
    """A running system whose employees use `model`."""
    started_with_model.ensure_running()
    started_with_model.forgive()
    return started_with_model


@pytest.fixture
def held_inbox(system_with_model: System, model: ModelServer, callbacks: CallbackServer) -> Iterator[Inbox]:
    """An inbox of a system whose model keeps messages in work until it is released."""
    inbox = connected(system_with_model, callbacks)
    model.hold()
    yield inbox
    model.release()


def connected(system: System, callbacks: CallbackServer, employee: str = EMPLOYEE) -> Inbox:
    """A new channel of the employee."""
    created = system.json(
        "channel", "create", f"inbox-{uuid4().hex[:8]}", "--employee", employee, "--callback", callbacks.url
    )
    return Inbox(system, created["receive_path"], created["secret"], callbacks)


@contextmanager
def own_system(model: ModelServer, *, patience: float = PATIENCE, **environment: str) -> Iterator[System]:
    """A system that is yet to be started, whose employees use `model`; its end must be in order."""
    with one_system(patience=patience, **using(model), **environment) as system:
        yield system


def using(model: ModelServer) -> dict[str, str]:
    """The environment of a system whose employees use `model`."""
    return {
        "EMPLA_MODEL_PROVIDER": "openai",
        "EMPLA_MODEL_NAME": "tests",
        "EMPLA_MODEL_PRICES": json.dumps({"openai/tests": {"input": 2, "cached": 0.5, "output": 10}}),
        "OPENAI_BASE_URL": model.url,
        "EMPLA_DRAIN_SECONDS": "1",
    }


@contextmanager
def one_system(*, patience: float = PATIENCE, **environment: str) -> Iterator[System]:
    """A system that is yet to be started; its end must be in order."""
    with (
        temporary_directory() as directory,
        ended_properly(System(directory, patience=patience, **environment)) as system,
    ):
        yield system


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A path that leaves room for sockets, and that the database's account can pass through."""
    directory = Path(tempfile.mkdtemp(prefix="empla-", dir="/tmp"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def ended_properly(system: System) -> Iterator[System]:
    """Stop the system at the end; what it leaves behind is killed, and a failure."""
    try:
        yield system
        system.ensure_running()
        assert system.interrupt() == 0, system.printed
        assert system.processes() == {}
    finally:
        system.kill_everything()
