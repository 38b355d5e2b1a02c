"""Messages through a signed webhook, with replies at a callback; and what a webhook refuses."""

import json
import time
from uuid import uuid4

import pytest

from tests.e2e.conftest import Inbox
from tests.e2e.system import EMPLOYEE, System


def test_a_reply_comes_signed_to_the_callback_and_a_second_delivery_makes_no_second_one(inbox: Inbox):
    name = f"{uuid4().hex}.md"
    (inbox.system.workspace() / name).write_text("# Deals\n\n- Acme: open\n- Brandt: closed\n- Corte: open\n")
    event = {"event_id": uuid4().hex, "conversation": "thread-1"}
    status, accepted = inbox.deliver(f"How many open deals does {name} list?", **event)
    assert (status, accepted["duplicate"]) == (202, False)

    posted = inbox.callbacks.first_about(accepted["message_id"])
    assert posted.is_signed(inbox.secret)
    assert "2" in posted.reply["text"].replace(name, "")
    said = {key: posted.reply[key] for key in ("event_id", "conversation", "employee", "recipient", "kind")}
    assert said == {**event, "employee": EMPLOYEE, "recipient": "ada@example.com", "kind": "reply"}

    status, again = inbox.deliver(f"How many open deals does {name} list?", **event)
    assert (status, again["duplicate"], again["message_id"]) == (202, True, accepted["message_id"])
    # Messages of one conversation are answered in order: after this one nothing of the first can still come.
    inbox.callbacks.first_about(inbox.accept("Hello", conversation="thread-1"))
    assert len(inbox.callbacks.about(accepted["message_id"])) == 1
    assert len(inbox.system.ended(accepted["message_id"]).replies) == 1


def test_an_event_id_that_comes_with_another_text_is_refused(inbox: Inbox):
    inbox.accept("Hello", event_id="event-1")
    status, problem = inbox.deliver("Good bye", event_id="event-1")
    assert (status, problem["reason"]) == (409, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 400, "MALFORMED"),
        (b'{"event_id": "1"}', 400, "MALFORMED"),
        (json.dumps({"event_id": "1", "sender": "ada", "text": "x" * 2**20}).encode(), 413, "TOO_LARGE"),
        (json.dumps({"event_id": "1", "sender": "ada", "text": "x" * (2**18 + 1)}).encode(), 413, "TOO_LARGE"),
    ],
    ids=["no JSON", "fields missing", "large body", "large text"],
)
def test_a_body_that_cannot_be_taken_is_refused_and_not_stored(inbox: Inbox, body: bytes, status: int, reason: str):
    refused, problem = inbox.system.deliver(inbox.path, inbox.secret, body)
    assert (refused, problem["reason"]) == (status, reason)
    inbox.accept("Hello", event_id="1")


def test_a_wrong_signature_is_refused(inbox: Inbox):
    body = {"event_id": "1", "sender": "ada", "text": "Hello"}
    status, problem = inbox.system.deliver(inbox.path, "another secret of some length", body)
    assert (status, problem["reason"]) == (401, "SIGNATURE_INVALID")
    status, problem = inbox.system.request("POST", inbox.path, b"{}", X_Empla_Timestamp=str(int(time.time())))
    assert (status, problem["reason"]) == (401, "SIGNATURE_INVALID")


def test_an_employee_or_channel_that_does_not_exist_is_not_found(system: System):
    created = system.json("channel", "create", f"inbox-{uuid4().hex[:8]}")
    assert created["created_at"] in [channel["created_at"] for channel in system.json("channel", "list")]
    assert created["created_at"]
    body = {"event_id": "1", "sender": "ada", "text": "Hello", "employee": "nobody"}
    status, problem = system.deliver(created["receive_path"], created["secret"], body)
    assert (status, problem["reason"]) == (404, "EMPLOYEE_UNKNOWN")
    status, _ = system.deliver("/v1/channels/default/nowhere", created["secret"], body)
    assert status == 404


def test_the_status_page_wants_the_token(system: System):
    assert system.request("GET", "/v1/overview")[0] == 401
    status, overview = system.request("GET", "/v1/overview", Authorization=f"Bearer {system.token}")
    assert status == 200
    assert overview["employees"]
    assert system.request("GET", "/readyz") == (200, {"status": "ready"})
