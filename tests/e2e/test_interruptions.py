"""Whatever dies in the middle of a message, it is answered once, and what was done for it is not done again."""

from collections.abc import Callable
from typing import Any
from unittest.mock import ANY
from uuid import uuid4

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.e2e.callback_server import CallbackServer
from tests.e2e.conftest import Inbox, connected
from tests.e2e.model_server import NOTES, ModelServer
from tests.e2e.system import System, is_alive, until

DEATHS: dict[str, Callable[[System], None]] = {
    "employee": System.kill_employee,
    "warm parent": System.kill_warm_parent,
    "database": System.kill_database,
    "control plane": System.kill_control_plane,
    "everything": System.kill_everything,
}


@pytest.mark.parametrize("victim", DEATHS)
def test_a_message_whose_work_is_interrupted_is_answered_once(victim: str, held_inbox: Inbox, model: ModelServer):
    system, word = held_inbox.system, f"w{uuid4().hex}"
    message_id = held_inbox.accept(f"Please note {word} for me")
    model.until_held()
    DEATHS[victim](system)
    model.release()
    system.ensure_running()

    posted = held_inbox.callbacks.first_about(message_id)
    assert posted.reply["text"].startswith("I did that")
    message = system.ended(message_id)
    assert message.state == "answered"
    assert [reply.state for reply in message.replies] == ["sent"]
    assert [effect.state for effect in message.effects] == ["succeeded"]
    assert (system.workspace() / NOTES).read_text().split().count(word) == 1
    # Another message has gone the whole way since: nothing of the first can still be under way.
    held_inbox.callbacks.first_about(held_inbox.accept("Hello"))
    assert len(held_inbox.callbacks.about(message_id)) == 1


def test_messages_that_were_just_acknowledged_survive_the_death_of_everything(held_inbox: Inbox, model: ModelServer):
    accepted = [held_inbox.accept("Hello") for _ in range(8)]
    held_inbox.system.kill_everything()
    model.release()
    held_inbox.system.start()
    for message_id in accepted:
        message = held_inbox.system.ended(message_id)
        assert (message.state, len(message.replies)) == ("answered", 1), message
        assert len(held_inbox.callbacks.about(message_id)) == 1


def test_a_message_that_its_process_never_survives_is_given_to_a_person(held_inbox: Inbox, model: ModelServer):
    system = held_inbox.system
    message_id = held_inbox.accept(f"Please note w{uuid4().hex} for me")
    for times in range(1, 5):  # one attempt and three retries
        model.until_held(times)
        epoch = system.employee().epoch
        system.kill_employee()
        system.attached(after=epoch)
    message = system.ended(message_id)
    assert message.state == "failed"
    assert [reply.kind for reply in message.replies] == ["notice"]
    assert [review.state for review in message.reviews] == ["open"]
    assert "person" in held_inbox.callbacks.first_about(message_id).reply["text"]


def test_a_message_that_kills_its_process_takes_no_other_with_it(
    system_with_model: System, callbacks: CallbackServer, model: ModelServer
):
    inbox = connected(system_with_model, callbacks)
    with model.deadly(inbox.system.kill_employee, pause=2):
        innocent = [inbox.accept("Hello") for _ in range(3)]
        model.until_held(3)
        poison = inbox.accept("This is poison")
        ends = [inbox.system.ended(message_id) for message_id in (*innocent, poison)]
    assert [message.state for message in ends] == ["answered"] * 3 + ["failed"]
    assert [len(message.reviews) for message in ends] == [0, 0, 0, 1]


def test_a_killed_employee_is_started_again_with_the_next_epoch(system: System):
    before = system.attached()
    system.kill_employee()
    after = system.attached(after=before.epoch)
    assert (after.epoch, after.restarts) == (before.epoch + 1, before.restarts + 1)
    assert after.pid != before.pid
    assert system.send("Hello").state == "answered"


def test_a_killed_control_plane_leaves_the_employee_running_and_its_successor_adopts_it(system: System):
    before = system.attached()
    system.kill_control_plane()
    assert is_alive(before.pid)
    system.start()
    after = system.attached()
    assert (after.pid, after.epoch, after.restarts) == (before.pid, before.epoch, before.restarts)
    assert system.send("Hello").state == "answered"
    system.kill_employee()  # the adopted process is watched like any other
    assert system.attached(after=after.epoch).epoch == after.epoch + 1


def test_while_the_database_is_away_nothing_is_acknowledged_and_then_all_goes_on(inbox: Inbox):
    system = inbox.system
    before = system.attached()
    stored = inbox.accept("What files do you have?")
    with system.without_database():
        status, problem = until(lambda: _refused(inbox), "messages are refused")
        assert (status, problem["reason"]) == (503, "STORE_UNAVAILABLE")
        assert system.request("GET", "/readyz")[0] == 503
        assert system.request("GET", "/healthz")[0] == 200
        until(lambda: _grpc_health(system) == ["NOT_SERVING"] * 3, "no service serves")
        refused = system.run("send", "sales-ae", "Hello", "--json")
        assert refused.returncode == 1
        assert "STORE_UNAVAILABLE" in refused.stderr
    until(lambda: system.request("GET", "/readyz")[0] == 200, "the database is back")
    until(lambda: _grpc_health(system) == ["SERVING"] * 3, "all services serve")
    assert system.ended(stored).state == "answered"
    assert len(inbox.callbacks.about(stored)) == 1
    assert system.send("Hello").state == "answered"
    after = system.attached()
    assert (after.pid, after.epoch) == (before.pid, before.epoch)


def test_a_database_that_does_not_answer_is_noticed(system: System):
    with system.frozen_database():
        assert system.request("GET", "/readyz", timeout=15) == (503, ANY)
    assert system.request("GET", "/readyz") == (200, {"status": "ready"})
    assert system.send("Hello").state == "answered"


def _grpc_health(system: System) -> list[str]:
    with system.channel() as channel:
        probe: Any = health_pb2_grpc.HealthStub(channel)
        services = ("", "empla.v1.ControlPlane", "empla.v1.EmployeeGateway")
        answers = [probe.Check(health_pb2.HealthCheckRequest(service=name), timeout=5) for name in services]
    return [health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) for answer in answers]


def _refused(inbox: Inbox) -> tuple[int, dict[str, str]] | None:
    status, problem = inbox.deliver("Hello")
    return None if status == 202 else (status, problem)
