"""Playwright's words, and ours for them: what was typed is in none of ours."""

import pytest
from playwright.async_api import Error
from playwright.async_api import TimeoutError as TimedOut

from workstation.errors import ActionFailed, NavigationFailed, PageTimedOut, StaleRef
from workstation.local.browser.failures import failures, translate

LOG = 'Locator.fill: Timeout 3000ms exceeded.\nCall log:\n  - fill("hunter2")\n  - locator resolved to <input/>\n'


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("  - element is not enabled", ActionFailed, "disabled"),
        ("  - element is not visible", ActionFailed, "hidden"),
        ("  - element is not editable", ActionFailed, "read-only"),
        ("  - element is not visible\n  - element is not enabled", ActionFailed, "disabled"),
        ('  - <div id="x">hunter2 banner</div> intercepts pointer events', ActionFailed, "covered by <div"),
        ("  - done scrolling", PageTimedOut, "answer"),
    ],
)
def test_why_an_element_takes_nothing(said: str, kind: type[Exception], words: str) -> None:
    error = translate(TimedOut(LOG + said), "one", "e1", lambda text: text.replace("hunter2", "-"))
    assert type(error) is kind
    assert words in str(error)
    assert "hunter2" not in str(error)
    assert "Call log" not in str(error)


def test_an_element_that_is_waited_for_is_gone() -> None:
    message = 'Locator.click: Timeout 3000ms exceeded.\nCall log:\n  - waiting for locator("aria-ref=e1")'
    assert isinstance(translate(TimedOut(message), "one", "e1"), StaleRef)


def test_certificates_and_other_reasons() -> None:
    error = translate(Error("Page.goto: net::ERR_CERT_AUTHORITY_INVALID at https://a.test/"), "one")
    assert isinstance(error, NavigationFailed)
    assert "certificate" in str(error)


def test_nothing_of_playwrights_is_the_cause() -> None:
    with pytest.raises(ActionFailed) as caught, failures("one", "e1"):
        raise TimedOut(LOG + "  - element is not enabled")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
