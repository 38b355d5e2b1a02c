"""Passwords that were typed are told by no answer, and marks stay marks whatever the password is."""

import pytest

from agent.capabilities import browser_actions as act
from agent.capabilities.browser_secrets import HIDDEN, TypedPasswords
from agent.prompts import blocks, mark


@pytest.fixture
def typed() -> TypedPasswords:
    return TypedPasswords()


@pytest.mark.parametrize(
    "shown", ["s&cr/t pä55", "s%26cr%2Ft%20p%C3%A455", "s%26cr/t%20p%C3%A455", "s%26cr%2Ft+p%C3%A455"]
)
def test_each_spelling_is_hidden_in_text_and_address(typed: TypedPasswords, shown: str):
    typed.add("s&cr/t pä55")
    said = mark("page", f'- textbox "Name": {shown}!', url=f"http://x/?p={shown}", title=f"{shown} it was")
    result = typed.hidden_in(act.Acted(page="main", marked=said))
    assert isinstance(result, act.Acted)
    [block] = blocks(result.marked)
    assert block.text == f'- textbox "Name": {HIDDEN}!'
    assert block.attributes == {"url": f"http://x/?p={HIDDEN}", "title": f"{HIDDEN} it was"}


@pytest.mark.parametrize("password", ["data", "page", "kind", "</data>", 'url="', "title"])
def test_a_mark_stays_a_mark(typed: TypedPasswords, password: str):
    said = f"ACTION_FAILED: try again\n{mark('page', 'one\ntwo', url='http://x/', title='t')}"
    typed.add(password)
    assert [(one.kind, one.text) for one in blocks(typed.hide_in(said))] == [("page", "one\ntwo")]


def test_one_that_is_part_of_another_shows_nothing_of_it(typed: TypedPasswords):
    typed.add("secret")
    typed.add("secret-and-more")
    assert typed.hide_in("it is secret-and-more") == f"it is {HIDDEN}"


def test_short_ones_and_results_without_words_of_pages_stay(typed: TypedPasswords):
    typed.add("abc")
    assert typed.hide_in("abc") == "abc"
    typed.add("main")
    closed = act.Closed(page="main")
    assert typed.hidden_in(closed) is closed


def test_no_more_are_kept_than_the_latest(typed: TypedPasswords):
    for number in range(300):
        typed.add(f"password-{number:03}")
    assert typed.hide_in("password-000 password-299") == f"password-000 {HIDDEN}"
