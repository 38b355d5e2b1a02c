"""Whose word an answer is: the proxy's header counts where no server can have sent it."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from workstation.errors import NavigationBlocked, NavigationFailed
from workstation.local.browser.navigation import Navigator


@dataclass
class Answer:
    """As much of Playwright's as is asked for."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)

    async def text(self) -> str:
        return "GET to a.test:80 was refused: no rule names\na.test."


@pytest.fixture
def navigator() -> Any:
    page: Any = None
    return Navigator("tab", page, lambda: None)


@pytest.mark.parametrize(("outcome", "error"), [("refused", NavigationBlocked), ("failed", NavigationFailed)])
async def test_what_the_proxy_answers_is_told_as_its_reason(
    navigator: Any, outcome: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"^GET to a\.test:80 was refused: no rule names a\.test\.$"):
        await navigator.check(Answer("http://a.test/", {"x-empla-egress": outcome}))


@pytest.mark.parametrize(
    "answer",
    [
        Answer("https://evil.test/", {"x-empla-egress": "refused"}),
        Answer("HTTPS://evil.test/", {"x-empla-egress": "failed"}),
        Answer("http://a.test/"),
    ],
)
async def test_what_a_server_answers_is_a_page(navigator: Any, answer: Answer) -> None:
    await navigator.check(answer)
