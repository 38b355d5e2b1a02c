"""Stopping on purpose: nothing is left running, everything is found again, and what came meanwhile is answered."""

import random
import re
import signal

import pytest

from tests.e2e.conftest import Inbox
from tests.e2e.model_server import ModelServer
from tests.e2e.system import EMPLOYEE, System


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_system_leaves_nothing_running_and_finds_everything_again(system: System, number: signal.Signals):
    limit = random.randint(11, 89)
    told = system.send(f"Remember that our discount limit is {limit} %.")
    before = system.attached()

    assert system.interrupt(number) == 0
    assert "kept for the next start" in system.printed
    assert system.processes() == {}

    system.start()
    after = system.attached()
    assert (after.employee_id, after.epoch) == (before.employee_id, before.epoch + 1)
    assert system.message(told.message_id) == told
    answer = system.send("What is our discount limit?").replies[0].text
    assert re.search(rf"\b{limit}\b", answer), answer


def test_a_message_that_is_cut_by_the_stop_is_answered_after_the_next_start(held_inbox: Inbox, model: ModelServer):
    system = held_inbox.system
    message_id = held_inbox.accept("Hello")
    model.until_held()
    assert system.interrupt() == 0
    assert system.processes() == {}
    model.release()
    system.start()
    held_inbox.callbacks.first_about(message_id)
    message = system.ended(message_id)
    assert (message.state, message.retry_count, len(message.replies)) == ("answered", 0, 1)
    assert "drained" in [attempt.outcome for attempt in message.attempts]


def test_messages_to_a_stopped_employee_wait_for_it(system: System):
    assert system.json("employee", "stop", EMPLOYEE)["observed_state"] == "stopped"
    sent = [system.json("send", EMPLOYEE, text, "--no-wait") for text in ("Hello", "What files do you have?")]
    assert [system.message(message["message_id"]).state for message in sent] == ["received", "received"]
    assert system.json("employee", "start", EMPLOYEE)["desired_state"] == "running"
    assert [system.ended(message["message_id"]).state for message in sent] == ["answered", "answered"]


def test_a_stopped_employee_stays_stopped_over_a_restart(system: System):
    system.json("employee", "stop", EMPLOYEE)
    assert system.interrupt() == 0
    system.start()
    assert system.employee().pid == 0
    system.json("employee", "start", EMPLOYEE)
    assert system.attached()


def test_a_second_start_with_the_same_home_is_refused_and_harms_nothing(system: System):
    before = system.attached()
    second = system.run("up", "--no-chat")
    assert second.returncode == 1
    assert "another" in second.stderr
    assert system.attached().pid == before.pid
    assert system.send("Hello").state == "answered"
