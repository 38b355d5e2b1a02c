"""Acting on elements: each action, and elements that do not take it."""

import asyncio
import contextlib

import pytest

from tests.conformance.browsing import document, ref_of
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import ActionFailed, InvalidArgument, LimitExceeded, NavigationBlocked, StaleRef
from workstation.interface import Browser, Click, Drag, Fill, Hover, Press, Scroll, Select

pytestmark = pytest.mark.asyncio(loop_scope="session")


class TestClick:
    async def test_a_button(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button onclick=\"document.title = 'Pressed'\">Press</button>")
        result = await tab.click("button", "Press")
        assert (result.opened, result.download_ids, result.dialog) == ((), (), None)
        assert result.page.title == "Pressed"

    @pytest.mark.parametrize(
        ("event", "how"),
        [
            ("ondblclick", {"clicks": 2}),
            ("oncontextmenu", {"button": "right"}),
            ("onauxclick", {"button": "middle"}),
            ("onclick", {"button": "left", "clicks": 1}),
        ],
    )
    async def test_other_buttons_and_twice(self, open_tab: OpenTab, event: str, how: dict[str, object]) -> None:
        tab = await open_tab(f"<button {event}=\"say('{event} came')\">Press</button>")
        await tab.click("button", "Press", **how)
        await tab.shows(f"{event} came")

    async def test_a_link_leads_to_its_page(self, open_tab: OpenTab, site: Site) -> None:
        url = site.show(document("there", title="There"))
        tab = await open_tab(f"<a href='{url}'>Go</a>")
        page = (await tab.click("link", "Go")).page
        assert (page.url, page.title) == (url, "There")

    async def test_a_link_that_the_rules_forbid(self, open_tab: OpenTab, site: Site) -> None:
        tab = await open_tab(f"<a href='http://forbidden.test:{site.port}/'>Go</a><p>here</p>")
        with pytest.raises(NavigationBlocked):
            await tab.click("link", "Go")
        await tab.navigate(site.show(document("after")))
        assert "after" in await tab.text()

    async def test_what_is_out_of_sight_is_scrolled_to(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<div style='height:5000px'></div><button onclick=\"say('far away')\">Far</button>")
        await tab.click("button", "Far")
        await tab.shows("far away")

    async def test_what_moves_is_waited_for(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<style>@keyframes go { from { margin-left: 0 } to { margin-left: 400px } }</style>"
            "<button style='animation: go 0.5s' onclick=\"say('caught')\">Run</button>"
        )
        await tab.click("button", "Run")
        await tab.shows("caught")

    async def test_what_is_disabled_for_a_moment(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button id=it disabled onclick=\"say('enabled')\">Soon</button>"
            "<script>setTimeout(() => it.disabled = false, 300)</script>"
        )
        await tab.click("button", "Soon")
        await tab.shows("enabled")

    async def test_checkboxes_and_radios(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<input type=checkbox aria-label=Agree onchange=\"say('agree ' + this.checked)\">"
            "<input type=radio name=r aria-label=Small checked>"
            "<input type=radio name=r aria-label=Large onchange=\"say('large ' + this.checked)\">"
        )
        await tab.click("checkbox", "Agree")
        await tab.click("radio", "Large")
        await tab.shows("agree true large true")
        await tab.click("checkbox", "Agree")
        await tab.shows("agree false")

    async def test_a_label_stands_for_its_hidden_box(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<style>input { position: absolute; opacity: 0; width: 1px; height: 1px }</style>"
            "<label><input type=checkbox onchange=\"say('now ' + this.checked)\"><span>Fancy box</span></label>"
        )
        await tab.click("checkbox", "Fancy box")
        await tab.shows("now true")


class TestNotTaken:
    """Elements that refuse, said soon and in words that tell them apart."""

    async def check(self, tab, action, pattern: str) -> None:
        with pytest.raises(ActionFailed, match=pattern) as caught:
            await asyncio.wait_for(tab.act(action, timeout=2), 15)
        assert caught.value.page_id == tab.page_id
        assert "Call log" not in str(caught.value)
        assert len(str(caught.value)) < 1000
        assert "taken" not in (await tab.text())

    async def test_disabled(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button disabled onclick=\"say('taken')\">Off</button><input aria-label=Field disabled>")
        await self.check(tab, Click(ref=await tab.ref("button", "Off")), "(?i)disabled|not enabled")
        await self.check(tab, Fill(ref=await tab.ref("textbox", "Field"), text="x"), "(?i)disabled|not enabled")

    async def test_read_only(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<input aria-label=Field readonly value=old>")
        await self.check(tab, Fill(ref=await tab.ref("textbox", "Field"), text="x"), "(?i)read.?only|edit")

    async def test_hidden_meanwhile(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button onclick='it.hidden = true'>Hide</button><button id=it onclick=\"say('taken')\">It</button>"
        )
        text = await tab.text()
        await tab.act(Click(ref=ref_of(text, "button", "Hide")))
        await self.check(tab, Click(ref=ref_of(text, "button", "It")), "(?i)hidden|visible")

    async def test_covered(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button onclick=\"say('taken')\">Below</button>"
            "<div style='position:fixed;inset:0;background:#ccc'>A banner</div>"
        )
        await self.check(tab, Click(ref=await tab.ref("button", "Below")), "(?i)cover|over the|in the way")

    async def test_removed(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button onclick='it.remove()'>Remove</button><button id=it onclick=\"say('taken')\">It</button>"
        )
        text = await tab.text()
        await tab.act(Click(ref=ref_of(text, "button", "Remove")))
        with pytest.raises(StaleRef):
            await tab.act(Click(ref=ref_of(text, "button", "It")))

    async def test_replaced_by_another_of_that_kind(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button onclick=\"it.outerHTML = `<button onclick=&quot;say('taken')&quot;>Delete all</button>`\">Swap</button>"
            "<button id=it>Save</button>"
        )
        text = await tab.text()
        await tab.act(Click(ref=ref_of(text, "button", "Swap")))
        with pytest.raises(StaleRef):
            await tab.act(Click(ref=ref_of(text, "button", "Save")))
        assert "taken" not in await tab.text()

    async def test_another_kind(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button>Button</button><input type=checkbox aria-label=Box><h1>Heading</h1>")
        await self.check(tab, Fill(ref=await tab.ref("button", "Button"), text="x"), "(?i)field|input|editable|fill")
        await self.check(tab, Fill(ref=await tab.ref("checkbox", "Box"), text="x"), "(?i)field|checkbox|input|fill")
        await self.check(tab, Select(ref=await tab.ref("button", "Button"), values=("x",)), "(?i)list|select")

    async def test_a_frame_that_went_away(self, open_tab: OpenTab, site: Site) -> None:
        inner = site.show(document("<button>Inner</button>"), host="other.test")
        tab = await open_tab(
            f"<iframe id=frame src='{inner}'></iframe><button onclick='frame.remove()'>Remove</button>"
        )
        text = await tab.text()
        await tab.act(Click(ref=ref_of(text, "button", "Remove")))
        with pytest.raises((StaleRef, ActionFailed)):
            await tab.act(Click(ref=ref_of(text, "button", "Inner")))

    @pytest.mark.parametrize(
        "how", [{"button": "fourth"}, {"button": ""}, {"clicks": 0}, {"clicks": -1}, {"clicks": 10**6}]
    )
    async def test_impossible_clicks(self, open_tab: OpenTab, how: dict[str, object]) -> None:
        tab = await open_tab("<button onclick=\"say('taken')\">It</button>")
        with pytest.raises((InvalidArgument, LimitExceeded)):
            await tab.click("button", "It", **how)
        assert "taken" not in await tab.text()

    @pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), -float("inf")])
    async def test_impossible_times(self, open_tab: OpenTab, timeout: float) -> None:
        tab = await open_tab("<button onclick=\"say('taken')\">It</button>")
        ref = await tab.ref("button", "It")
        with pytest.raises((InvalidArgument, LimitExceeded)):
            await tab.act(Click(ref=ref), timeout=timeout)
        assert "taken" not in await tab.text()


class TestPointer:
    async def test_hovering_opens_a_menu(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<style>nav ul { display: none } nav:hover ul { display: block }</style>"
            "<nav><button>Menu</button><ul><li><button onclick=\"say('chosen')\">Choice</button></ul></nav>"
        )
        assert "Choice" not in await tab.text()
        await tab.act(Hover(ref=await tab.ref("button", "Menu")))
        await tab.click("button", "Choice")
        await tab.shows("chosen")

    async def test_dragging_by_html(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<div id=card draggable=true role=button aria-label=Card>Card</div>"
            "<div role=region aria-label=Bin style='height:200px;background:#eee' ondragover='event.preventDefault()'"
            " ondrop=\"event.preventDefault(); say('dropped')\">Bin</div>"
        )
        text = await tab.text()
        await tab.act(Drag(ref=ref_of(text, "button", "Card"), to_ref=ref_of(text, "region", "Bin")))
        await tab.shows("dropped")

    async def test_dragging_by_pointer(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button id=knob onpointerdown=\"window.held = true\">Knob</button><div style='height:100px'></div>"
            "<button onpointerup=\"say(window.held ? 'let go over it' : 'never held')\">Goal</button>"
        )
        text = await tab.text()
        await tab.act(Drag(ref=ref_of(text, "button", "Knob"), to_ref=ref_of(text, "button", "Goal")))
        await tab.shows("let go over it")

    async def test_dragging_to_what_is_unknown(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<button onpointerdown=\"say('taken')\">Knob</button>")
        ref = await tab.ref("button", "Knob")
        with pytest.raises(StaleRef) as caught:
            await tab.act(Drag(ref=ref, to_ref="e4711"))
        assert caught.value.ref == "e4711"
        assert "taken" not in await tab.text()

    async def test_scrolling_the_page(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<div style='width:5000px;height:5000px'></div>"
            "<script>onscroll = () => document.title = scrollX + ',' + scrollY</script>"
        )
        await tab.act(Scroll(y=300))
        await self.titled(tab, "0,300")
        await tab.act(Scroll(x=100, y=-200))
        await self.titled(tab, "100,100")

    async def titled(self, tab, title: str) -> None:
        async with asyncio.timeout(10):
            while (await tab.browser.pages())[0].title != title:
                await asyncio.sleep(0.05)

    async def test_scrolling_to_an_element(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<div style='height:5000px'></div><button id=low>Low</button>"
            "<script>new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && say('in view'))"
            ".observe(low)</script>"
        )
        await tab.act(Scroll(ref=await tab.ref("button", "Low")))
        await tab.shows("in view")

    @pytest.mark.parametrize("by", [10**12, -(10**12), 2**63])
    async def test_scrolling_absurdly_far(self, open_tab: OpenTab, by: int) -> None:
        tab = await open_tab("x")
        with contextlib.suppress(InvalidArgument, LimitExceeded):
            await tab.act(Scroll(y=by))
        assert "x" in await tab.text()


class TestKeys:
    async def test_keys_and_chords(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<script>const chord = (event) =>"
            "say((event.ctrlKey ? 'ctrl ' : '') + (event.shiftKey ? 'shift ' : '') + event.key)"
            "</script><input aria-label=Field value=abc onkeydown='chord(event)'>"
        )
        ref = await tab.ref("textbox", "Field")
        for key in ("Control+a", "Shift+ArrowLeft", "Escape", "F2"):
            await tab.act(Press(key=key, ref=ref))
        text = await tab.text()
        for shown in ("ctrl a", "shift ArrowLeft", "Escape", "F2"):
            assert shown in text

    async def test_on_what_has_the_focus(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<input aria-label=First autofocus><input aria-label=Second onfocus=\"say('second focused')\">"
        )
        await tab.click("textbox", "First")
        await tab.act(Press(key="Tab"))
        await tab.shows("second focused")
        await tab.act(Press(key="x"))
        assert "x" in await tab.text()

    @pytest.mark.parametrize("key", ["+", "Control++", "-", " ", "a", "A", "Enter", "Space", "PageDown", "F12"])
    async def test_keys_of_every_kind(self, open_tab: OpenTab, key: str) -> None:
        tab = await open_tab("<input aria-label=Field onkeydown=\"say('down')\">")
        await tab.act(Press(key=key, ref=await tab.ref("textbox", "Field")))
        await tab.shows("down")

    @pytest.mark.parametrize("key", ["", "NoSuchKey", "Control+", "Control+NoSuchKey", "a" * 10_000, "ab", "\0"])
    async def test_what_is_no_key(self, open_tab: OpenTab, key: str) -> None:
        tab = await open_tab("<input aria-label=Field>")
        ref = await tab.ref("textbox", "Field")
        with pytest.raises((InvalidArgument, ActionFailed)):
            await tab.act(Press(key=key, ref=ref))

    @pytest.mark.parametrize("key", ["ä", "é", "日", "€"])
    async def test_letters_that_a_keyboard_may_lack_are_typed_or_refused(self, open_tab: OpenTab, key: str) -> None:
        tab = await open_tab("<input aria-label=Field oninput=\"say('holds ' + this.value + '.')\">")
        try:
            await tab.act(Press(key=key, ref=await tab.ref("textbox", "Field")))
        except (InvalidArgument, ActionFailed):
            return
        await tab.shows(f"holds {key}.")

    async def test_enter_submits(self, open_tab: OpenTab, site: Site) -> None:
        goal = site.show(document("sent", title="Sent"))
        tab = await open_tab(f"<form action='{goal}'><input name=q aria-label=Query></form>")
        ref = await tab.ref("textbox", "Query")
        await tab.act(Fill(ref=ref, text="words"))
        page = (await tab.act(Press(key="Enter", ref=ref))).page
        assert (page.title, page.url) == ("Sent", f"{goal}?q=words")


class TestAtOnce:
    async def test_acting_twice_on_one_page_is_done_one_after_the_other(
        self, browser: Browser, open_tab: OpenTab
    ) -> None:
        tab = await open_tab("<input aria-label=One><input aria-label=Two>")
        text = await tab.text()
        one, two = ref_of(text, "textbox", "One"), ref_of(text, "textbox", "Two")
        fills = [
            Fill(ref=ref, text=f"{name} {n}") for n in range(10) for name, ref in (("first", one), ("second", two))
        ]
        await asyncio.gather(*(tab.act(fill) for fill in fills))
        seen = await tab.text()
        assert "first 9" in seen
        assert "second 9" in seen
