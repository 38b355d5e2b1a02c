import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Page

from tests.integration.workstation.browser_media.conftest import OpenPage, Site
from workstation.egress import EgressProxy
from workstation.errors import InvalidArgument
from workstation.local.browser import reading, running
from workstation.local.browser.engine import Engine
from workstation.local.browser.reading import read_text

pytestmark = pytest.mark.asyncio(loop_scope="package")

PRICING = """<style>.cards, .price { display: flex }</style>
<header><a href=/>Acme</a><nav><a href=/a>Product</a><a href=/b>Docs</a></nav></header>
<div class=hero><h1>Simple pricing</h1><p>Pick a plan.</p></div>
<div class=cards>
<div class=card><h3>Starter</h3><div class=price><span>$9</span><span>a month</span></div><ul><li>3 users</ul>
<a href=/buy/starter>Choose Starter</a></div>
<div class=card><h3>Team</h3><div class=price><span>$29</span><span>a month</span></div><ul><li>SSO<li>1 TB</ul></div>
</div>
<table><thead><tr><th>Feature<th>Starter<th>Team</thead><tr><td>Audit log<td><td>Yes<tr><td>Users<td>3<td>Any</table>
<details><summary>Can I switch?</summary><p>At any time.</p></details>
<footer>© Acme <a href=/terms>Terms</a></footer><script>const never = "<b>never</b>"</script>"""


async def read(page: Page) -> str:
    return (await read_text(page, offset=0, most_characters=1_000_000)).text


async def test_cards_tables_lists_and_links_stay_what_they_are(open_page: OpenPage, site: Site) -> None:
    text = await read(await open_page(PRICING))
    assert (
        text
        == f"""# Simple pricing

Pick a plan.

### Starter

$9 a month

- 3 users

[Choose Starter](http://127.0.0.1:{site.port}/buy/starter)

### Team

$29 a month

- SSO
- 1 TB

| Feature | Starter | Team |
| --- | --- | --- |
| Audit log |  | Yes |
| Users | 3 | Any |

Can I switch?

At any time."""
    )


async def test_code_definitions_and_numbered_lists_stay(open_page: OpenPage) -> None:
    text = await read(
        await open_page(
            "<div class=sidebar><ul><li><a href=/1>Intro</a><li><a href=/2>API</a></ul></div><main><h1>Install</h1>"
            "<p>Run <code>pip</code>.<pre>a:\n-\n\n\n  - b</pre><dl><dt>--fast<dd>Go fast</dl><ol start=3><li>three<ul>"
            "<li>in</ul></ol><div role=table><div role=row><b role=columnheader>Key</b><b role=columnheader>Value</b></div>"
            "<div role=row><b role=cell>k</b><b role=cell>1</b></div></div></main>"
        )
    )
    assert "Intro" not in text
    for part in ("Run `pip`.", "a:\n-\n\n\n  - b", "--fast", "3. three\n", "- in", "| Key | Value |", "| k | 1 |"):
        assert part in text


async def test_an_article_is_read_without_what_stands_around_it(open_page: OpenPage) -> None:
    text = await read(
        await open_page(
            "<div id=cookie-banner>We use cookies</div><nav>Home</nav><article><h1>News</h1>"
            + "<p>A sentence that tells something of some length.</p>" * 20
            + "<div class='social share'><a href=/s1>Tweet</a> <a href=/s2>Post</a></div></article>"
            "<aside>Beside</aside><div class=related><a href=/r1>Other</a></div><footer>Imprint</footer>"
        )
    )
    assert text.startswith("# News")
    for noise in ("cookies", "Home", "Tweet", "Beside", "Other", "Imprint"):
        assert noise not in text


@pytest.mark.parametrize("body", ["<nav><a href=/a>Only links</a></nav>", "<aside>Only links</aside>"])
async def test_a_page_of_nothing_but_menus_is_read_whole(open_page: OpenPage, body: str) -> None:
    assert "Only links" in await read(await open_page(body))


async def test_a_small_main_part_does_not_hide_the_page(open_page: OpenPage) -> None:
    text = await read(await open_page("<main><p>tiny</main><div>" + "<p>what counts</p>" * 100 + "</div>"))
    assert "what counts" in text


async def test_a_link_around_a_card_is_at_its_heading(open_page: OpenPage, site: Site) -> None:
    text = await read(await open_page("<a href=/card><div><h3>Title</h3><p>About it</p></div></a><a href=#x>up</a>"))
    assert text == f"### [Title](http://127.0.0.1:{site.port}/card)\n\nAbout it\n\nup"


async def test_what_is_hidden_and_what_stands_in_fields_is_not_told(open_page: OpenPage) -> None:
    page = await open_page(
        "<p>seen<p style='display:none'>secret1<p style='visibility:hidden'>secret2 "
        "<b style='visibility:visible'>shown</b></p><p hidden>secret3<div aria-hidden=true>secret4</div>"
        "<form><input type=password value=secret5><input value=secret6>"
        "<textarea>secret7</textarea></form><template>secret8</template><noscript>secret9</noscript><!--secret10-->"
    )
    await page.fill("input[type=password]", "secret11")
    text = await read(page)
    assert "seen" in text
    assert "shown" in text
    assert "secret" not in text


async def test_shadow_roots_are_read(open_page: OpenPage) -> None:
    page = await open_page("<x-card><b>slotted</b></x-card>")
    await page.evaluate(
        "document.querySelector('x-card').attachShadow({mode: 'open'}).innerHTML = '<p>in the shadow <slot></slot></p>'"
    )
    assert await read(page) == "in the shadow **slotted**"


async def test_frames_of_any_origin_are_read(open_page: OpenPage, site: Site) -> None:
    same, other = site.show("<p>from the same"), site.show("<p>from another", host="other.test")
    page = await open_page(f"<p>around</p><iframe src={same}></iframe><iframe src={other}></iframe><p>after</p>")
    await page.wait_for_load_state("networkidle")
    text = await read(page)
    assert text.startswith("around\n\nfrom the same\n\nafter")
    assert text.endswith(f"In a frame from {other}:\n\nfrom another")
    assert text.count("from the same") == 1


@pytest_asyncio.fixture(loop_scope="package")
async def isolating(egress: EgressProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Page]:
    """A page of a Chromium that gives each site a process of its own, which the headless one does only when told."""
    monkeypatch.setattr(running, "_ARGUMENTS", (*running._ARGUMENTS, "--site-per-process"))
    async with Engine(egress) as engine:
        yield await (await engine.chromium()).new_page()


async def test_frames_in_processes_of_their_own_are_read(isolating: Page, site: Site) -> None:
    other = site.show("<p>from another", host="other.test")
    await isolating.goto(site.show(f"<p>around</p><iframe src={other}></iframe>"), wait_until="networkidle")
    assert await read(isolating) == f"around\n\n---\n\nIn a frame from {other}:\n\nfrom another"


async def test_a_frame_that_is_busy_is_left_out(isolating: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_FRAME_SECONDS", 0.5)
    began = asyncio.Event()

    async def begin(request: web.Request) -> web.Response:
        began.set()
        return web.Response()

    busy = site.show(
        f"<script>fetch('{site.serve(begin)}', {{mode: 'no-cors'}}); setTimeout(() => {{ for (;;); }}, 200)</script>",
        host="other.test",
    )
    await isolating.goto(site.show(f"<p>around</p><iframe src={busy}></iframe>"))
    await began.wait()
    await asyncio.sleep(0.5)
    assert await read(isolating) == "around"


async def test_text_is_read_in_parts_that_fit_together(open_page: OpenPage) -> None:
    page = await open_page("".join(f"<p>paragraph {number}</p>" for number in range(100)))
    whole = await read(page)
    parts, offset = [], 0
    while offset < len(whole):
        part = await read_text(page, offset=offset, most_characters=700)
        assert (part.offset, part.total) == (offset, len(whole))
        parts.append(part.text)
        offset += len(part.text)
    assert "".join(parts) == whole
    assert (await read_text(page, offset=10_000_000, most_characters=10)).text == ""


async def test_a_negative_offset_makes_no_sense(open_page: OpenPage) -> None:
    with pytest.raises(InvalidArgument, match="-1"):
        await read_text(await open_page(), offset=-1, most_characters=10)


async def test_an_empty_page_has_no_text(context: object, open_page: OpenPage) -> None:
    assert await read_text(await open_page(), offset=0, most_characters=10) == reading.ReadText("", 0, 0)


async def test_a_page_without_end_is_cut_and_says_so(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_CHARACTERS", 10_000)
    text = await read(await open_page("<p>some words</p>" * 10_000))
    assert len(text) < 11_000
    assert text.endswith("only its beginning is read.]")


BELOW = """const below = (names, count) => {
  let element = document.body;
  for (let i = 0; i < count; i++) {
    const inner = document.createElement(names[i % names.length]);
    element.append(inner);
    element = inner;
  }
  element.textContent = 'the end';
};"""
HOSTILE = {
    "elements below each other": f"{BELOW} below(['div'], 600)",
    "lists below each other": f"{BELOW} below(['ul', 'li'], 800)",
    "attributes": f"{BELOW} below(['p'], 1); document.querySelector('p').className = 'a '.repeat(5e6)",
    "many elements": "document.body.innerHTML = '<p>x <b>b</b></p>'.repeat(2e4) + '<p>the end</p>'",
    "a long table": """const rows = '<tr><td>1<td>2</tr>'.repeat(1e4);
        document.body.innerHTML = `<table><tr><th>a<th>b</tr>${rows}</table>the end`;""",
    "tampering": """document.body.innerHTML = 'the end';
        Node.prototype.contains = Array.prototype.push = String.prototype.replace = null;
        Object.defineProperty(Element.prototype, 'tagName', { get() { throw 1 } });
        window.getComputedStyle = () => { throw 2 };""",
}


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_pages_are_read(open_page: OpenPage, script: str) -> None:
    page = await open_page()
    await page.evaluate(f"() => {{ {script} }}")
    async with asyncio.timeout(30):
        assert (await read(page)).endswith("the end")


async def test_nobody_pays_for_the_converter_before_he_reads() -> None:
    command = "import sys, workstation.local.browser.reading; sys.exit('html_to_markdown' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", command, stderr=subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, said
