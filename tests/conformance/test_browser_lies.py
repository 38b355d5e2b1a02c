"""Pages whose scripts lie about themselves to whoever looks: callers get answers or typed errors, and other pages go on."""

from contextlib import suppress

import pytest

from tests.conformance.browsing import ref_of
from tests.conformance.conftest import OpenTab
from workstation.errors import ActionFailed, StaleRef, WorkstationError
from workstation.interface import Fill, Press, Select

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIES = {
    "type": "Object.defineProperty(HTMLInputElement.prototype, 'type', {get: () => ({})})",
    "name": "Object.defineProperty(Element.prototype, 'localName', {get: () => ({})})",
    "matches": "Element.prototype.matches = () => ({})",
    "label": "Object.defineProperty(HTMLOptionElement.prototype, 'label', {get: () => ({trim: () => ({replace: () => 7})})})",  # noqa: E501
    "value": "Object.defineProperty(HTMLOptionElement.prototype, 'value', {get: () => ({})})",
    "map": "Array.prototype.map = () => 7",
    "count": "Object.defineProperty(Set.prototype, 'size', {get: () => 'many'})",
    "elements": "Object.defineProperty(HTMLCollection.prototype, 'length', {get: () => ({})})",
    "query": "Document.prototype.querySelectorAll = () => { throw 1 }",
    "text": "String.prototype.slice = () => 7; String.prototype.trim = () => ({})",
    "json": "JSON.stringify = () => 7; Object.prototype.toJSON = () => 7",
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_page_that_lies(open_tab: OpenTab, lie: str) -> None:
    fields = "<input aria-label=Field><select aria-label=List><option>One<option>Two</select>"
    well = await open_tab("<p>well</p>")
    tab = await open_tab(f"{fields}<script>{LIES[lie]}</script>")
    text = await tab.text()
    with suppress(ActionFailed):
        await tab.act(Fill(ref=ref_of(text, "textbox", "Field"), text="x"))
    with pytest.raises((ActionFailed, StaleRef)):
        await tab.act(Select(ref=ref_of(text, "combobox", "List"), values=("Three",)))
    for call in (tab.act(Press(key="a")), tab.browser.read_text(tab.page_id), tab.browser.screenshot(tab.page_id)):
        with suppress(WorkstationError):
            await call
    assert "well" in await well.text()


async def test_password_fields_that_cannot_be_found(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<input type=password aria-label=Password value=hunter22><input aria-label=Name value=Ann>"
        f"<script>{LIES['query']}</script>"
    )
    assert "hunter22" not in await tab.text()
