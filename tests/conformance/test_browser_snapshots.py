"""Snapshots: what they tell of a page, which refs they give, and how large they become."""

import asyncio

import pytest

from tests.conformance.browsing import document, ref_of, refs
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import InvalidArgument, LimitExceeded, PageTimedOut, StaleRef
from workstation.interface import Click, Hover

pytestmark = pytest.mark.asyncio(loop_scope="session")


HUGE = {
    "elements": "more.innerHTML = [...Array(50000).keys()].map((n) => `<button>${n}</button>`).join('')",
    "depth": "let at = more; for (let n = 0; n < 5000; n++) { at = at.appendChild(document.createElement('div')) }",
    "frames": "for (let n = 0; n < 300; n++) more.append(document.createElement('iframe'))",
    "text": "more.textContent = 'many words '.repeat(2e6)",
}
"""Scripts that make a page huge."""


class TestContent:
    async def test_roles_and_names(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<h2>Orders</h2><a href=/x>Home</a><button aria-label='Close it'>x</button>"
            "<label>Name <input value=Ann></label><input type=checkbox aria-label=Agree checked><select aria-label=Size>"
            "<option>S<option selected>M</select><img alt='A cat' src=data:><textarea aria-label=Notes>old</textarea>"
            "<ul><li>one<li>two</ul><p>Plain words.</p>"
        )
        text = await tab.text()
        for role, name in (
            ("link", "Home"),
            ("button", "Close it"),
            ("textbox", "Name"),
            ("checkbox", "Agree"),
            ("combobox", "Size"),
            ("textbox", "Notes"),
        ):
            assert ref_of(text, role, name)
        for words in ("Orders", "Ann", "A cat", "one", "two", "Plain words.", "old", "checked", "M"):
            assert words in text

    async def test_states(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button disabled>Off</button><button aria-expanded=true>Menu</button><button aria-pressed=true>Bold</button>"
            "<input type=checkbox aria-label=No><div role=tab aria-selected=true>Tab</div>"
        )
        lines = {line.split('"')[1]: line for line in (await tab.text()).splitlines() if '"' in line}
        assert "disabled" in lines["Off"]
        assert "expanded" in lines["Menu"]
        assert "pressed" in lines["Bold"]
        assert "checked" not in lines["No"]
        assert "selected" in lines["Tab"]

    async def test_what_cannot_be_seen_is_left_out(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<p hidden>one</p><p style='display:none'>two</p><p style='visibility:hidden'>three"
            "<b style='visibility:visible'>shown</b></p><p aria-hidden=true>four</p><template>five</template>"
        )
        text = await tab.text()
        assert "shown" in text
        assert not [word for word in ("one", "two", "three", "five") if word in text]

    async def test_frames_with_refs_of_their_own(self, open_tab: OpenTab, site: Site) -> None:
        deepest = site.show(document("<button onclick=\"say('deepest pressed')\">Deepest</button>"), host="third.test")
        inner = document(f"<button onclick=\"say('inner pressed')\">Inner</button><iframe src='{deepest}'></iframe>")
        same = site.show(document("<button onclick=\"say('same pressed')\">Same</button>"))
        other = site.show(inner, host="other.test")
        tab = await open_tab(f"<iframe src='{same}'></iframe><iframe src='{other}'></iframe><button>Outer</button>")
        text = await tab.text()
        assert len(refs(text)) == len(set(refs(text)))
        for name in ("Same", "Inner", "Deepest"):
            await tab.click("button", name)
            await tab.shows(f"{name.lower()} pressed")

    async def test_frames_in_themselves_have_an_end(self, open_tab: OpenTab, site: Site) -> None:
        path = "/self"
        site.show(document(f"<b>again</b><iframe src='{path}'></iframe><iframe src='{path}?2'></iframe>"), path=path)
        tab = await open_tab(url=site.url(path))
        assert "again" in await tab.text()

    async def test_shadow_trees(self, open_tab: OpenTab) -> None:
        script = """
            <div id=one></div><div id=two></div><script>
            const fill = (host, html) => {
                const root = host.attachShadow({mode: 'open'}); root.innerHTML = html; return root;
            };
            fill(one, '<button onclick="say(`open pressed`)">In the open</button>');
            fill(fill(two, '<p>around</p><div></div>').querySelector('div'), '<button>Further in</button>');
            </script>
        """
        tab = await open_tab(script)
        text = await tab.text()
        assert ref_of(text, "button", "Further in")
        await tab.click("button", "In the open")
        await tab.shows("open pressed")

    async def test_a_table(self, open_tab: OpenTab) -> None:
        rows = "".join(f"<tr><td>item {n}<td>{n * 100} EUR<td><button>Buy {n}</button>" for n in range(60))
        tab = await open_tab(f"<table><tr><th>Thing<th>Price<th></tr>{rows}</table>")
        text = (await tab.snapshot(max_characters=(await tab.browser.capabilities()).limits.snapshot_characters)).text
        assert all(f"item {n}" in text and f"{n * 100} EUR" in text for n in range(60))
        assert len({ref_of(text, "button", f"Buy {n}") for n in (0, 30, 59)}) == 3

    async def test_clickable_things_that_are_no_buttons(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<div style='cursor:pointer' onclick=\"say('pressed')\"><span>Press me</span></div>")
        line = next(line for line in (await tab.text()).splitlines() if "Press me" in line)
        await tab.act(Click(ref=refs(line)[0]))
        await tab.shows("pressed")

    async def test_broken_markup(self, open_tab: OpenTab, site: Site) -> None:
        body = (
            "<title>Broken</title><h1>Head<p>Un<b>closed<div><button onclick=\"document.title='Pressed'\">Go<script>no("
        )
        tab = await open_tab(url=site.show(body + "</script><table><tr><td"))
        assert "closed" in await tab.text()
        assert (await tab.click("button", "Go")).page.title == "Pressed"

    async def test_an_empty_page(self, browser) -> None:
        await browser.open_page("empty")
        snapshot = await browser.snapshot("empty")
        assert not snapshot.truncated
        assert len(snapshot.text) < 100

    async def test_the_page_is_told_with_it(self, open_tab: OpenTab) -> None:
        tab = await open_tab("x", title="Now")
        page = (await tab.snapshot()).page
        assert (page.title, page.status, page.page_id) == ("Now", 200, tab.page_id)

    @pytest.mark.parametrize(
        "text", ["日本語のページ", "שלום עולם", "👩‍👩‍👧‍👦 family", "e\u0301clair", "a\u202eb", "Ω≈ç√∫", "𝔘𝔫𝔦"]
    )
    async def test_every_script(self, open_tab: OpenTab, text: str) -> None:
        tab = await open_tab(f"<button>{text}</button>", title=text)
        snapshot = await tab.snapshot()
        assert snapshot.page.title == text
        assert text in snapshot.text

    async def test_lone_surrogates_and_control_characters(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button id=it>x</button><script>it.textContent = 'a\\ud800b\\u0001c\\u0000d'</script>")
        text = await tab.text()
        text.encode()
        assert ref_of(text, "button")


class TestRefs:
    async def test_those_of_an_earlier_snapshot_are_stale(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button>One</button>")
        old = set(refs(await tab.text()))
        await tab.browser.wait_for(tab.page_id, text="One", timeout=5)
        new = set(refs(await tab.text()))
        for ref in old - new:
            with pytest.raises(StaleRef) as caught:
                await tab.act(Hover(ref=ref))
            assert (caught.value.ref, caught.value.page_id) == (ref, tab.page_id)

    async def test_those_before_a_navigation_are_stale(self, open_tab: OpenTab, site: Site) -> None:
        tab = await open_tab("<button>One</button>")
        ref = await tab.ref("button", "One")
        await tab.navigate(site.show(document("<button>Two</button>")))
        with pytest.raises(StaleRef):
            await tab.act(Click(ref=ref))

    async def test_those_of_what_is_gone_are_stale(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button onclick='other.remove()'>One</button><button id=other>Two</button>")
        text = await tab.text()
        await tab.act(Click(ref=ref_of(text, "button", "One")))
        with pytest.raises(StaleRef):
            await tab.act(Click(ref=ref_of(text, "button", "Two")))

    @pytest.mark.parametrize(
        "ref",
        [
            "",
            "e999999",
            "f9e1",
            "e1 >> css=body",
            "css=button",
            "button",
            "e1\n",
            "../e1",
            "e" * 10_000,
            "aria-ref=e1",
            "]",
        ],
    )
    async def test_what_never_was_one(self, open_tab: OpenTab, ref: str) -> None:
        tab = await open_tab("<button onclick=\"document.title = 'pressed'\">One</button>")
        await tab.snapshot()
        with pytest.raises((StaleRef, InvalidArgument)):
            await tab.act(Click(ref=ref))
        with pytest.raises((StaleRef, InvalidArgument)):
            await tab.snapshot(ref=ref)
        assert (await tab.snapshot()).page.title == "A page"

    async def test_without_any_snapshot_there_are_none(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button>One</button>")
        for number in range(1, 6):
            with pytest.raises(StaleRef):
                await tab.act(Click(ref=f"e{number}"))

    async def test_those_of_another_page_are_none_of_this(self, open_tab: OpenTab) -> None:
        one, two = await open_tab("<button>One</button>" * 20), await open_tab("<button>Two</button>")
        await two.snapshot()
        last = refs(await one.text())[-1]
        with pytest.raises(StaleRef):
            await two.act(Click(ref=last))


class TestParts:
    async def test_one_part_alone(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<nav><a href=/a>Home</a></nav><main aria-label=Core><button>Core button</button></main>")
        part = await tab.snapshot(ref=await tab.ref("main"))
        assert "Core button" in part.text
        assert "Home" not in part.text
        await tab.act(Click(ref=ref_of(part.text, "button", "Core button")))

    async def test_not_below_a_depth(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<main><ul><li>item<ul><li>deeper<ul><li>deepest</ul></ul></ul></main>")
        assert "deepest" in await tab.text()
        shallow = (await tab.snapshot(depth=2)).text
        assert "deepest" not in shallow
        assert shallow

    @pytest.mark.parametrize("depth", [-1, -(10**9)])
    async def test_no_depth(self, open_tab: OpenTab, depth: int) -> None:
        with pytest.raises(InvalidArgument):
            await (await open_tab("x")).snapshot(depth=depth)

    async def test_changes(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<nav><a href=/a>Home</a></nav><ul id=list><li>first</ul>"
            "<button onclick=\"list.insertAdjacentHTML('beforeend', '<li><button>fresh</button>')\">Add</button>"
        )
        await tab.click("button", "Add")
        seen = await tab.snapshot(changes=True)
        assert seen.changes
        assert "fresh" in seen.text
        assert "Home" not in seen.text
        await tab.act(Click(ref=ref_of(seen.text, "button", "fresh")))

    async def test_no_changes(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button>One</button><p>words words words</p>")
        await tab.snapshot()
        seen = await tab.snapshot(changes=True)
        assert seen.changes
        assert "words" not in seen.text

    async def test_changes_with_no_snapshot_before_are_the_whole(self, open_tab: OpenTab, site: Site) -> None:
        tab = await open_tab("<button>One</button>")
        seen = await tab.snapshot(changes=True)
        assert "One" in seen.text
        await tab.navigate(site.show(document("<button>Next</button>")))
        assert "Next" in (await tab.snapshot(changes=True)).text


class TestSize:
    async def test_it_keeps_to_what_was_asked(self, open_tab: OpenTab) -> None:
        tab = await open_tab("".join(f"<button>Button number {n}</button>" for n in range(300)))
        seen = await tab.snapshot(max_characters=2000)
        assert seen.truncated
        assert len(seen.text) <= 2000
        assert "Button number 0" in seen.text
        assert refs(seen.text)
        await tab.act(Click(ref=ref_of(seen.text, "button", "Button number 0")))

    async def test_refs_that_were_cut_away_are_not_known(self, open_tab: OpenTab) -> None:
        tab = await open_tab("".join(f"<button>Button number {n}</button>" for n in range(300)))
        limits = (await tab.browser.capabilities()).limits
        last = ref_of((await tab.snapshot(max_characters=limits.snapshot_characters)).text, "button", "number 250")
        cut = await tab.snapshot(max_characters=2000)
        assert last not in refs(cut.text)
        with pytest.raises(StaleRef):
            await tab.act(Click(ref=last))

    @pytest.mark.parametrize("size", [0, -1, 10**12])
    async def test_impossible_sizes(self, open_tab: OpenTab, size: int) -> None:
        with pytest.raises((InvalidArgument, LimitExceeded)):
            await (await open_tab("x")).snapshot(max_characters=size)

    async def test_the_smallest(self, open_tab: OpenTab) -> None:
        seen = await (await open_tab("<button>One</button>" * 50)).snapshot(max_characters=1)
        assert seen.truncated
        assert len(seen.text) <= 1

    async def test_a_long_word(self, open_tab: OpenTab) -> None:
        tab = await open_tab(f"<button>{'a' * 1_000_000}</button><button>After</button>", title="t" * 1_000_000)
        seen = await tab.snapshot()
        assert len(seen.text) <= (await tab.browser.capabilities()).limits.snapshot_characters
        assert len(seen.page.title) < 10_000

    @pytest.mark.parametrize("what", HUGE)
    async def test_huge_pages(self, open_browser, open_tab: OpenTab, site: Site, what: str) -> None:
        async with open_browser(action_seconds=3.0) as browser:
            body = f"<button>First</button><div id=more></div><script>{HUGE[what]}</script>"
            tab = await open_tab(body, on=browser)
            try:
                seen = await asyncio.wait_for(tab.snapshot(), 30)
            except PageTimedOut:
                pass
            else:
                assert len(seen.text) <= (await browser.capabilities()).limits.snapshot_characters
            await tab.navigate(site.show(document("<button>Small</button>")))
            assert await tab.ref("button", "Small")

    @pytest.mark.parametrize("mode", ["open", "closed"])
    @pytest.mark.parametrize("trees", [1, 40])
    async def test_huge_shadow_trees(self, open_tab: OpenTab, site: Site, mode: str, trees: int) -> None:
        tab = await open_tab(
            f"<script>for (let n = 0; n < {trees}; n++) document.body.appendChild(document.createElement('div'))"
            f".attachShadow({{mode: '{mode}'}}).innerHTML = '<b>x</b>'.repeat({20_000 // trees})</script>"
        )
        with pytest.raises(PageTimedOut, match="elements"):
            await tab.snapshot()
        await tab.navigate(site.show(document("<button>Small</button>")))
        assert await tab.ref("button", "Small")

    @pytest.mark.parametrize(("frames", "elements"), [(1, 20_000), (40, 500)])
    async def test_huge_frames_are_left_out(self, open_tab: OpenTab, site: Site, frames: int, elements: int) -> None:
        huge = site.show(document("<b>x</b>" * elements + "<button>Inner</button>"), host="other.test")
        tab = await open_tab(f"<button>Stays</button>{f'<iframe src={huge}></iframe>' * frames}")
        limits = (await tab.browser.capabilities()).limits
        text = (await tab.snapshot(max_characters=limits.snapshot_characters)).text
        assert ref_of(text, "button", "Stays")
        assert "too large" in text
        assert text.count("Inner") in (range(1) if frames == 1 else range(20, 30))

    async def test_a_part_that_has_become_huge(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button onclick='it.innerHTML += `<b>x</b>`.repeat(20000)'>More</button>"
            "<div role=region aria-label=Part id=it>words</div>"
        )
        part = await tab.ref("region", "Part")
        assert "words" in (await tab.snapshot(ref=part)).text
        text = await tab.text()
        await tab.act(Click(ref=ref_of(text, "button", "More")))
        with pytest.raises(PageTimedOut, match="elements"):
            await tab.snapshot(ref=ref_of(text, "region", "Part"))
