"""Pages whose scripts lie about themselves to whoever looks: callers get answers or typed errors, and other pages go on."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest

from tests.conformance.browsing import ref_of
from tests.conformance.conftest import OpenTab
from workstation.errors import ActionFailed, StaleRef, WorkstationError
from workstation.interface import Click, Drag, Fill, Hover, Press, Scroll, Select, Upload

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIES = {
    "type": "Object.defineProperty(HTMLInputElement.prototype, 'type', {get: () => ({})})",
    "name": "Object.defineProperty(Element.prototype, 'localName', {get: () => ({})})",
    "matches": "Element.prototype.matches = () => ({})",
    "option": "Object.defineProperty(HTMLOptionElement.prototype, 'label', {get: () => ({trim: () => ({replace: () => 7})})})",  # noqa: E501
    "value": "Object.defineProperty(HTMLOptionElement.prototype, 'value', {get: () => ({})})",
    "map": "Array.prototype.map = () => 7",
    "count": "Object.defineProperty(Set.prototype, 'size', {get: () => 'many'})",
    "elements": "Object.defineProperty(HTMLCollection.prototype, 'length', {get: () => ({})})",
    "query": "Document.prototype.querySelectorAll = () => { throw 1 }",
    "text": "String.prototype.slice = () => 7; String.prototype.trim = () => ({})",
    "json": "JSON.stringify = () => 7; Object.prototype.toJSON = () => 7",
    "query of all": "for (const kind of [Document, Element, DocumentFragment]) for (const name of ['querySelector',"
    " 'querySelectorAll']) kind.prototype[name] = () => { throw new TypeError('no') }",
    "found": "Element.prototype.querySelectorAll = Document.prototype.querySelectorAll = () => 'nothing'",
    "thrown": "Object.defineProperty(Element.prototype, 'localName', {get() { throw {} }})",
    "nodes": "for (const name of ['nodeType', 'parentNode', 'ownerDocument', 'textContent', 'isConnected'])"
    " Object.defineProperty(Node.prototype, name, {get() { throw new Error('no') }})",
    "arrays": "for (const name of ['map', 'filter', 'find', 'some', 'slice', 'push', 'includes', 'join', 'forEach'])"
    " Array.prototype[name] = () => { throw new Error('no') }",
    "iterators": "Array.prototype[Symbol.iterator] = Set.prototype[Symbol.iterator] = Map.prototype[Symbol.iterator] ="
    " function* () { yield {}; }",
    "sets": "Set.prototype.add = Set.prototype.has = Map.prototype.get = Map.prototype.set = () => { throw 1 }",
    "set": "Set = Map = WeakMap = Array = Object = Symbol = Promise = undefined",
    "promises": "Promise.prototype.then = () => 7",
    "keys": "Object.keys = Object.entries = Object.getOwnPropertyNames = () => [{}, 7]",
    "numbers": "for (const name of ['scrollX', 'innerWidth']) Object.defineProperty(self, name, {get: () => 'wide'});"
    " Element.prototype.getBoundingClientRect = () => ({left: 'x', width: {}})",
    "objects": "Object.defineProperty(Object.prototype, 'value', {get() { return 'lie' }, set() { throw 1 }});"
    " Object.defineProperty(Object.prototype, 'o', {get() { return 7 }})",
    "scroll": "scrollBy = Element.prototype.scrollBy = () => { throw 1 }",
    "title": "Object.defineProperty(Document.prototype, 'title', {get: () => ({a: 1})})",
    "controls": "Object.defineProperty(HTMLLabelElement.prototype, 'control', {get: () => ({matches: () => true})});"
    " Element.prototype.checkVisibility = () => { throw 1 }",
    "symbols": "Symbol.for = () => 7",
    "frozen": "Object.defineProperty(self, Symbol.for('empla.once'), {value: 7});"
    " Object.defineProperty(self, Symbol.for('empla.labels'), {value: 7})",
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_page_that_lies(open_tab: OpenTab, lie: str) -> None:
    fields = (
        "<input aria-label=Field><select aria-label=List><option>One<option>Two</select><input type=password value=Pw17>"
        "<style>label input { display: none }</style><label><input type=checkbox>Box</label>"
        "<input type=file aria-label=File>"
        "<input type=checkbox aria-label=Plain><div role=region aria-label=Part><p>part</p></div>"
    )
    well = await open_tab("<p>well</p>")
    tab = await open_tab(f"{fields}<script>{LIES[lie]}</script>")
    text = await tab.text()
    with suppress(ActionFailed):
        await tab.act(Fill(ref=ref_of(text, "textbox", "Field"), text="x"))
    with pytest.raises((ActionFailed, StaleRef)):
        await tab.act(Select(ref=ref_of(text, "combobox", "List"), values=("Three",)))
    assert "Pw17" not in text
    field, part = ref_of(text, "textbox", "Field"), ref_of(text, "region", "Part")
    calls: list[Callable[[], Awaitable[object]]] = [
        partial(tab.act, Press(key="a")),
        partial(tab.act, Press(key="b", ref=field)),
        partial(tab.act, Click(ref=ref_of(text, "checkbox", "Box"))),
        partial(tab.act, Click(ref=ref_of(text, "checkbox", "Plain"))),
        partial(tab.act, Hover(ref=field)),
        partial(tab.act, Scroll(y=100)),
        partial(tab.act, Scroll(ref=part, y=10)),
        partial(tab.act, Select(ref=ref_of(text, "combobox", "List"), values=("Two",))),
        partial(tab.act, Upload(ref=ref_of(text, "button", "File"), paths=("none.txt",))),
        partial(tab.act, Drag(ref=field, to_ref=part)),
        partial(tab.snapshot, ref=part),
        partial(tab.snapshot, changes=True),
        partial(tab.browser.read_text, tab.page_id),
        partial(tab.browser.screenshot, tab.page_id),
        partial(tab.browser.screenshot, tab.page_id, ref=part),
        partial(tab.browser.wait_for, tab.page_id, text="part", timeout=5),
        tab.browser.pages,
    ]
    for call in calls:
        with suppress(WorkstationError):
            await call()
    assert "Pw17" not in await tab.text()
    assert "well" in await well.text()


async def test_password_fields_that_cannot_be_found(open_tab: OpenTab) -> None:
    tab = await open_tab(
        "<input type=password aria-label=Password value=hunter22><input aria-label=Name value=Ann>"
        f"<script>{LIES['query']}</script>"
    )
    assert "hunter22" not in await tab.text()
