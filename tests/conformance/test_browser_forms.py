"""Filling in forms: fields of every kind, lists to choose from, and sending what was filled in."""

import pytest

from tests.conformance.browsing import document, ref_of
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import ActionFailed, InvalidArgument, LimitExceeded
from workstation.interface import Fill, Select

pytestmark = pytest.mark.asyncio(loop_scope="session")


class TestFill:
    async def test_it_replaces_what_was_there(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<input aria-label=Field value=before oninput=\"say('holds ' + this.value + '.')\">")
        await tab.fill("textbox", "Field", "after")
        await tab.shows("holds after.")
        assert "before" not in await tab.text()

    async def test_it_clears(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<input aria-label=Field value=before onchange='' oninput=\"say('holds [' + this.value + ']')\">"
        )
        await tab.fill("textbox", "Field", "")
        await tab.shows("holds []")

    async def test_it_submits(self, open_tab: OpenTab, site: Site) -> None:
        goal = site.show(document("sent", title="Sent"))
        tab = await open_tab(f"<form action='{goal}'><input name=q aria-label=Query></form>")
        page = (await tab.fill("textbox", "Query", "two words & more", submit=True)).page
        assert page.title == "Sent"
        assert page.url == f"{goal}?q=two+words+%26+more"

    @pytest.mark.parametrize(
        "text", ["line one\nline two", "tab\there", "日本語 🎉", "a" * 10_000, "</textarea><script>", "'\"\\"]
    )
    async def test_text_of_every_kind(self, open_tab: OpenTab, site: Site, text: str) -> None:
        goal = site.show(document("sent"))
        tab = await open_tab(
            f"<form method=post enctype=text/plain action='{goal}'><textarea name=t aria-label=Area></textarea>"
            f"<button>Send</button></form>"
        )
        await tab.fill("textbox", "Area", text)
        await tab.click("button", "Send")
        await tab.shows("sent")
        assert site.requests(goal)[0].body.decode().replace("\r\n", "\n") == f"t={text}\n"

    @pytest.mark.parametrize(
        ("kind", "value", "role"),
        [
            ("date", "2026-02-28", ""),
            ("time", "13:45", ""),
            ("datetime-local", "2026-02-28T13:45", ""),
            ("month", "2026-02", ""),
            ("week", "2026-W09", ""),
            ("number", "42", "spinbutton"),
            ("email", "ann@example.com", "textbox"),
            ("search", "words", "searchbox"),
            ("tel", "+49 30 1", "textbox"),
            ("url", "http://example.com/", "textbox"),
            ("color", "#ff0000", ""),
            ("range", "7", "slider"),
        ],
    )
    async def test_fields_of_every_kind(self, open_tab: OpenTab, kind: str, value: str, role: str) -> None:
        limits = " min=0 max=10" if kind == "range" else ""
        tab = await open_tab(
            f"<input type={kind}{limits} aria-label=Field oninput=\"say('holds ' + this.value + '.')\">"
        )
        await tab.fill(role or r"\w+", "Field", value)
        await tab.shows(f"holds {value}.")

    @pytest.mark.parametrize(("kind", "value"), [("date", "tomorrow"), ("number", "many"), ("color", "reddish")])
    async def test_values_that_a_field_does_not_take(self, open_tab: OpenTab, kind: str, value: str) -> None:
        tab = await open_tab(f"<input type={kind} aria-label=Field>")
        with pytest.raises(ActionFailed):
            await tab.fill(r"\w+", "Field", value)

    async def test_editable_text(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<div contenteditable role=textbox aria-label=Editor><b>old</b></div>")
        await tab.fill("textbox", "Editor", "new words")
        text = (await tab.browser.read_text(tab.page_id)).text
        assert "new words" in text
        assert "old" not in text

    async def test_a_field_that_changes_what_is_typed(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<input aria-label=Field oninput='this.value = this.value.toUpperCase()'>")
        await tab.fill("textbox", "Field", "words")
        assert "WORDS" in await tab.text()

    async def test_more_than_may_be_typed(self, open_browser, open_tab: OpenTab) -> None:
        async with open_browser(text_bytes=100) as browser:
            tab = await open_tab("<textarea aria-label=Field></textarea>", on=browser)
            await tab.fill("textbox", "Field", "a" * 100)
            with pytest.raises(LimitExceeded) as caught:
                await tab.fill("textbox", "Field", "ä" * 51)
            assert (caught.value.limit, caught.value.allowed) == ("text_bytes", 100)

    async def test_what_is_no_unicode(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<input aria-label=Field>")
        with pytest.raises((InvalidArgument, ActionFailed)):
            await tab.fill("textbox", "Field", "a\ud800b")


OPTIONS = "<option value=s>Small<option value=m>Medium<option value=l>Large<option value=x disabled>Huge"


class TestSelect:
    async def chosen(self, tab, *values: str) -> None:
        await tab.act(Select(ref=await tab.ref(r"(?:combobox|listbox)", "Size"), values=values))

    @pytest.mark.parametrize("value", ["m", "Medium"])
    async def test_by_value_or_label(self, open_tab: OpenTab, value: str) -> None:
        tab = await open_tab(f"<select aria-label=Size onchange=\"say('chosen ' + this.value)\">{OPTIONS}</select>")
        await self.chosen(tab, value)
        await tab.shows("chosen m")

    async def test_several_and_none(self, open_tab: OpenTab) -> None:
        script = "say([...this.selectedOptions].map((one) => one.value).join('+') + '.')"
        tab = await open_tab(f'<select multiple aria-label=Size onchange="{script}">{OPTIONS}</select>')
        await self.chosen(tab, "s", "Large")
        await tab.shows("s+l.")
        await self.chosen(tab, "m")
        await tab.shows("m.")
        await self.chosen(tab)
        await tab.shows(" .")

    async def test_several_where_one_is_possible(self, open_tab: OpenTab) -> None:
        tab = await open_tab(f"<select aria-label=Size>{OPTIONS}</select>")
        with pytest.raises((ActionFailed, InvalidArgument)):
            await self.chosen(tab, "s", "m")

    async def test_what_is_not_there_names_what_is(self, open_tab: OpenTab) -> None:
        tab = await open_tab(f"<select aria-label=Size>{OPTIONS}</select>")
        with pytest.raises(ActionFailed, match=r"(?s)Small.*Medium"):
            await self.chosen(tab, "Gigantic")

    async def test_what_is_disabled(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            f"<select aria-label=Size>{OPTIONS}</select><select disabled aria-label=Sizes>{OPTIONS}</select>"
        )
        with pytest.raises(ActionFailed):
            await self.chosen(tab, "Huge")
        with pytest.raises(ActionFailed):
            await tab.act(Select(ref=await tab.ref("combobox", "Sizes"), values=("s",)))

    async def test_thousands_of_options(self, open_tab: OpenTab) -> None:
        options = "".join(f"<option>Option {n}</option>" for n in range(5000))
        tab = await open_tab(f"<select aria-label=Size onchange=\"say('chosen ' + this.value)\">{options}</select>")
        await self.chosen(tab, "Option 4999")
        await tab.shows("chosen Option 4999")
        with pytest.raises(ActionFailed) as caught:
            await self.chosen(tab, "Option 5000")
        assert len(str(caught.value)) < 2000

    async def test_lists_made_of_other_elements(self, open_tab: OpenTab) -> None:
        tab = await open_tab(
            "<button aria-haspopup=listbox onclick='list.hidden = false'>Choose</button>"
            "<ul id=list role=listbox hidden><li role=option tabindex=0 onclick=\"say('took blue')\">Blue</ul>"
        )
        await tab.click("button", "Choose")
        await tab.click("option", "Blue")
        await tab.shows("took blue")


class TestSending:
    async def test_a_whole_form(self, open_tab: OpenTab, site: Site) -> None:
        goal = site.show(document("thank you", title="Thanks"))
        tab = await open_tab(
            f"<form method=post action='{goal}'><input name=who aria-label=Who>"
            f"<input type=checkbox name=agree aria-label=Agree>"
            f"<select name=size aria-label=Size>{OPTIONS}</select><button>Send</button></form>"
        )
        text = await tab.text()
        await tab.act(Fill(ref=ref_of(text, "textbox", "Who"), text="Ann"))
        await tab.click("checkbox", "Agree")
        await tab.act(Select(ref=await tab.ref("combobox", "Size"), values=("l",)))
        page = (await tab.click("button", "Send")).page
        assert (page.title, page.status) == ("Thanks", 200)
        assert [(one.method, one.body) for one in site.requests(goal)] == [("POST", b"who=Ann&agree=on&size=l")]

    async def test_a_form_that_is_not_valid_is_not_sent(self, open_tab: OpenTab, site: Site) -> None:
        goal = site.show(document("sent"))
        tab = await open_tab(f"<form action='{goal}'><input required aria-label=Must><button>Send</button></form>")
        await tab.click("button", "Send")
        assert not site.requests(goal)

    async def test_a_form_is_sent_once(self, open_tab: OpenTab, site: Site) -> None:
        goal = site.show(document("sent"))
        tab = await open_tab(
            f"<form method=post action='{goal}'><input name=a aria-label=Field><button>Send</button></form>"
        )
        await tab.fill("textbox", "Field", "x", submit=True)
        await tab.shows("sent")
        assert len(site.requests(goal)) == 1
