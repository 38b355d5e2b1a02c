"""Messages that wait for an answer, and go on from it: in the thread, or by a person on the command line."""

from uuid import uuid4

import pytest

from tests.e2e.callback_server import CallbackServer
from tests.e2e.conftest import Inbox, connected
from tests.e2e.system import EMPLOYEE, System, until


@pytest.fixture
def asking(system_with_model: System, callbacks: CallbackServer) -> Inbox:
    """An inbox of an employee that asks when it is told to."""
    return connected(system_with_model, callbacks)


def review_of(inbox: Inbox, message_id: str, kind: str) -> str:
    """The id of the open review of this kind, as soon as there is one."""
    found = until(
        lambda: [
            item
            for item in inbox.system.json("reviews", "list")
            if (item["message_id"], item["kind"]) == (message_id, kind)
        ],
        f"{kind} of {message_id}",
    )
    return str(found[0]["review_id"])


def told(inbox: Inbox, message_id: str, times: int) -> list[tuple[str, str]]:
    """What the sender has been told about a message, as soon as it is so much."""
    until(lambda: len(inbox.callbacks.about(message_id)) >= times, f"{times} posts about {message_id}")
    return [(posted.reply["kind"], posted.reply["text"]) for posted in inbox.callbacks.about(message_id)]


@pytest.mark.parametrize("meanwhile", ["nothing happens", "the employee dies", "the control plane dies"])
def test_a_question_is_answered_by_a_person(asking: Inbox, meanwhile: str):
    system = asking.system
    message_id = asking.accept("Please ask `Which day?` first")
    assert told(asking, message_id, 1) == [("reply", "Which day?")]
    review_id = review_of(asking, message_id, "question")
    if meanwhile == "the employee dies":
        system.kill_employee()
    elif meanwhile == "the control plane dies":
        system.kill_control_plane()
        system.start()
    answered = system.json("reviews", "answer", review_id, "on Friday")
    assert (answered["state"], answered["decision"]["text"]) == ("resolved", "on Friday")
    kind, text = told(asking, message_id, 2)[1]
    assert (kind, "on Friday" in text) == ("follow_up", True)
    asking.callbacks.first_about(asking.accept("Hello"))
    assert len(asking.callbacks.about(message_id)) == 2


def test_a_question_is_answered_in_its_thread(asking: Inbox):
    thread = uuid4().hex
    message_id = asking.accept("Please ask `Which day?` first", conversation=thread)
    told(asking, message_id, 1)
    review_id = review_of(asking, message_id, "question")
    answer_id = asking.accept("on Monday", conversation=thread)
    assert "on Monday" in told(asking, message_id, 2)[1][1]
    assert asking.system.ended(answer_id).state == "collected"
    late = asking.system.run("reviews", "answer", review_id, "on Friday")
    assert (late.returncode, "resolved by ada@example.com" in late.stderr) == (1, True)


def test_what_follows_an_answer_is_shown_to_whoever_gave_it(asking: Inbox):
    system, thread = asking.system, uuid4().hex
    asked = system.json("send", EMPLOYEE, "Please ask `Which day?` first", "--conversation", thread)
    assert asked["reply"] == "Which day?"
    answered = system.json("send", EMPLOYEE, "on Monday", "--conversation", thread)
    assert (answered["state"], answered["collected_into"]) == ("collected", asked["message_id"])
    assert [reply["kind"] for reply in answered["replies"]] == ["follow_up"]
    assert "on Monday" in answered["reply"]
    lines = "Please ask `Which day?` first\non Tuesday\nHello\n"
    chat = system.run("chat", EMPLOYEE, stdin=lines)
    assert (chat.returncode, chat.stderr) == (0, "")
    question, _, rest = chat.stdout.partition("I did that: ")
    assert (question, "on Tuesday" in rest, rest.endswith("Good day.\n")) == ("Which day?\n", True, True)


def test_a_message_that_no_model_can_sort_is_sorted_by_a_person(asking: Inbox):
    message_id = asking.accept("This is a riddle")
    assert told(asking, message_id, 1)[0][0] == "notice"
    review_id = review_of(asking, message_id, "classification")
    refused = asking.system.run("reviews", "approve", review_id)
    assert (refused.returncode, "classify or reject" in refused.stderr) == (2, True)
    asking.system.json("reviews", "classify", review_id, "smalltalk")
    assert told(asking, message_id, 2)[1] == ("reply", "Good day.")
    assert asking.system.ended(message_id).state == "answered"
