"""A supervised employee's replies, as a person decides about them on the command line."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.callback_server import CallbackServer
from tests.e2e.conftest import Inbox, connected
from tests.e2e.system import System, until


@pytest.fixture
def supervised(system: System, callbacks: CallbackServer, tmp_path: Path) -> Iterator[Inbox]:
    """An inbox of an employee whose replies wait for a person."""
    name, profile = f"careful-{uuid4().hex[:8]}", tmp_path / "careful.toml"
    profile.write_text('role = "Clerk"\nautonomy = "supervised"\n')
    system.json("employee", "create", name, "--profile", str(profile))
    system.attached(name)
    yield connected(system, callbacks, name)
    system.run("employee", "delete", name, "--yes", "--force")


def held(inbox: Inbox, text: str, conversation: str = "") -> tuple[str, str]:
    """Send a message; its id and that of the review of its reply."""
    message_id = inbox.accept(text, conversation=conversation or uuid4().hex)
    return message_id, review_of(inbox, message_id)


def review_of(inbox: Inbox, message_id: str) -> str:
    """The id of the review that the reply waits for."""

    def review() -> str | None:
        found = [item for item in inbox.system.message(message_id).reviews if item.state == "open"]
        return found[0].review_id if found else None

    return until(review, f"the reply to {message_id} waits for a person")


def test_a_reply_that_is_approved_is_posted_once(supervised: Inbox):
    system = supervised.system
    message_id, review_id = held(supervised, "What is 17 * 23?", "thread")
    listed = {item["review_id"]: item for item in system.json("reviews", "list")}
    assert listed[review_id]["decisions"] == ["approve", "edit", "reject"]
    assert "391" in system.run("reviews", "show", review_id).stdout
    assert supervised.callbacks.about(message_id) == []

    approved = system.run("reviews", "approve", review_id)
    assert (approved.returncode, "approve by local operator" in approved.stdout) == (0, True)
    posted = supervised.callbacks.first_about(message_id)
    assert posted.is_signed(supervised.secret)
    assert "391" in posted.reply["text"]
    assert system.ended(message_id).state == "answered"
    again = system.run("reviews", "approve", review_id)
    assert (again.returncode, "resolved by local operator" in again.stderr) == (1, True)

    following, its_review = held(supervised, "What is 2 + 2?", "thread")
    system.json("reviews", "approve", its_review)
    supervised.callbacks.first_about(following)
    assert len(supervised.callbacks.about(message_id)) == 1
    assert (
        f"{review_id}  draft  resolved (approve by local operator)" in system.run("message", "show", message_id).stdout
    )


def test_a_reply_that_is_edited_leaves_with_the_persons_words(supervised: Inbox):
    message_id, review_id = held(supervised, "What is 17 * 23?")
    supervised.system.json("reviews", "edit", review_id, "Three hundred and ninety-one.")
    assert supervised.callbacks.first_about(message_id).reply["text"] == "Three hundred and ninety-one."
    [reply] = supervised.system.ended(message_id).replies
    assert (reply.state, reply.text) == ("sent", "Three hundred and ninety-one.")


def test_a_reply_that_is_rejected_never_leaves(supervised: Inbox):
    system = supervised.system
    message_id, review_id = held(supervised, "What is 17 * 23?", "thread")
    refused = system.run("reviews", "answer", review_id, "no")
    assert (refused.returncode, "approve or edit or reject" in refused.stderr) == (2, True)
    system.json("reviews", "reject", review_id, "--reason", "they know that")
    message = system.ended(message_id)
    assert (message.state, message.reason) == ("withheld", "local operator turned it down: they know that")
    following, its_review = held(supervised, "What is 2 + 2?", "thread")
    system.json("reviews", "approve", its_review)
    supervised.callbacks.first_about(following)
    assert supervised.callbacks.about(message_id) == []


def test_what_is_approved_edited_and_rejected(supervised: Inbox):
    system, callbacks = supervised.system, supervised.callbacks
    approved, edited, rejected = (supervised.accept("What is 2 + 2?") for _ in range(3))
    for message_id, *command in (
        (rejected, "reject", "--reason", "not now"),
        (edited, "edit", "It is four."),
        (approved, "approve"),
    ):
        verb, *rest = command
        assert callbacks.about(message_id) == []
        ended = system.run("reviews", verb, review_of(supervised, message_id), *rest)
        assert ended.returncode == 0, ended
    assert "4" in callbacks.first_about(approved).reply["text"]
    assert callbacks.first_about(edited).reply["text"] == "It is four."
    message = system.ended(rejected)
    assert (message.state, message.reason) == ("withheld", "local operator turned it down: not now")
    # Another message has gone the whole way since: nothing of the first can still be under way.
    last = supervised.accept("What is 3 + 3?")
    system.run("reviews", "approve", review_of(supervised, last))
    callbacks.first_about(last)
    assert [len(callbacks.about(one)) for one in (approved, edited, rejected)] == [1, 1, 0]
