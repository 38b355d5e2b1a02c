"""Reading pages as text: what they say, without what only leads around them."""

import pytest

from tests.conformance.browsing import document
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import InvalidArgument, LimitExceeded, PageTimedOut
from workstation.interface import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

PARAGRAPHS = (
    "The committee met on Tuesday and decided, after a long debate, that the old bridge would be rebuilt by the spring.",
    "Engineers had found cracks in two of its five pillars, which were laid in 1911 and never replaced since then.",
    "Traffic will be led over the ferry in the meantime, and commuters should allow for twenty more minutes a day.",
    "A first estimate puts the cost at eleven million, of which the county has promised to carry slightly more than half.",
    "Shopkeepers on the northern bank fear for their trade, although the mayor has offered them a lower rent for a year.",
    "Fishermen, on the other hand, welcomed the plan: the arches of the new bridge would let larger boats pass through.",
    "Work begins once the ice has gone, and a web page will show how far it is, with pictures taken every Friday evening.",
    "Whoever wishes to object may do so in writing until the end of the month, at the town hall or by letter.",
)
ARTICLE = (
    "<nav><a href=/>Home</a><a href=/news>News</a><a href=/imprint>Imprint</a></nav>"
    f"<article><h1>The bridge</h1>{''.join(f'<p>{PARAGRAPHS[n]} Part {n}.</p>' for n in range(8))}"
    "<p>See <a href='https://example.com/plan%20B?for=%C3%BC'>the plan</a>.</p></article>"
    "<aside>Advertisement</aside><footer>Copyright, cookies, terms</footer><script>const hidden = 'SCRIPTWORD'</script>"
)

HUGE = {
    "what": "script",
    "depth": "let at = more; for (let n = 0; n < 20000; n++) { at = at.appendChild(document.createElement('div')) }",
    "elements": "for (let n = 0; n < 50000; n++) more.append(Object.assign(document.createElement('p'), {textContent: n}))",
    "an attribute": "more.setAttribute('title', 'a'.repeat(2e7))",
    "text": "more.textContent = 'many words '.repeat(2e6)",
}
"""Scripts that make a page huge."""


async def read(tab, **options) -> str:
    return str((await tab.browser.read_text(tab.page_id, **options)).text)


async def test_an_article_without_what_is_around_it(open_tab: OpenTab) -> None:
    text = await read(await open_tab(ARTICLE, title="Bridge"))
    assert "The bridge" in text
    assert all(f"Part {n}." in text for n in range(8))
    assert "https://example.com/plan%20B?for=%C3%BC" in text
    assert "SCRIPTWORD" not in text
    assert "Imprint" not in text


async def test_a_table(open_tab: OpenTab) -> None:
    rows = "".join(f"<tr><td>Plan {n}<td>{n * 9} EUR<td>{n} users" for n in range(1, 6))
    text = await read(await open_tab(f"<h1>Plans</h1><table><tr><th>Plan<th>Price<th>Users</tr>{rows}</table>"))
    for n in range(1, 6):
        line = next(line for line in text.splitlines() if f"Plan {n}" in line)
        assert f"{n * 9} EUR" in line
        assert f"{n} users" in line


async def test_cards_and_an_app_without_an_article(open_tab: OpenTab) -> None:
    cards = "".join(
        f"<div class=card><h3>{name}</h3><div>{price}</div><ul><li>{perk}</ul></div>"
        for name, price, perk in (
            ("Basic", "9", "CA"),
            ("Pro", "29 EUR a month", "10 seats"),
            ("Team", "Ask us", "Unlimited"),
        )
    )
    text = await read(await open_tab(f"<div id=app>{cards}</div>"))
    for words in ("Basic", "Pro", "29 EUR a month", "Ask us", "Unlimited"):
        assert words in text
    lines = [line.strip(" -") for line in text.splitlines()]
    assert "9" in lines, "however little stands there"
    assert "CA" in lines


async def test_what_scripts_wrote(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<main id=app></main><script>app.innerHTML = '<p>Written by a script, in a sentence.'</script>"
    )
    assert "Written by a script" in await read(tab)


async def test_frames(open_tab: OpenTab, site: Site) -> None:
    inner = site.show(document("<p>What stands in the frame is a whole sentence of its own.</p>"), host="other.test")
    tab = await open_tab(f"<p>What stands outside is a sentence as well.</p><iframe src='{inner}'></iframe>")
    text = await read(tab)
    assert "stands outside" in text
    assert "stands in the frame" in text


async def test_parts_of_it(open_tab: OpenTab) -> None:
    tab = await open_tab(ARTICLE)
    whole = await tab.browser.read_text(tab.page_id)
    assert (whole.offset, whole.total) == (0, len(whole.text))
    pieces, at = [], 0
    while at < whole.total:
        piece = await tab.browser.read_text(tab.page_id, offset=at, max_characters=300)
        assert (piece.offset, piece.total) == (at, whole.total)
        assert 0 < len(piece.text) <= 300
        pieces.append(piece.text)
        at += len(piece.text)
    assert "".join(pieces) == whole.text
    beyond = await tab.browser.read_text(tab.page_id, offset=whole.total + 5)
    assert (beyond.text, beyond.total) == ("", whole.total)


async def test_no_more_than_may_be(open_browser, open_tab: OpenTab) -> None:
    async with open_browser(text_characters=1000) as browser:
        tab = await open_tab(ARTICLE, on=browser)
        page = await browser.read_text(tab.page_id)
        assert len(page.text) == 1000 < page.total
        with pytest.raises((LimitExceeded, InvalidArgument)):
            await browser.read_text(tab.page_id, max_characters=1001)


@pytest.mark.parametrize("arguments", [{"offset": -1}, {"max_characters": 0}, {"max_characters": -1}])
async def test_impossible_parts(open_tab: OpenTab, arguments: dict[str, int]) -> None:
    tab = await open_tab("x")
    with pytest.raises((InvalidArgument, LimitExceeded)):
        await tab.browser.read_text(tab.page_id, **arguments)


async def test_an_empty_page(browser: Browser) -> None:
    await browser.open_page("empty")
    page = await browser.read_text("empty")
    assert (page.text.strip(), page.offset) == ("", 0)


async def test_plain_text_and_json(open_tab: OpenTab, site: Site) -> None:
    tab = await open_tab(url=site.show("line one\nline two", content_type="text/plain"))
    assert "line two" in await read(tab)
    await tab.navigate(site.show('{"price": 7}', content_type="application/json"))
    assert '"price": 7' in await read(tab)


async def test_every_script(open_tab: OpenTab) -> None:
    words = "日本語の文章です。 שלום עולם 🎉 Ünïcödé"
    assert words in await read(await open_tab(f"<p>{words}</p>"))


@pytest.mark.parametrize("what", HUGE)
async def test_huge_pages(open_tab: OpenTab, site: Site, what: str) -> None:
    tab = await open_tab(f"<p>A beginning.</p><div id=more></div><script>{HUGE[what]}</script>")
    try:
        page = await tab.browser.read_text(tab.page_id)
    except (LimitExceeded, PageTimedOut):
        pass
    else:
        assert len(page.text) <= (await tab.browser.capabilities()).limits.text_characters
    await tab.navigate(site.show(document("<p>Another page.</p>")))
    assert "Another page." in await read(tab)
