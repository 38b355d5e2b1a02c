"""Controls that pages make themselves: labels in place of boxes, suggestions, menus, modal dialogs, sliders."""

import asyncio
import re

import pytest

from tests.conformance.browsing import document, eventually, ref_of, refs
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import ActionFailed, PageTimedOut
from workstation.interface import Click, Fill, Hover, Press

pytestmark = pytest.mark.asyncio(loop_scope="session")

STYLES = {
    "plain": "",
    "without appearance": "input { appearance: none; width: 20px; height: 20px; border: 2px solid }",
    "transparent": "input { position: absolute; opacity: 0; width: 1px; height: 1px }",
    "clipped": "input { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden }",
    "not at all": "input { display: none }",
    "invisible": "input { visibility: hidden; position: absolute }",
    "under its label": "div { position: relative } label { position: absolute; inset: 0; background: #fff }",
}
"""How pages hide a box behind its label."""


@pytest.mark.parametrize("kind", ["radio", "checkbox"])
@pytest.mark.parametrize("style", STYLES)
async def test_boxes_with_a_label_beside_them(open_tab: OpenTab, style: str, kind: str) -> None:
    boxes = "".join(
        f"<div><input type={kind} name=size id={name} onchange=\"say('chosen {name}')\">"
        f"<label for={name}>{name}</label></div>"
        for name in ("Small", "Large")
    )
    tab = await open_tab(f"<style>{STYLES[style]}</style>{boxes}")
    await tab.click(kind, "Large")
    await tab.shows("chosen Large")
    line = next(line for line in (await tab.text()).splitlines() if f'{kind} "Large"' in line)
    assert "checked" in line


async def test_a_label_in_place_of_its_box_is_the_box_for_a_snapshot_only(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<style>input { display: none }</style><form><label id=it><input type=checkbox checked onchange=\"say('now ' +"
        " this.checked)\"><a href='/terms'>The terms, in many more words than all the rest</a> I accept</label>"
        "<label><input type=radio disabled>Off</label></form><div><template shadowrootmode=open>"
        "<style>input { display: none }</style>"
        "<label><input type=checkbox onchange=\"say('in the tree')\">Inner</label>"
        "</template></div>"
        "<button onclick='say(it.cloneNode().outerHTML)'>Look</button>"
    )
    lines = (await tab.text()).splitlines()
    box, off = (next(line for line in lines if role in line) for role in ("checkbox", "radio"))
    assert "[checked]" in box
    assert "[disabled]" in off
    await tab.click("checkbox")  # and not the link in it
    await tab.shows("now false")
    with pytest.raises(ActionFailed, match="disabled"):
        await tab.act(Click(ref=await tab.ref("radio", "Off")), timeout=2)
    await tab.click("checkbox", "Inner")
    await tab.shows("in the tree")
    await tab.click("button", "Look")
    await tab.shows('<label id="it"></label>')


@pytest.mark.parametrize("how", ["late", "cancelled"])
async def test_a_label_is_one_again_after_a_snapshot_that_was_given_up(
    open_browser, open_tab: OpenTab, how: str
) -> None:
    """The page hears of the snapshot from what it changes, and answers nobody for a while."""
    async with open_browser(action_seconds=2.0 if how == "late" else 15.0) as browser:
        script = """
            const arm = () => new MutationObserver((_, observer) => {
                observer.disconnect();
                const end = Date.now() + 5000;
                while (Date.now() < end) {}
                box.checked = true;
                setTimeout(() => say(`it is ${it.outerHTML.replaceAll('"', '')}`), 500);
            }).observe(it, {attributes: true});
        """
        tab = await open_tab(
            "<style>label input { display: none }</style><label id=it><input type=checkbox id=box>Box</label>"
            f"<button onclick='arm()'>Arm</button><script>{script}</script>",
            on=browser,
        )
        await tab.click("button", "Arm")
        with pytest.raises((PageTimedOut, TimeoutError)):
            await asyncio.wait_for(tab.snapshot(), 60 if how == "late" else 2)
        await browser.wait_for(tab.page_id, text="it is <label id=it><input", timeout=60)
        line = next(line for line in (await tab.text()).splitlines() if "checkbox" in line)
        assert "[checked]" in line


async def test_a_box_under_its_label_is_not_chosen_through_what_covers_both(open_tab: OpenTab) -> None:
    tab = await open_tab(
        f"<style>{STYLES['under its label']} aside {{ position: fixed; inset: 0; background: #ccc }}</style>"
        "<div><input type=checkbox id=a onchange=\"say('taken')\"><label for=a>Agree</label></div><aside>A banner</aside>"
    )
    with pytest.raises(ActionFailed, match="cover"):
        await tab.act(Click(ref=await tab.ref("checkbox", "Agree")), timeout=2)
    assert "taken" not in await tab.text()


async def test_suggestions_that_come_while_typing(open_tab: OpenTab) -> None:
    script = """
        const suggest = (typed) => {
            list.hidden = false;
            list.replaceChildren(...['Berlin', 'Bern', 'Oslo'].filter((name) => name.startsWith(typed)).map((name) => {
                const item = Object.assign(document.createElement('li'), {role: 'option', textContent: name, tabIndex: 0});
                item.onclick = () => { city.value = name; list.hidden = true; say('took ' + name) };
                return item;
            }));
        };
    """
    tab = await open_tab(
        f"<script>{script}</script><input id=city role=combobox aria-label=City aria-controls=list"
        " oninput='setTimeout(() => suggest(this.value), 100)'><ul id=list role=listbox hidden></ul>"
    )
    await tab.fill("combobox", "City", "Ber")
    await tab.shows("Bern")
    assert "Oslo" not in await tab.text()
    await tab.click("option", "Bern")
    await tab.shows("took Bern")


async def test_a_field_with_suggestions_of_the_browser(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<input list=cities aria-label=City onchange=\"say('holds ' + this.value + '.')\">"
        "<datalist id=cities><option value=Berlin><option value=Bern></datalist>"
    )
    await tab.fill("(?:combobox|textbox)", "City", "Berlin")
    await tab.act(Press(key="Tab"))
    await tab.shows("holds Berlin.")


async def test_a_field_that_resists_being_cleared(open_tab: OpenTab) -> None:
    tab = await open_tab("<input aria-label=Field value=old oninput=\"if (!this.value) this.value = 'old'\">")
    await tab.fill("textbox", "Field", "new")
    line = next(line for line in (await tab.text()).splitlines() if "Field" in line)
    assert "new" in line
    assert "old" not in line


async def test_a_menu_in_a_menu(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<style>ul ul { display: none } li:hover > ul, li:focus-within > ul { display: block }</style>"
        "<ul role=menubar><li role=none><a role=menuitem tabindex=0 aria-haspopup=true>File</a><ul role=menu>"
        "<li role=none><a role=menuitem tabindex=0 aria-haspopup=true>Export</a><ul role=menu>"
        "<li role=none><a role=menuitem tabindex=0 onclick=\"say('as a sheet')\">Sheet</a></ul></ul></ul>"
    )
    assert "Export" not in await tab.text()
    await tab.act(Hover(ref=await tab.ref("menuitem", "File")))
    await tab.act(Hover(ref=await tab.ref("menuitem", "Export")))
    await tab.click("menuitem", "Sheet")
    await tab.shows("as a sheet")


async def test_a_modal_dialog(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<button onclick='ask.showModal()'>Delete</button><p>Behind it.</p>"
        "<dialog id=ask aria-label=Sure><button onclick=\"ask.close(); say('deleted')\">Yes</button></dialog>"
    )
    before = await tab.text()
    await tab.act(Click(ref=ref_of(before, "button", "Delete")))
    during = await tab.text()
    assert ref_of(during, "button", "Yes")
    await tab.act(Click(ref=ref_of(during, "button", "Yes")))
    await tab.shows("deleted")
    assert "Behind it." in await tab.text()


async def test_what_lies_behind_a_modal_dialog_is_not_clicked(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<button onclick='ask.showModal()'>Ask</button><button onclick=\"say('taken')\">Behind</button>"
        "<dialog id=ask><button>Yes</button></dialog>"
    )
    text = await tab.text()
    await tab.act(Click(ref=ref_of(text, "button", "Ask")))
    with pytest.raises(ActionFailed):
        await tab.act(Click(ref=ref_of(text, "button", "Behind")), timeout=2)
    assert "taken" not in await tab.text()


async def test_what_folds_out(open_tab: OpenTab) -> None:
    tab = await open_tab("<details><summary>More</summary><p>Folded words.</p></details>")
    assert "Folded words." not in await tab.text()
    line = next(line for line in (await tab.text()).splitlines() if "More" in line)
    await tab.act(Click(ref=refs(line)[0]))
    await tab.shows("Folded words.")


async def test_values_of_sliders_boxes_and_lists(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<input type=range aria-label=Volume min=0 max=10 value=3><input type=radio aria-label=On checked>"
        "<input type=radio aria-label=Off><select aria-label=Size><option>S<option selected>M<option>L</select>"
    )
    await tab.act(Press(key="ArrowRight", ref=await tab.ref("slider", "Volume")))
    lines = {line.split('"')[1]: line for line in (await tab.text()).splitlines() if '"' in line}
    assert "4" in lines["Volume"]
    assert "checked" in lines["On"]
    assert "checked" not in lines["Off"]
    assert re.search(r"S\b.*M \(selected\).*L\b", lines["Size"].partition(":")[2]), "all that can be chosen"


async def test_what_is_not_told_to_be_clickable(open_tab: OpenTab) -> None:
    """Only a script knows it, or a box that is not there to be seen: the part in which it stands gives everything a ref."""
    tab = await open_tab(
        "<main aria-label=Core><div><b>Words</b><div id=it>Only a script knows</div></div>"
        "<div><b>Terms</b><label><input type=checkbox style='display:none' onchange=\"say('agreed ' + this.checked)\">"
        "Agree</label></div>"
        "</main><script>it.addEventListener('click', () => say('it was clicked'))</script>"
    )
    for words, said in (("Only a script knows", "it was clicked"), ("Agree", "agreed true")):
        part = (await tab.snapshot(ref=await tab.ref("main", "Core"))).text
        line = next(line for line in part.splitlines() if words in line)
        await tab.act(Click(ref=refs(line)[0]))
        await tab.shows(said)


async def test_a_script_that_fails_when_it_is_clicked(open_tab: OpenTab) -> None:
    tab = await open_tab("<button onclick=\"throw new Error('broken words')\">Break</button>")
    await tab.click("button", "Break")

    async def told() -> bool:
        return any(
            one.level == "error" and "broken words" in one.text for one in (await tab.browser.log(tab.page_id)).console
        )

    await eventually(told)


async def test_a_menu_that_closes_when_the_pointer_leaves(open_tab: OpenTab, site: Site) -> None:
    goal = site.show(document("chosen", title="Chosen"))
    tab = await open_tab(
        "<style>#menu { display: none } nav:hover #menu { display: block }</style>"
        f"<nav style='width:200px'><button>Menu</button><div id=menu><a href='{goal}'>Choice</a></div></nav>"
        "<input aria-label=Field>"
    )
    await tab.act(Hover(ref=await tab.ref("button", "Menu")))
    assert ref_of(await tab.text(), "link", "Choice")
    await tab.act(Fill(ref=await tab.ref("textbox", "Field"), text="x"))
    await tab.act(Hover(ref=await tab.ref("button", "Menu")))
    assert (await tab.click("link", "Choice")).page.title == "Chosen"
