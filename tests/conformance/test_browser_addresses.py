"""Addresses that are no web addresses, in every spelling: refused, and nothing of the machine is shown."""

import asyncio
import contextlib
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.browsing import fresh_page_id
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import InvalidArgument, NavigationBlocked, NavigationFailed
from workstation.interface import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSED = (NavigationBlocked, InvalidArgument)

FORBIDDEN = [
    "file:///etc/passwd",
    "file:/etc/passwd",
    "file:etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "fIlE:///etc/passwd",
    " file:///etc/passwd",
    "\tfile:///etc/passwd",
    "\nfile:///etc/passwd",
    "fi\tle:///etc/passwd",
    "fi\nle:///etc/passwd",
    "f\r\nile:///etc/passwd",
    "\x00file:///etc/passwd",
    "\x1ffile:///etc/passwd",
    "file:\\\\\\etc\\passwd",
    "file:///proc/self/environ",
    "view-source:http://site.test/",
    "view-source:file:///etc/passwd",
    "VIEW-SOURCE:http://site.test/",
    "view-source:View-Source:file:///etc/passwd",
    "file:%2f%2f/etc/passwd",
    "chrome://version",
    "chrome://crash",
    "chrome:version",
    "CHROME://gpu",
    "chrome-extension://abc/page.html",
    "chrome-untrusted://print/",
    "chrome-error://chromewebdata/",
    "chrome-search://local-ntp/",
    "devtools://devtools/bundled/inspector.html",
    "devtools-frontend://x/",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java\tscript:alert(1)",
    " javascript:alert(1)",
    "javascript://%0aalert(1)",
    "data:text/html,<h1>x</h1>",
    "DATA:text/html;base64,eA==",
    "blob:http://site.test/9115d58c-bcda-ff47-86e5-083e9a215304",
    "filesystem:http://site.test/temporary/x",
    "about:srcdoc",
    "about:version",
    "about:crash",
    "ftp://site.test/",
    "ws://site.test/",
    "wss://site.test/",
    "mailto:ann@example.com",
    "tel:110",
    "intent://x#Intent;scheme=http;end",
    "ssh://site.test",
    "gopher://site.test/",
    "isolated-app://x/",
    "urn:isbn:0",
    "externalfile:x",
    "content://x",
    "//site.test/",
    "site.test",
    "/etc/passwd",
    "etc/passwd",
    "\\\\server\\share",
    "C:\\Windows",
    "http:",
    "http://",
    "https:///",
    "http:///etc/passwd",
    "http://:80/",
    "http://site.test:99999/",
    "http://site.test:x/",
    "http://[::1/",
    "http://[zz]/",
    "http://a b/",
    "http://%zz/",
    "http://site.test\x00.evil/",
    "http://.../",
    "http://",
    "::::",
    "back\x00",
    "http://" + "a" * 300 + "/",
    "\ud800",
]


class TestForbidden:
    @pytest.mark.parametrize("url", FORBIDDEN)
    async def test_nothing_goes_there(self, browser: Browser, url: str) -> None:
        await browser.open_page("one")
        for call in (partial(browser.navigate, "one", url), partial(browser.open_page, "two", url=url)):
            with pytest.raises((*REFUSED, NavigationFailed) if url.startswith("http://") else REFUSED) as caught:
                await asyncio.wait_for(call(), 15)
            assert len(str(caught.value)) < 1000
        (page,) = await browser.pages()
        assert page.url in ("", "about:blank") or page.url.startswith("http://")

    async def test_an_empty_address(self, browser: Browser) -> None:
        await browser.open_page("one")
        with pytest.raises(REFUSED):
            await browser.navigate("one", "")

    async def test_an_endless_address(self, browser: Browser, site: Site) -> None:
        await browser.open_page("one")
        with pytest.raises((*REFUSED, NavigationFailed)) as caught:
            await browser.navigate("one", site.url("/" + "a" * 3_000_000))
        assert len(str(caught.value)) < 5000

    @pytest.mark.parametrize("userinfo", ["someone:hunter2@", "someone@", ":hunter2@", "site.test:80@", "%40@"])
    async def test_names_and_passwords_in_an_address(self, browser: Browser, site: Site, userinfo: str) -> None:
        await browser.open_page("one")
        url = site.show("x")
        with pytest.raises(REFUSED) as caught:
            await browser.navigate("one", url.replace("http://", f"http://{userinfo}"))
        assert "hunter2" not in str(caught.value)
        assert not site.requests(url)


class TestByThePage:
    """What a page tries by itself, or lets a click do."""

    @pytest.mark.parametrize("to", ["file:///etc/passwd", "chrome://version", "view-source:file:///etc/passwd"])
    @pytest.mark.parametrize(
        "how",
        [
            "<a id=it href='{to}'>Go</a>",
            "<button onclick=\"location = '{to}'\">Go</button>",
            "<button onclick=\"window.open('{to}')\">Go</button>",
            "<form action='{to}'><button>Go</button></form>",
            "<iframe src='{to}'></iframe><button>Go</button>",
            "<object data='{to}'></object><embed src='{to}'><button>Go</button>",
            "<button onclick=\"window.open().location = '{to}'\">Go</button>",
        ],
    )
    async def test_it_shows_nothing_of_the_machine(
        self, browser: Browser, open_tab: OpenTab, how: str, to: str
    ) -> None:
        tab = await open_tab(how.replace("{to}", to))
        with contextlib.suppress(NavigationBlocked, NavigationFailed):
            await tab.click(r"(?:link|button)", "Go")
        for page in await browser.pages():
            assert not page.url.startswith(("file:", "chrome:", "view-source:"))
            text = (await browser.read_text(page.page_id)).text + (await browser.snapshot(page.page_id)).text
            assert "root:" not in text
            assert "Chromium" not in text

    async def test_a_data_page_in_a_frame_stays_without_rights(self, open_tab: OpenTab, planted: Path) -> None:
        (planted / "note").write_text("a workspace secret")
        tab = await open_tab(
            f"<iframe src=\"data:text/html,<body><script>fetch('file://{planted}/note').then((r) => r.text()).then("
            "(t) => document.body.append(t)).catch(() => document.body.append('refused'))</script>\"></iframe>"
        )
        await tab.shows("refused")
        assert "secret" not in await tab.text()


@given(
    url=st.one_of(
        st.text(max_size=200),
        st.from_regex(r"[a-zA-Z][a-zA-Z+.\-]{0,8}:[^\n]{0,40}"),
        st.builds(
            lambda scheme, gap, host, rest: f"{scheme}{gap}{host}{rest}",
            st.sampled_from(
                [
                    "http",
                    "HTTP",
                    "https",
                    "file",
                    "view-source:http",
                    "javascript",
                    "data",
                    "about",
                    "",
                    " http",
                    "h\ttp",
                ]
            ),
            st.sampled_from([":", "://", ":///", ":\\\\", "//", ":/", ""]),
            st.sampled_from(
                [
                    "",
                    "nowhere.test",
                    "127.0.0.1",
                    "[::1]",
                    "0x7f.1",
                    "user:pw@nowhere.test",
                    "nowhere.test:0",
                    "no where",
                    "ⓔxample",
                    "%31",
                ]
            ),
            st.text(max_size=20),
        ),
    )
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_any_text_is_an_address_or_an_error(browser: Browser, url: str) -> None:
    page_id = fresh_page_id()
    try:
        await asyncio.wait_for(browser.open_page(page_id, url=url), 20)
    except (NavigationBlocked, NavigationFailed, InvalidArgument):
        assert page_id not in [page.page_id for page in await browser.pages()]
    else:
        assert url == "" or (await browser.pages())[-1].url == "about:blank"
        await browser.close_page(page_id)
