"""What rules say, as a page meets them: subdomains, single addresses, what a page loads, and redirects in between."""

import pytest

from tests.conformance.browsing import document, eventually, fresh_page_id
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site, Sites
from workstation.egress import EgressPolicy, EgressProxy, EgressRule
from workstation.errors import NavigationBlocked
from workstation.interface import Browser, RequestEntry

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def reached(browser: Browser, url: str) -> bool:
    """Whether the rules let a page go there."""
    page_id = fresh_page_id()
    try:
        await browser.open_page(page_id, url=url)
    except NavigationBlocked:
        return False
    await browser.close_page(page_id)
    return True


def known(sites: Sites, *names: str) -> None:
    """Have the resolver know names of the site."""
    for name in names:
        sites.names.answers[name] = lambda: ("127.0.0.1",)


class TestHosts:
    async def test_subdomains_at_any_depth_and_nothing_else(
        self, browser: Browser, egress: EgressProxy, sites: Sites
    ) -> None:
        inside = ("a.wild.test", "a.b.wild.test", "A.WILD.test")
        outside = ("wild.test", "notwild.test", "a.wild.test.evil.test", "wild.test.evil.test")
        known(sites, *(name.lower() for name in inside), *outside)
        egress.policy = EgressPolicy((EgressRule("*.wild.test", (sites.http.port,), private=True),))
        url, before = sites.http.show(document("here")), len(sites.names.lookups)
        for host in inside:
            assert await reached(browser, url.replace("site.test", host)), host
        for host in outside:
            assert not await reached(browser, url.replace("site.test", host)), host
        assert not set(outside) & set(sites.names.lookups[before:])

    async def test_one_address_and_none_beside_it(self, browser: Browser, egress: EgressProxy, sites: Sites) -> None:
        egress.policy = EgressPolicy((EgressRule("127.0.0.1", (sites.http.port,), private=True),))
        url = sites.http.show(document("here"))
        assert await reached(browser, url.replace("site.test", "127.0.0.1"))
        for host in ("site.test", "localhost", "127.0.0.2", "[::1]", "10.0.0.1"):
            assert not await reached(browser, url.replace("site.test", host)), host

    async def test_names_that_only_look_like_an_address(
        self, browser: Browser, egress: EgressProxy, sites: Sites
    ) -> None:
        names = ("127.0.0.1.look.test", "169.254.169.254.look.test", "0x7f.look.test", "192-168-0-1.look.test")
        known(sites, *names)
        egress.policy = EgressPolicy((EgressRule("*.look.test", (sites.http.port,), private=True),))
        url = sites.http.show(document("here"))
        for name in names:
            assert await reached(browser, url.replace("site.test", name)), name

    @pytest.mark.parametrize("addresses", [("127.0.0.2", "127.0.0.1"), ("::1", "127.0.0.1")])
    async def test_a_name_of_which_only_one_address_answers(
        self, browser: Browser, egress: EgressProxy, sites: Sites, addresses: tuple[str, ...]
    ) -> None:
        sites.names.answers["several.test"] = lambda: addresses
        egress.policy = EgressPolicy((EgressRule("several.test", (sites.http.port,), private=True),))
        assert await reached(browser, sites.http.show(document("here"), host="several.test"))

    async def test_thousands_of_rules(self, browser: Browser, egress: EgressProxy, sites: Sites) -> None:
        many = tuple(EgressRule(f"n{n}.many.test") for n in range(5_000))
        egress.policy = EgressPolicy((*many, *sites.policy.rules))
        url = sites.http.show(document("here"))
        assert await reached(browser, url)
        assert not await reached(browser, url.replace("site.test", "n5000.many.test"))


class TestPages:
    async def test_a_page_comes_without_what_it_may_not_load(
        self, open_tab: OpenTab, egress: EgressProxy, sites: Sites, site: Site
    ) -> None:
        egress.policy = EgressPolicy((EgressRule("site.test", (site.port,), private=True),))
        mine, theirs = site.show("/* mine */"), site.show("/* theirs */", host="other.test")
        tab = await open_tab(f"<script src='{mine}'></script><script src='{theirs}'></script><p>The page itself.</p>")
        assert "The page itself." in await tab.text()
        assert len(site.requests(mine)) == 1
        assert not site.requests(theirs)

        async def refused() -> RequestEntry | None:
            log = await tab.browser.log(tab.page_id)
            return next((one for one in log.requests if one.url == theirs and (one.failure or one.status)), None)

        entry = await eventually(refused)
        assert entry is not None
        assert entry.failure or entry.status == 403

    async def test_what_was_refused_is_reached_once_a_rule_allows_it(
        self, browser: Browser, egress: EgressProxy, sites: Sites, site: Site
    ) -> None:
        url = site.show(document("here"))
        egress.policy = EgressPolicy()
        assert not await reached(browser, url)
        egress.policy = sites.policy
        assert await reached(browser, url)

    async def test_a_redirect_by_way_of_a_host_that_no_rule_names(
        self, browser: Browser, egress: EgressProxy, sites: Sites, site: Site
    ) -> None:
        known(sites, "between.test")
        goal = site.show(document("the goal"))
        between = site.redirect(goal, host="between.test")
        egress.policy = EgressPolicy((EgressRule("site.test", (site.port,), private=True),))
        assert not await reached(browser, site.redirect(between))
        assert not site.requests(between)
        assert not site.requests(goal)
