"""Screenshots and PDFs: what they show, their true size, and how large they may be."""

import re

import pytest

from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from tests.pictures import JPEG, pdf_text, png_size
from workstation.errors import ActionFailed, InvalidArgument, LimitExceeded, StaleRef
from workstation.interface import Browser, Click, ImageFormat, LoadState

pytestmark = pytest.mark.asyncio(loop_scope="session")

TALL = "<style>body { margin: 0 }</style><div style='height:3000px;background:linear-gradient(red,blue)'>tall</div>"


async def printed(browser: Browser, page_id: str) -> bytes:
    pieces = [piece async for piece in browser.pdf(page_id)]
    assert all(0 < len(piece) <= 1 << 20 for piece in pieces)
    return b"".join(pieces)


class TestScreenshot:
    async def test_what_is_in_view(self, open_tab: OpenTab) -> None:
        tab = await open_tab(TALL)
        picture = await tab.browser.screenshot(tab.page_id)
        assert (picture.format, picture.width, picture.height) == (ImageFormat.PNG, 1280, 800)
        assert png_size(picture.data) == (1280, 800)

    async def test_the_full_page(self, open_tab: OpenTab) -> None:
        tab = await open_tab(TALL)
        picture = await tab.browser.screenshot(tab.page_id, full_page=True)
        assert png_size(picture.data) == (picture.width, picture.height)
        assert picture.height >= 3000

    async def test_one_element(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<div style='height:2000px'></div><button style='width:120px;height:40px'>It</button>")
        picture = await tab.browser.screenshot(tab.page_id, ref=await tab.ref("button", "It"))
        assert png_size(picture.data) == (picture.width, picture.height) == (120, 40)

    async def test_jpeg(self, open_tab: OpenTab) -> None:
        tab = await open_tab(TALL)
        picture = await tab.browser.screenshot(tab.page_id, format=ImageFormat.JPEG)
        assert (picture.format, picture.width, picture.height) == (ImageFormat.JPEG, 1280, 800)
        assert picture.data.startswith(JPEG)

    async def test_it_shows_what_the_page_shows(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button onclick=\"document.body.style.background = 'red'\">Red</button>")
        before = (await tab.browser.screenshot(tab.page_id)).data
        assert (await tab.browser.screenshot(tab.page_id)).data == before
        await tab.click("button", "Red")
        assert (await tab.browser.screenshot(tab.page_id)).data != before

    async def test_refs_stay_good(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button onclick=\"say('pressed')\">It</button>")
        ref = await tab.ref("button", "It")
        await tab.browser.screenshot(tab.page_id)
        await tab.browser.screenshot(tab.page_id, ref=ref)
        await tab.act(Click(ref=ref))
        await tab.shows("pressed")

    async def test_animations_do_not_hold_it_up(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<style>@keyframes spin { to { rotate: 360deg } } div { animation: spin 0.2s infinite }</style>"
            "<div>spinning</div>"
            "<input autofocus><script>const on = () => { document.body.style.top = Math.random(); "
            "requestAnimationFrame(on) }; on()</script>"
        )
        assert (await tab.browser.screenshot(tab.page_id)).data

    async def test_fonts_that_never_come_do_not_hold_it_up(self, open_tab: OpenTab, sites) -> None:
        tab = await open_tab()
        await tab.navigate(
            sites.http.show(
                f"<style>@font-face {{ font-family: slow; src: url('{sites.bad['silent']}') }} "
                f"p {{ font-family: slow }}</style><p>words"
            ),
            wait_for=LoadState.DOCUMENT,
        )
        assert (await tab.browser.screenshot(tab.page_id)).data

    @pytest.mark.parametrize("height", [30_000, 10_000_000])
    async def test_larger_than_may_be(self, open_browser, open_tab: OpenTab, height: int) -> None:
        async with open_browser(screenshot_pixels=2_000_000) as browser:
            tab = await open_tab(f"<div role=button aria-label=Tall style='height:{height}px'>tall</div>", on=browser)
            ref = await tab.ref("button", "Tall")
            for how in ({"full_page": True}, {"ref": ref}):
                with pytest.raises(LimitExceeded) as caught:
                    await browser.screenshot(tab.page_id, **how)
                assert (caught.value.limit, caught.value.allowed) == ("screenshot_pixels", 2_000_000)
            assert (await browser.screenshot(tab.page_id)).width == 1280

    async def test_an_endless_page_by_the_usual_limits(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<div style='height:30000000px'>tall</div>")
        with pytest.raises(LimitExceeded):
            await tab.browser.screenshot(tab.page_id, full_page=True)

    async def test_what_has_no_size(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button id=it>It</button><button onclick='it.style.display = `none`'>Hide</button>")
        text = await tab.text()
        hidden = re.findall(r"ref=(\w+)", next(line for line in text.splitlines() if '"It"' in line))[0]
        hide = re.findall(r"ref=(\w+)", next(line for line in text.splitlines() if '"Hide"' in line))[0]
        await tab.act(Click(ref=hide))
        with pytest.raises((ActionFailed, StaleRef)):
            await tab.browser.screenshot(tab.page_id, ref=hidden)

    async def test_what_contradicts_itself(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button>It</button>")
        ref = await tab.ref("button", "It")
        with pytest.raises(InvalidArgument):
            await tab.browser.screenshot(tab.page_id, ref=ref, full_page=True)
        with pytest.raises(StaleRef):
            await tab.browser.screenshot(tab.page_id, ref="e4711")


class TestPdf:
    async def test_it_is_one_with_the_pages_words(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<h1>Quarterly report</h1><p>Revenue grew by seven percent.</p>")
        data = await printed(tab.browser, tab.page_id)
        assert data.startswith(b"%PDF-")
        assert data.rstrip().endswith(b"%%EOF")
        text = pdf_text(data).replace(" ", "")
        assert "Quarterlyreport" in text
        assert "sevenpercent" in text

    async def test_an_empty_page(self, browser: Browser) -> None:
        await browser.open_page("empty")
        assert (await printed(browser, "empty")).startswith(b"%PDF-")

    async def test_many_pages(self, open_tab: OpenTab) -> None:
        tab = await open_tab("".join(f"<p style='break-after:page'>Sheet {n}</p>" for n in range(30)))
        data = await printed(tab.browser, tab.page_id)
        assert len(re.findall(rb"/Type\s*/Page\b", data)) >= 30

    async def test_more_than_may_be(self, open_browser, open_tab: OpenTab) -> None:
        async with open_browser(pdf_bytes=50_000) as browser:
            tab = await open_tab("".join(f"<p>{n} {hash(str(n))}</p>" for n in range(5_000)), on=browser)
            with pytest.raises(LimitExceeded) as caught:
                await printed(browser, tab.page_id)
            assert caught.value.limit == "pdf_bytes"
            assert "0 " in (await browser.read_text(tab.page_id)).text

    async def test_a_reader_that_goes_away(self, open_tab: OpenTab) -> None:
        tab = await open_tab("".join(f"<p>{n}</p>" for n in range(3_000)))
        stream = tab.browser.pdf(tab.page_id)
        await anext(stream)
        await stream.aclose()
        await tab.snapshot()
        assert (await printed(tab.browser, tab.page_id)).startswith(b"%PDF-")

    async def test_a_page_that_changes_for_print(self, open_tab: OpenTab, site: Site) -> None:
        tab = await open_tab("<style>@media print { p { display: none } }</style><p>Screenonly</p><h1>Always</h1>")
        text = pdf_text(await printed(tab.browser, tab.page_id))
        assert "Always" in text
        assert "Screenonly" not in text
        assert "Screenonly" in await tab.text()
