"""A hostile page on an allowed site tries everything to reach something internal, and never does.

The same ways lead to a bait that may be reached: what does not reach the bait either would show nothing.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import web

from tests.conformance.browsing import document, eventually
from tests.conformance.conftest import make_workspace
from tests.conformance.implementations import IMPLEMENTATIONS
from tests.conformance.sites import Sites
from tests.conformance.vectors import VECTORS, written
from workstation.errors import NavigationBlocked, NavigationFailed
from workstation.interface import Browser, FileSystemLimits

pytestmark = pytest.mark.asyncio(loop_scope="session")

REDIRECTED = [
    "image",
    "script",
    "stylesheet",
    "fetch",
    "xhr",
    "beacon",
    "event source",
    "worker fetch",
    "frame",
    "form post",
    "font",
    "video",
]
"""Ways that are tried through redirects as well."""
STATUSES = [301, 302, 303, 307, 308]
SERVICE = """
    self.addEventListener('install', (event) => event.waitUntil(Promise.all([
        fetch('{bait}/service-worker').catch(() => 0), fetch('{victim}/service-worker').catch(() => 0),
    ])));
"""


@dataclass
class Aftermath:
    """What was asked, by the names of the ways, once the hostile pages had their time."""

    bait: set[str]
    victim: list[str]
    lookups: list[str]


def ways(sites: Sites) -> list[str]:
    """Pages that each try one way, towards the victim or towards the bait."""
    places = (f"http://127.0.0.1:{sites.victim.port}/", sites.http.url("/bait/", "bait.test"))
    plain = [written(name, there + slug(name)) for name in VECTORS for there in places]
    redirected = [
        written(name, sites.http.redirect(there + slug(f"{name} {status}"), status, host="localhost"))
        for status in STATUSES
        for name in REDIRECTED
        for there in places
    ]
    return [sites.http.show(document(html), host="localhost") for html in plain + redirected]


def slug(name: str) -> str:
    return name.replace(" ", "-")


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def aftermath(implementation_name: str, sites: Sites, shared_egress, warm_browser, tmp_path_factory) -> Aftermath:
    """Open them all as frames of a hostile page, on `localhost`, a secure context: no way is closed for want of one."""
    bait: set[str] = set()

    async def reached(request: web.Request) -> web.Response:
        bait.add(request.path.removeprefix("/bait/").replace("-", " "))
        return web.Response(body=b"", headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"})

    for name in [*VECTORS, "service worker", *(f"{name} {status}" for name in REDIRECTED for status in STATUSES)]:
        sites.http.serve(reached, path=f"/bait/{slug(name)}")
    before, looked = len(sites.victim.hits), len(sites.names.lookups)
    workspace = make_workspace(tmp_path_factory.mktemp("egress") / "workspace")
    async with (
        IMPLEMENTATIONS[implementation_name].files(workspace, FileSystemLimits(), None) as files,
        warm_browser(files, None, None) as browser,
    ):
        await _attack(browser, sites)

        async def sure() -> bool:
            plain = {name for name, vector in VECTORS.items() if vector.sure}
            return plain | {f"{name} {status}" for name in REDIRECTED for status in STATUSES} <= bait

        with suppress(TimeoutError):  # each test says which is missing
            await eventually(sure, 10)
        await asyncio.sleep(1.5)
    return Aftermath(bait, sites.victim.hits[before:], sites.names.lookups[looked:])


async def _attack(browser: Browser, sites: Sites) -> None:
    service = sites.http.url("/service.js", "localhost")
    victim = f"http://127.0.0.1:{sites.victim.port}"
    script = SERVICE.replace("{bait}", sites.http.url("/bait", "bait.test")).replace("{victim}", victim)
    sites.http.show(script, path="/service.js", content_type="text/javascript")
    worker = f"<script>navigator.serviceWorker?.register('{service}')</script>"
    frames = "".join(f"<iframe src='{way}'></iframe>" for way in ways(sites))
    await browser.open_page("hostile", url=sites.http.show(document(worker + frames), host="localhost"))


class TestFromOnePage:
    @pytest.mark.parametrize("name", VECTORS)
    async def test_the_victim_is_not_reached(self, implementation, aftermath: Aftermath, name: str) -> None:
        del implementation  # for the matrix
        assert not [hit for hit in aftermath.victim if f"/{slug(name)} " in hit]
        if VECTORS[name].sure:
            assert name in aftermath.bait, "it asks nobody at all, so it shows nothing"

    @pytest.mark.parametrize("status", STATUSES)
    async def test_nor_through_redirects(self, implementation, aftermath: Aftermath, status: int) -> None:
        del implementation
        assert not [hit for hit in aftermath.victim if f"-{status} " in hit]
        missing = {f"{name} {status}" for name in REDIRECTED} - aftermath.bait
        assert not missing

    async def test_nor_by_anything_else(self, implementation, aftermath: Aftermath) -> None:
        del implementation
        assert aftermath.victim == []
        assert len(VECTORS) + len(REDIRECTED) * len(STATUSES) >= 35

    async def test_no_name_is_looked_up_that_is_not_allowed(
        self, implementation, aftermath: Aftermath, sites: Sites
    ) -> None:
        del implementation
        assert set(aftermath.lookups) <= set(sites.names.answers)


class TestByNavigation:
    """What leads the page itself away: it ends where it was, or says that it was refused."""

    @pytest.mark.parametrize("status", STATUSES)
    async def test_redirects(self, browser: Browser, sites: Sites, status: int) -> None:
        before = len(sites.victim.hits)
        await browser.open_page("one")
        with pytest.raises(NavigationBlocked):
            await browser.navigate("one", sites.http.redirect(f"http://127.0.0.1:{sites.victim.port}/", status))
        assert sites.victim.hits[before:] == []

    @pytest.mark.parametrize(
        "body",
        [
            "<meta http-equiv=refresh content='0;url={to}'>",
            "<script>location = '{to}'</script>",
            "<script>location.replace('{to}')</script>",
            "<form id=f method=post action='{to}'></form><script>f.submit()</script>",
            "<a id=a href='{to}'>x</a><script>a.click()</script>",
            "<script>open('{to}', '_self')</script>",
            "<script>navigation.navigate('{to}')</script>",
        ],
    )
    async def test_by_itself(self, browser: Browser, sites: Sites, body: str) -> None:
        before = len(sites.victim.hits)
        to = f"http://127.0.0.1:{sites.victim.port}/"
        with suppress(NavigationBlocked, NavigationFailed):
            await browser.open_page("one", url=sites.http.show(document(body.replace("{to}", to))))
            await asyncio.sleep(0.3)
            assert "the internal" not in (await browser.read_text("one")).text
        assert sites.victim.hits[before:] == []
