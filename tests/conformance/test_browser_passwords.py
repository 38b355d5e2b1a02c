"""What stands in a password field is told by nothing: snapshots, logs, errors, our own log, texts, or the access log."""

import logging

import pytest

from tests.conformance.browsing import document, ref_of
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import ActionFailed, WorkstationError
from workstation.interface import Browser, Click, Fill, Press

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "hunter2-Correct-Horse"
FIELD = "<input type=password aria-label=Password id=it>"


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture):
    """No logger of ours says it, at whatever level."""
    caplog.set_level(logging.DEBUG)
    yield
    assert SECRET not in caplog.text
    assert SECRET not in repr(
        [vars(record) for record in caplog.records if record.name.startswith(("workstation", "empla"))]
    )


async def told(tab) -> str:
    """Everything that a caller is told of a page."""
    browser: Browser = tab.browser
    parts = [await tab.snapshot(), await tab.snapshot(changes=True), await browser.read_text(tab.page_id)]
    parts += [await browser.log(tab.page_id), await browser.pages(), await browser.downloads()]
    return repr(parts)


async def test_typed(open_tab: OpenTab) -> None:
    tab = await open_tab(FIELD)
    result = await tab.fill("textbox", "Password", SECRET)
    assert SECRET not in repr(result) + await told(tab)
    assert "Password" in await tab.text()


async def test_the_site_gets_it(open_tab: OpenTab, site: Site) -> None:
    goal = site.show(document("welcome"))
    tab = await open_tab(f"<form method=post action='{goal}'><input name=p type=password aria-label=Password></form>")
    result = await tab.fill("textbox", "Password", SECRET, submit=True)
    await tab.shows("welcome")
    assert site.requests(goal)[0].body == f"p={SECRET}".encode()
    assert SECRET not in repr(result) + await told(tab)


async def test_put_there_by_the_page(open_tab: OpenTab) -> None:
    tab = await open_tab(FIELD + f"<script>it.value = '{SECRET}'</script>")
    assert SECRET not in await told(tab)
    tab = await open_tab(f"<input type=password aria-label=Password value='{SECRET}'>")
    assert SECRET not in await told(tab)


async def test_that_it_is_filled_is_told(open_tab: OpenTab) -> None:
    tab = await open_tab("<input type=password aria-label=One value=x><input type=password aria-label=Two>")
    lines = (await tab.text()).splitlines()
    one, two = (next(line for line in lines if name in line) for name in ("One", "Two"))
    assert "filled" in one
    assert "filled" not in two


@pytest.mark.parametrize(
    "how", ["placeholder=PIN", "role=button", "role=searchbox placeholder=PIN", "aria-label=Code placeholder=PIN"]
)
async def test_short_ones(open_tab: OpenTab, how: str) -> None:
    tab = await open_tab(f"<input type=password {how} value=907>")
    text = await tab.text()
    assert "907" not in text
    assert "filled" in text


async def test_a_script_that_tells_each_key(open_tab: OpenTab) -> None:
    tab = await open_tab(f'{FIELD}<script>it.oninput = () => console.log("now " + it.value)</script>')
    ref = await tab.ref("textbox", "Password")
    for key in "Zq7xW":
        await tab.act(Press(key=key, ref=ref))
    said = repr(await tab.browser.log(tab.page_id))
    assert "now " in said
    assert "Zq7x" not in said


async def test_in_the_address_of_a_download(open_tab: OpenTab, site: Site) -> None:
    file = site.show("data", content_disposition="attachment; filename=a.txt")
    tab = await open_tab(f"<form action='{file}'><input type=password name=p aria-label=Password></form>")
    result = await tab.fill("textbox", "Password", SECRET, submit=True)
    assert result.download_ids
    assert SECRET not in repr(result) + await told(tab)


async def test_many_of_another_page_uncover_none(open_tab: OpenTab) -> None:
    tab = await open_tab(
        FIELD + "<button onclick=\"document.title = kept; it.value = ''\">Tell</button>"
        "<script>it.oninput = () => { self.kept = it.value }</script>"
    )
    text = await tab.text()
    await tab.act(Fill(ref=ref_of(text, "textbox", "Password"), text=SECRET))
    fields = "".join(f"<input type=password value='value number {n}'>" for n in range(150))
    for n in range(3):
        await (await open_tab(fields.replace("value number", f"value {n} number"))).snapshot()
    result = await tab.act(Click(ref=ref_of(text, "button", "Tell")))
    assert result.page.title == "[hidden]"
    assert SECRET not in await told(tab)


@pytest.mark.parametrize("count", [150, 900, 1500])
async def test_however_many_there_are(open_tab: OpenTab, count: int) -> None:
    script = f"""
        for (let n = 0; n < {count}; n++) {{
            const value = `secret-${{n}}-of-many`, field = Object.assign(document.createElement('input'), {{value}});
            field.type = 'password';
            if (n % 2) field.role = 'button';
            document.body.append(field, `It is ${{value}}.`);
            console.log(value);
        }}
        document.title = `secret-${{{count} - 1}}-of-many`;
    """
    tab = await open_tab(f"<button>Other</button><script>{script}</script>")
    text = await told(tab)
    assert text.count("-of-many") == 0
    assert ref_of((await tab.snapshot(max_characters=5000)).text, "button")
    assert repr(await tab.snapshot(ref=await tab.ref("button"))).count("-of-many") == 0


async def test_short_ones_of_many_that_call_themselves_buttons(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "".join(f"<input type=password role=button aria-label=One value={n}>" for n in range(907, 950))
    )
    text = await tab.text()
    assert not [n for n in range(907, 950) if f" {n}" in text]
    assert text.count("filled") == 43


async def test_a_page_with_too_many_is_left_by_closing_it(open_tab: OpenTab) -> None:
    well = await open_tab("<p>well</p>")
    tab = await open_tab("".join(f"<input type=password value='a value {n}'>" for n in range(1500)))
    assert "close that page" in await tab.text()
    await tab.browser.close_page(tab.page_id)
    assert "well" in await well.text()


@pytest.mark.parametrize("length", [150, 1500, 12_000])
async def test_long_ones(open_tab: OpenTab, length: int) -> None:
    value = "".join(f"{n:03}-long " for n in range(length // 9 + 1))[:length]
    tab = await open_tab(
        FIELD + "<div id=other></div><button onclick=\"const words = 'It is ' + it.value; document.title = words;"
        "other.textContent = words; other.ariaLabel = words; other.role = 'region'; console.log(words);"
        "console.log('x'.repeat(7500) + words)\">Tell</button>"
    )
    text = await tab.text()
    await tab.act(Fill(ref=ref_of(text, "textbox", "Password"), text=value))
    result = await tab.act(Click(ref=ref_of(text, "button", "Tell")))
    assert "It is" in result.page.title
    assert (repr(result) + await told(tab)).count("-long") == 0


async def test_a_long_one_that_the_page_holds(open_tab: OpenTab) -> None:
    value = "".join(f"{n:03}-long " for n in range(900))
    tab = await open_tab(f"<input type=password role=button value='{value}'><p>It is {value}</p><p>well</p>")
    text = await told(tab)
    assert text.count("-long") == 0
    assert "well" in text


@pytest.mark.parametrize("look", ["log", "read_text", "pages", "navigate"])
async def test_one_that_no_snapshot_has_seen(open_tab: OpenTab, site: Site, look: str) -> None:
    tab = await open_tab("<p>before</p>")
    script = f"console.log('{SECRET}'); document.title = '{SECRET}'"
    goal = site.show(document(f"<input type=password value='{SECRET}'><p>{SECRET} it is</p><script>{script}</script>"))
    seen = repr(await tab.navigate(goal))
    match look:
        case "log":
            seen = repr(await tab.browser.log(tab.page_id))
            assert "[hidden]" in seen
        case "read_text":
            seen = (await tab.browser.read_text(tab.page_id)).text
            assert "it is" in seen
        case "pages":
            seen = repr(await tab.browser.pages())
    assert SECRET not in seen


async def test_one_that_comes_while_the_page_is_looked_at(open_tab: OpenTab) -> None:
    """The page hears of the look from what it changes: a label stands for its hidden box."""
    tab = await open_tab(
        "<style>label input { display: none }</style><label id=it><input type=checkbox>Box</label><p id=place></p>"
        "<script>new MutationObserver((_, observer) => { observer.disconnect(); place.innerHTML ="
        f"`<input type=password aria-label=Late value='{SECRET}'><b>{SECRET}</b>`"
        "}).observe(it, {attributes: true})</script>"
    )
    text = await tab.text()
    assert "Late" in text
    assert SECRET not in text


@pytest.mark.parametrize("mode", ["open", "closed"])
async def test_in_frames_and_shadow_trees(open_tab: OpenTab, site: Site, mode: str) -> None:
    inner = site.show(document(f"<input type=password aria-label=Inner value='{SECRET}'>"), host="other.test")
    tab = await open_tab(
        f"<iframe src='{inner}'></iframe><div id=host></div><script>host.attachShadow({{mode: '{mode}'}}).innerHTML ="
        f"`<input type=password aria-label=Shadow value='{SECRET}'>`</script>"
    )
    text = await told(tab)
    assert SECRET not in text
    await tab.fill("textbox", "Inner", SECRET)
    await tab.fill("textbox", "Shadow", SECRET)
    assert SECRET not in await told(tab)
    await tab.fill("textbox", "Shadow", "")
    ref = await tab.ref("textbox", "Shadow")
    for key in "Zq7x":
        await tab.act(Press(key=key, ref=ref))
    await tab.act(Press(key="Tab"))
    assert "Zq7x" not in await told(tab)


@pytest.mark.parametrize(
    "show",
    [
        "it.type = 'text'",
        "it.setAttribute('type', 'text')",
        "it.outerHTML = it.outerHTML.replace('password', 'text')",
        "const other = document.createElement('input'); other.value = it.value; it.replaceWith(other)",
    ],
)
async def test_shown_by_a_button_of_the_page(open_tab: OpenTab, show: str) -> None:
    tab = await open_tab(FIELD + f'<button onclick="{show}">Show</button>')
    text = await tab.text()
    await tab.act(Fill(ref=ref_of(text, "textbox", "Password"), text=SECRET))
    result = await tab.click("button", "Show")
    assert SECRET not in repr(result) + await told(tab)


@pytest.mark.parametrize(
    "tell",
    [
        "console.log('it is ' + it.value)",
        "console.log({secret: it.value})",
        "console.log(it)",
        "fetch('/?p=' + it.value)",
        "document.title = it.value",
        "history.pushState({}, '', '?' + it.value)",
        "setTimeout(() => { throw new Error(it.value) })",
        "alert(it.value)",
    ],
)
async def test_told_by_a_script_of_the_page(open_tab: OpenTab, tell: str) -> None:
    tab = await open_tab(FIELD + f'<button onclick="{tell}">Tell</button>')
    text = await tab.text()
    await tab.act(Fill(ref=ref_of(text, "textbox", "Password"), text=SECRET))
    result = await tab.click("button", "Tell")
    said = repr(result)
    try:
        said += await told(tab)
    except WorkstationError as error:
        said += repr(error)
    said += repr(await tab.browser.log(tab.page_id))
    assert SECRET not in said


async def test_not_in_errors(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<input type=password aria-label=Off disabled><input type=password aria-label=Fixed readonly>"
        "<button onclick='off.remove()'>R</button>"
    )
    for name in ("Off", "Fixed"):
        ref = await tab.ref("textbox", name)
        with pytest.raises(ActionFailed) as caught:
            await tab.act(Fill(ref=ref, text=SECRET), timeout=2)
        said: BaseException | None = caught.value
        while said is not None:
            assert SECRET not in str(said) + repr(said)
            said = said.__cause__
    for ref in ("e4711", "bad ref"):
        with pytest.raises(WorkstationError) as failed:
            await tab.act(Fill(ref=ref, text=SECRET))
        assert SECRET not in str(failed.value)


async def test_typed_key_by_key(open_tab: OpenTab) -> None:
    tab = await open_tab(FIELD)
    ref = await tab.ref("textbox", "Password")
    for key in "Zq7x":
        await tab.act(Press(key=key, ref=ref))
    assert "Zq7x" not in await told(tab)


async def test_its_picture_shows_dots(open_tab: OpenTab) -> None:
    tab = await open_tab(FIELD)
    text = await tab.text()
    ref = ref_of(text, "textbox", "Password")
    pictures = []
    for value in ("aaaa", "zzzz"):
        await tab.act(Fill(ref=ref, text=value))
        await tab.act(Click(ref=ref))
        pictures.append((await tab.browser.screenshot(tab.page_id)).data)
    assert pictures[0] == pictures[1]
