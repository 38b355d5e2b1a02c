"""A system whose employees live in the control plane's process does what one of processes does, but for outliving it."""

import json
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tests.e2e.callback_server import CallbackServer
from tests.e2e.conftest import Inbox, connected, own_system
from tests.e2e.model_server import NOTES, ModelServer
from tests.e2e.system import EMPLOYEE, System


@pytest.fixture(scope="module")
def started(model: ModelServer) -> Iterator[System]:
    with own_system(model, EMPLA_LAUNCHER="inprocess") as system:
        yield system


@pytest.fixture
def inbox(started: System, model: ModelServer, callbacks: CallbackServer) -> Iterator[Inbox]:
    started.ensure_running()
    yield connected(started, callbacks)
    model.release()


def test_it_says_what_that_means(inbox: Inbox):
    assert "all in this process, for development" in inbox.system.printed
    assert inbox.system.attached().pid not in inbox.system.processes()


@pytest.mark.parametrize("end", [System.kill_control_plane, System.interrupt])
def test_a_message_that_is_cut_by_the_end_of_the_process_is_answered_once(
    end: Callable[[System], object], inbox: Inbox, model: ModelServer
):
    system, word = inbox.system, f"w{uuid4().hex}"
    before = system.attached()
    model.hold()
    message_id = inbox.accept(f"Please note {word} for me")
    model.until_held()
    end(system)
    model.release()
    system.start()
    assert inbox.callbacks.first_about(message_id).reply["text"].startswith("I did that")
    message = system.ended(message_id)
    assert (message.state, [reply.state for reply in message.replies]) == ("answered", ["sent"])
    assert (system.workspace() / NOTES).read_text().split().count(word) == 1
    assert system.attached(after=before.epoch).restarts == 0


def test_an_employee_is_restarted_and_stopped_alone_and_has_a_log_of_its_own(inbox: Inbox):
    system, name = inbox.system, f"temp-{uuid4().hex[:8]}"
    other = system.attached()
    system.json("employee", "create", name)
    first = system.attached(name)
    assert system.json("employee", "restart", name)["epoch"] == first.epoch + 1
    assert system.json("send", name, "Hello")["state"] == "answered"
    stopped = system.json("employee", "stop", name)
    assert (stopped["observed_state"], stopped["pid"]) == ("stopped", 0)
    assert system.attached().epoch == other.epoch
    logged = [system.run("employee", "logs", one, "--json").stdout.splitlines() for one in (name, EMPLOYEE)]
    assert all({"time", "level", "message"} <= json.loads(line).keys() for lines in logged for line in lines)
    assert all(any('"agent' in line for line in lines) for lines in logged)
    assert '"logger": "agent' not in (system.home / "logs" / "controlplane.log").read_text()


def test_its_programs_are_sandboxed_over_its_files(inbox: Inbox):
    system = inbox.system
    (system.workspace() / "here.txt").write_text("mine")
    ran = system.send("Please run `print(open('here.txt').read())` for me")
    assert ran.state == "answered"
    assert "mine" in ran.replies[0].text
