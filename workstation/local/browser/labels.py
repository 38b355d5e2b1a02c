"""Boxes that a page does not show at all, such as `display: none` ones: a tree tells their labels in their place.

A label has no role of its own, so it would be told as words that nobody can act on, and never whether it is checked.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Error, Frame, Page

from workstation.local.browser.shadows import ROOT

_SECONDS = 1.0
_MOST_LABELS = 500
_NAMES = "['role', 'aria-checked', 'aria-disabled']"
_AS_BOXES = f"""() => {{
  const labels = [];
  const look = (root) => {{
    labels.push(...root.querySelectorAll('label'));
    for (const element of root.querySelectorAll('*')) {{
      const tree = element[{ROOT}] ?? element.shadowRoot;
      if (tree) look(tree);
    }}
  }};
  look(document);
  const shown = (element) => element.checkVisibility({{visibilityProperty: true}});
  const names = {_NAMES}, changed = [];
  for (const label of labels.slice(0, {_MOST_LABELS})) {{
    const box = label.control;
    if (!box?.matches('input[type=checkbox], input[type=radio], input[type=file]')) continue;
    if (shown(box) || !shown(label) || names.some((name) => label.hasAttribute(name))) continue;
    label.setAttribute('role', box.type === 'file' ? 'button' : box.type);
    if (box.type !== 'file') label.setAttribute('aria-checked', box.indeterminate ? 'mixed' : box.checked);
    if (box.matches(':disabled')) label.setAttribute('aria-disabled', 'true');
    changed.push(label);
  }}
  if (changed.length) Object.defineProperty(self, Symbol.for('empla.labels'), {{value: changed, configurable: true}});
  return changed.length;
}}"""
_AS_LABELS = f"""() => {{
  for (const label of self[Symbol.for('empla.labels')] || [])
    for (const name of {_NAMES}) label.removeAttribute(name);
  delete self[Symbol.for('empla.labels')];
}}"""
AIM = """label => {
  if (label.localName !== 'label' || (label.control?.checkVisibility({visibilityProperty: true}) ?? true)) return null;
  const place = label.getBoundingClientRect();
  const walker = document.createTreeWalker(label, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.nodeType === Node.TEXT_NODE, element = text ? node.parentElement : node;
    if (text ? !node.data.trim() : node.firstChild) continue;
    if (element.closest('a, button, input, select, textarea, label') !== label) continue;
    const range = document.createRange();
    range.selectNode(node);
    const at = range.getClientRects()[0];
    if (!at?.width || !at.height) continue;
    const [x, y] = [at.left + at.width / 2, at.top + at.height / 2];
    return [x - place.left - label.clientLeft, y - place.top - label.clientTop];
  }
  return null;
}"""
"""Where to click a label that stands for its box, beside the links in it; null for any other element."""


@asynccontextmanager
async def as_boxes(page: Page) -> AsyncIterator[None]:
    """Have such labels be what they stand for meanwhile; it changes nothing of the page's layout."""
    frames = [frame for frame in page.frames if frame.url]  # the others hold nothing yet, and would not answer
    counts = await asyncio.gather(*(_change(frame) for frame in frames))
    try:
        yield
    finally:
        changed = [frame for frame, count in zip(frames, counts, strict=True) if count]
        await asyncio.gather(*(_change_back(frame) for frame in changed))


async def _change(frame: Frame) -> bool:
    try:
        async with asyncio.timeout(_SECONDS):
            return bool(await frame.evaluate(_AS_BOXES))
    except (Error, TimeoutError):  # it goes elsewhere, or answers nobody
        return False


async def _change_back(frame: Frame) -> None:
    try:
        async with asyncio.timeout(_SECONDS):
            await frame.evaluate(_AS_LABELS)
    except (Error, TimeoutError):
        pass  # gone, or about to be taken for hung
