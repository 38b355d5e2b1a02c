"""Forms that pages send to other hosts, held back by who opened the browser."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conformance.browsing import Tab, document, eventually, fresh_page_id
from tests.conformance.conftest import make_workspace
from tests.conformance.sites import Sites, open_sites
from workstation.egress import EgressProxy
from workstation.errors import SubmissionBlocked
from workstation.local.browser.browser import LocalBrowser
from workstation.local.browser.engine import Engine
from workstation.local.files import LocalFileSystem

pytestmark = pytest.mark.asyncio(loop_scope="module")


REASON = "a person must approve it"
FIELD = "<input name=a aria-label=Field value=secret>"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sites(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sites]:
    async with open_sites(tmp_path_factory.mktemp("sites")) as opened:
        yield opened


@dataclass
class Policy:
    """What is said of a submission, and who was asked about."""

    reason: str | Exception | None = REASON
    asked: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, sender: str, receiver: str) -> str | None:
        self.asked.append((sender, receiver))
        if isinstance(self.reason, Exception):
            raise self.reason
        return self.reason


@pytest.fixture
def policy() -> Policy:
    return Policy()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(
    sites: Sites, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[LocalBrowser, list[Policy]]]:
    """A browser, and the policy that it asks."""
    policies: list[Policy] = []

    def refuse(sender: str, receiver: str) -> str | None:
        return policies[0].refuse(sender, receiver)

    async with (
        LocalFileSystem(make_workspace(tmp_path_factory.mktemp("place") / "workspace")) as files,
        EgressProxy(sites.policy, resolve=sites.names) as egress,
        LocalBrowser(files, egress=egress, refuse_submission=refuse) as browser,
    ):
        yield browser, policies


@pytest_asyncio.fixture(loop_scope="module")
async def browser(opened: tuple[LocalBrowser, list[Policy]], policy: Policy) -> AsyncIterator[LocalBrowser]:
    browser, policies = opened
    policies[:] = [policy]
    yield browser
    for page in await browser.pages():
        await browser.close_page(page.page_id)


async def tab_with(browser: LocalBrowser, sites: Sites, body: str) -> Tab:
    tab = Tab(browser, fresh_page_id())
    await browser.open_page(tab.page_id, url=sites.http.show(document(body)))
    return tab


def forms(sites: Sites, goal: str) -> dict[str, str]:
    """Bodies whose button sends what stands in the field to `goal`."""
    redirect = sites.http.redirect(goal, 307)
    button = f"{FIELD}<button>Send</button>"
    silent = "<meta name=referrer content=no-referrer>"
    framed = sites.http.show(document(f"<form method=post action='{goal}'>{button}</form>"), host="third.test")
    return {
        "post": f"<form method=post action='{goal}'>{button}</form>",
        "multipart": f"<form method=post enctype=multipart/form-data action='{goal}'>{button}</form>",
        "get": f"<form action='{goal}#there'>{button}</form>",
        "window": f"<form method=post target=_blank action='{goal}'>{button}</form>",
        "into a frame": f"<iframe name=in></iframe><form method=post target=in action='{goal}'>{button}</form>",
        "in a frame": f"<iframe src='{framed}'></iframe>",
        "redirect": f"<form method=post action='{redirect}'>{button}</form>",
        "other action": f"<form action=/nowhere>{FIELD}<button formmethod=post formaction='{goal}'>Send</button></form>",
        "script": f"<form id=f method=post action='{goal}'>{FIELD}</form><button onclick='f.submit()'>Send</button>",
        "no referrer": f"{silent}<form method=post action='{goal}'>{button}</form>",
        "a window without referrer": f"{silent}<form method=post target=_blank action='{goal}'>{button}</form>",
        "a frame without referrer": f"{silent}<iframe name=in></iframe>"
        f"<form method=post target=in action='{goal}'>{button}</form>",
    }


def taken(sites: Sites, goal: str) -> list[str]:
    """What was asked of the page at `goal`, with whatever data in the address."""
    return [path for path in sites.http.asked if path.startswith(goal.partition(f":{sites.http.port}")[2])]


KINDS = tuple(forms(Sites(), "http://other.test/"))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_form_for_another_host_is_held_back(
    browser: LocalBrowser, sites: Sites, policy: Policy, kind: str
) -> None:
    goal = sites.http.show(document("taken"), host="other.test")
    tab = await tab_with(browser, sites, forms(sites, goal)[kind])
    before = [page.page_id for page in await browser.pages()]
    with pytest.raises(SubmissionBlocked, match=REASON) as caught:
        await tab.click("button", "Send")
    sender = {"in a frame": "third.test", "a frame without referrer": ""}.get(kind, "site.test")
    blocked = caught.value
    assert (blocked.page_id, blocked.sender, blocked.receiver) == (tab.page_id, sender, "other.test")
    assert not taken(sites, goal)
    assert policy.asked == [(sender, "other.test")]
    assert "secret" in await tab.text()
    assert [page.page_id for page in await browser.pages()] == before


@pytest.mark.parametrize("kind", ["post", "get", "window", "redirect"])
async def test_one_that_may_go_goes(browser: LocalBrowser, sites: Sites, policy: Policy, kind: str) -> None:
    policy.reason = None
    goal = sites.http.show(document("taken"), host="other.test")
    tab = await tab_with(browser, sites, forms(sites, goal)[kind])
    result = await tab.click("button", "Send")
    page = result.opened[0] if result.opened else result.page
    await browser.wait_for(page.page_id, text="taken")
    if kind == "redirect":
        [taken] = sites.http.requests(goal)
        assert (taken.method, taken.body) == ("POST", b"a=secret")
    assert policy.asked == [("site.test", "other.test")]


@pytest.mark.parametrize("kind", KINDS)
async def test_one_that_is_allowed_for_a_while_goes(
    browser: LocalBrowser, sites: Sites, policy: Policy, kind: str
) -> None:
    goal = sites.http.show(document("taken"), host="other.test")
    tab = await tab_with(browser, sites, forms(sites, goal)[kind])
    with pytest.raises(SubmissionBlocked) as caught:
        await tab.click("button", "Send")
    await browser.allow_submission("site.test", "third.test", seconds=60)
    await browser.allow_submission("other.test", "site.test", seconds=60)
    with pytest.raises(SubmissionBlocked):
        await tab.click("button", "Send")
    await browser.allow_submission(caught.value.sender, caught.value.receiver, seconds=1e-9)
    with pytest.raises(SubmissionBlocked):
        await tab.click("button", "Send")
    await browser.allow_submission(caught.value.sender, caught.value.receiver, seconds=60)
    await tab.click("button", "Send")
    assert taken(sites, goal)
    await browser.allow_submission(caught.value.sender, caught.value.receiver, seconds=1e-9)


async def test_what_is_no_form_for_another_host_is_not_asked_about(
    browser: LocalBrowser, sites: Sites, policy: Policy
) -> None:
    own, other = sites.http.show(document("own")), sites.http.show(document("other"), host="other.test")
    redirect = sites.http.redirect(other)
    for body in (
        f"<form method=post action='{own}'><button>Go</button></form>",
        f"<form action='{own}'><button>Go</button></form>",
        f"<meta name=referrer content=no-referrer><form method=post action='{own}'><button>Go</button></form>",
        f"<iframe src='{other}'></iframe><button onclick=\"location = '{other}'\">Go</button>",
        f"<button onclick=\"location = '{redirect}'\">Go</button>",
        f"<button onclick=\"window.open('{other}')\">Go</button>",
    ):
        tab = await tab_with(browser, sites, body)
        await tab.click("button", "Go")
        await browser.close_page(tab.page_id)
    assert policy.asked == []
    assert [asked.method for asked in sites.http.requests(own)] == ["POST", "GET", "POST"]


async def test_one_that_is_sent_later_is_told_in_the_log(browser: LocalBrowser, sites: Sites, policy: Policy) -> None:
    goal = sites.http.show(document("taken"), host="other.test")
    body = f"<form id=f method=post action='{goal}'>{FIELD}</form><script>setTimeout(() => f.submit(), 300)</script>"
    tab = await tab_with(browser, sites, body)

    async def told() -> bool:
        console = (await browser.log(tab.page_id)).console
        return any(
            entry.text == f"a form was not sent: {REASON}: a form of site.test goes to other.test" for entry in console
        )

    await eventually(told)
    assert not sites.http.requests(goal)


async def test_what_cannot_be_decided_is_not_sent(browser: LocalBrowser, sites: Sites, policy: Policy) -> None:
    policy.reason = ValueError("a fault of the policy's")
    goal = sites.http.show(document("taken"), host="other.test")
    tab = await tab_with(browser, sites, forms(sites, goal)["post"])
    await tab.click("button", "Send")
    assert not sites.http.requests(goal)
    policy.reason = None
    await tab.click("button", "Send")
    await tab.shows("taken")


async def test_it_takes_an_engine_of_its_own(tmp_path: Path) -> None:
    async with LocalFileSystem(make_workspace(tmp_path / "workspace")) as files:
        with pytest.raises(ValueError, match="all Browsers"):
            LocalBrowser(files, egress=None, engine=Engine(None), refuse_submission=lambda *_: None)
