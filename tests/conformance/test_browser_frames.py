"""Frames and shadow trees: what stands in them is told and acted on as if it stood in the page itself."""

import asyncio

import pytest

from tests.conformance.browsing import document, ref_of
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site, Sites
from workstation.errors import StaleRef
from workstation.interface import Click, Drag, Fill, Hover, Press, Select

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORM = document(
    "<input aria-label=Name oninput=\"say('name ' + this.value + '.')\">"
    "<input type=checkbox aria-label=Agree onchange=\"say('agreed ' + this.checked)\">"
    "<select aria-label=Size onchange=\"say('size ' + this.value)\"><option>S<option>M</select>"
    "<button onmouseenter=\"say('hovered')\" ondblclick=\"say('twice')\">Pay</button>"
)


@pytest.mark.parametrize("host", ["site.test", "other.test"])
async def test_fields_in_a_frame(open_tab: OpenTab, site: Site, host: str) -> None:
    tab = await open_tab(f"<iframe src='{site.show(FORM, host=host)}'></iframe>")
    text = await tab.text()
    await tab.act(Fill(ref=ref_of(text, "textbox", "Name"), text="Ann"))
    await tab.act(Press(ref=ref_of(text, "textbox", "Name"), key="a"))
    await tab.act(Click(ref=ref_of(text, "checkbox", "Agree")))
    await tab.act(Select(ref=ref_of(text, "combobox", "Size"), values=("M",)))
    await tab.act(Hover(ref=ref_of(text, "button", "Pay")))
    await tab.act(Click(ref=ref_of(text, "button", "Pay"), clicks=2))
    for words in ("name Anna.", "agreed true", "size M", "hovered", "twice"):
        await tab.shows(words)


async def test_a_frame_as_small_as_a_field(open_tab: OpenTab, site: Site) -> None:
    field = "<input aria-label=Code style='width:38px;height:16px;border:0' oninput=\"parent.postMessage(this.value, '*')\">"
    inner = site.show(f"<body style='margin:0'>{field}", host="other.test")
    tab = await open_tab(
        f"<iframe src='{inner}' style='width:40px;height:18px;border:0'></iframe>"
        "<script>onmessage = (event) => say('got ' + event.data)</script>"
    )
    await tab.fill("textbox", "Code", "907")
    await tab.shows("got 907")


async def test_a_frame_out_of_sight_is_scrolled_to(open_tab: OpenTab, site: Site) -> None:
    inner = document("<div style='height:3000px'></div><button onclick=\"say('reached')\">Deep</button>")
    tab = await open_tab(
        f"<div style='height:3000px'></div><iframe src='{site.show(inner, host='other.test')}' height=150></iframe>"
    )
    await tab.click("button", "Deep")
    await tab.shows("reached")


async def test_elements_that_are_called_alike(open_tab: OpenTab, site: Site) -> None:
    field = "<input id=same name=same aria-label=Same oninput=\"say('SAY ' + this.value)\">"
    inner = site.show(document(field.replace("SAY", "inner")), host="other.test")
    tab = await open_tab(field.replace("SAY", "outer") + f"<iframe src='{inner}'></iframe>")
    lines = [line for line in (await tab.text()).splitlines() if "Same" in line]
    assert len(lines) == 2
    await tab.act(Fill(ref=ref_of(lines[1].strip(), "textbox", "Same"), text="words"))
    await tab.shows("inner words")
    assert "outer words" not in await tab.text()


async def test_shadow_trees_of_the_markup_and_what_is_put_into_them(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<div><template shadowrootmode=open><button onclick=\"say('declared was pressed')\">Declared</button>"
        "<slot></slot></template>"
        "<button onclick=\"say('slotted was pressed')\">Slotted</button></div>"
    )
    for name in ("Declared", "Slotted"):
        await tab.click("button", name)
        await tab.shows(f"{name.lower()} was pressed")


async def test_closed_shadow_trees_and_frames_that_scripts_put_into_them(open_tab: OpenTab, site: Site) -> None:
    """The page's own scripts find such a tree closed all the same."""
    inner = site.show(document("<button onclick=\"say('deepest was pressed')\">Deepest</button>"), host="other.test")
    script = f"""
        const closed = (host) => host.attachShadow({{mode: 'closed'}}), tree = closed(one);
        tree.innerHTML = `<button onclick="say('outer was pressed')">Outer</button><input aria-label=Field><p></p>`;
        const further = closed(tree.querySelector('p'));
        further.innerHTML = `<button onclick="say('further was pressed')">Further</button>`;
        further.append(Object.assign(document.createElement('iframe'), {{src: '{inner}'}}));
        onload = () => say(`the page finds ${{one.shadowRoot}}, ${{tree.mode}}, ${{tree.host.id}}`);
    """
    tab = await open_tab(f"<div id=one></div><script>{script}</script>")
    await tab.shows("the page finds null, closed, one")
    await tab.fill("textbox", "Field", "some words")
    for name in ("Outer", "Further", "Deepest"):
        await tab.click("button", name)
        await tab.shows(f"{name.lower()} was pressed")
    assert "some words" in await tab.text()


@pytest.mark.parametrize("host", ["site.test", "other.test"])
async def test_a_frame_that_a_script_puts_into_a_shadow_tree(open_tab: OpenTab, site: Site, host: str) -> None:
    inner = site.show(document("<button onclick=\"say('was paid')\">Pay</button>"), host=host)
    tab = await open_tab(
        "<div id=host></div><script>const tree = host.attachShadow({mode: 'open'});"
        f"tree.append(Object.assign(document.createElement('iframe'), {{src: '{inner}'}}))</script>"
    )
    await tab.click("button", "Pay")
    await tab.shows("was paid")


async def test_dragging_in_a_frame(open_tab: OpenTab, site: Site) -> None:
    inner = document(
        "<div draggable=true role=button aria-label=Card>Card</div>"
        "<div role=region aria-label=Bin style='height:80px' ondragover='event.preventDefault()'"
        " ondrop=\"event.preventDefault(); say('dropped')\">Bin</div>"
    )
    tab = await open_tab(f"<iframe src='{site.show(inner, host='other.test')}' height=300></iframe>")
    text = await tab.text()
    await tab.act(Drag(ref=ref_of(text, "button", "Card"), to_ref=ref_of(text, "region", "Bin")))
    await tab.shows("dropped")


MISSING = {
    "have not loaded": lambda site, sites: sites.bad["silent"],
    "have not": lambda site, sites: "file:///etc/passwd",
    "no document of HTML": lambda site, sites: site.show(
        "<svg xmlns='http://www.w3.org/2000/svg'><text y='20'>words</text></svg>", content_type="image/svg+xml"
    ),
}


@pytest.mark.parametrize("why", MISSING)
async def test_what_of_a_page_is_missing_is_said_and_the_rest_is_told(
    open_tab: OpenTab, site: Site, sites: Sites, why: str
) -> None:
    well = site.show(document("<button onclick=\"say('well was pressed')\">Well</button>"), host="third.test")
    tab = await open_tab(
        "<input aria-label=Name onkeyup=\"say('typed ' + this.value)\"><button onclick='add()'>Add</button><script>"
        "const put = (src) => document.body.append(Object.assign(document.createElement('iframe'), {src}));"
        f"const add = () => {{ put('{MISSING[why](site, sites)}'); put('{well}') }}</script>"
    )
    text = await tab.text()
    await tab.act(Click(ref=ref_of(text, "button", "Add")))
    await tab.shows("Well")
    await asyncio.sleep(1)
    seen = await tab.snapshot()
    assert why in seen.text
    assert "left out" in seen.text
    await tab.act(Press(key="a", ref=ref_of(seen.text, "textbox", "Name")))
    await tab.shows("typed a")
    await tab.click("button", "Well")
    await tab.shows("well was pressed")
    await tab.act(Press(key="b", ref=await tab.ref("textbox", "Name")))
    assert "typed ba" in await tab.text()


@pytest.mark.parametrize("gone", ["silent", "other.test"])
async def test_frames_that_come_and_go(open_tab: OpenTab, site: Site, sites: Sites, gone: str) -> None:
    url = sites.bad["silent"] if gone == "silent" else site.show(FORM, host=gone)
    tab = await open_tab(
        "<button>Stays</button><input aria-label=Name><script>setInterval(() => {"
        f"const frame = Object.assign(document.createElement('iframe'), {{src: '{url}'}});"
        "document.body.append(frame); setTimeout(() => frame.remove(), Math.random() * 300) }, 30)</script>"
    )
    for _ in range(4):
        text = await tab.text()
        assert ref_of(text, "button", "Stays")
        await tab.act(Press(key="a", ref=ref_of(text, "textbox", "Name")))
    await tab.shows("Stays")


async def test_a_frame_that_comes_while_the_page_is_looked_at_and_does_not_load(
    open_tab: OpenTab, sites: Sites
) -> None:
    """The page hears of the look from what it changes: a label stands for its hidden box."""
    tab = await open_tab(
        "<style>label input { display: none }</style><label id=it><input type=checkbox>Box</label><button>Stays</button>"
        "<script>new MutationObserver((_, observer) => { observer.disconnect(); document.body.append("
        f"Object.assign(document.createElement('iframe'), {{src: '{sites.bad['silent']}'}}))"
        "}).observe(it, {attributes: true})</script>"
    )
    text = await tab.text()
    assert ref_of(text, "button", "Stays")
    assert "left out" in text


async def test_a_frame_that_goes_elsewhere_takes_its_refs_along(open_tab: OpenTab, site: Site) -> None:
    second = site.show(document("<button onclick=\"say('second pressed')\">Second</button>"), host="third.test")
    first = site.show(document(f"<button onclick=\"location = '{second}'\">First</button>"), host="other.test")
    tab = await open_tab(f"<p>around it</p><iframe src='{first}'></iframe>")
    ref = await tab.ref("button", "First")
    await tab.act(Click(ref=ref))
    await tab.shows("Second")
    with pytest.raises(StaleRef):
        await tab.act(Click(ref=ref))
    await tab.click("button", "Second")
    await tab.shows("second pressed")
