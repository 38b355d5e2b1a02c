"""A page's accessibility tree made small: what carries nothing is dropped, what belongs together stands on one line."""

from collections.abc import Iterable

from workstation.local.browser.outline import Node

INTERACTIVE = frozenset((
    "button", "checkbox", "combobox", "link", "listbox", "menuitem", "menuitemcheckbox", "menuitemradio", "option",
    "radio", "scrollbar", "searchbox", "slider", "spinbutton", "switch", "tab", "textbox", "treeitem",
))  # fmt: skip
"""Roles of what a person acts on."""
FIELDS = frozenset(("textbox", "searchbox", "spinbutton", "combobox"))
"""Roles whose text is what was entered."""
_PARTS = frozenset((
    "alert", "alertdialog", "application", "banner", "complementary", "contentinfo", "dialog", "document", "feed",
    "figure", "form", "grid", "group", "iframe", "img", "list", "log", "main", "menu", "menubar", "navigation",
    "radiogroup", "region", "search", "status", "table", "tablist", "tabpanel", "toolbar", "tree", "treegrid",
))  # fmt: skip
"""Roles of parts of a page that a person would name: to look at alone, to take a picture of, to point at."""
_INLINE = frozenset((
    "blockquote", "code", "deletion", "emphasis", "insertion", "mark", "math", "strong", "subscript", "superscript",
    "time", "term", "definition", "caption", "legend", "note",
))  # fmt: skip
_WRAPPERS = frozenset(("generic", "rowgroup", "paragraph", "listitem", "article", *_INLINE))
_CELLS = frozenset(("cell", "columnheader", "rowheader", "gridcell"))
_NOT_SAID = frozenset(("active",))
_MOST_MERGED, _MOST_FOLDED, _MOST_OPTIONS = 300, 200, 40
_JOINT, _COLUMN = " · ", " | "


def compact(nodes: Iterable[Node], *, all_refs: bool = False) -> list[Node]:
    """The same tree, smaller; its nodes are used for it. Refs stay where one can act, with `all_refs` everywhere."""
    compaction = _Compaction(all_refs=all_refs)
    return _without_groups([small for node in nodes for small in compaction.of(node)])


class _Compaction:
    def __init__(self, *, all_refs: bool) -> None:
        self._all_refs = all_refs

    def of(self, node: Node) -> list[Node]:
        """What stands in the place of a node."""
        node.children = _without_groups([small for child in node.children for small in self.of(child)])
        _settle_text(node)
        self._settle_states(node)
        if node.role == "text":
            return [node] if node.text else []
        if node.role == "row":
            return [_row(node)]
        if node.role in INTERACTIVE or node.pointer:
            return [_folded(node)]
        if node.role in _WRAPPERS and not node.ref and (not node.name or node.name == node.text):
            return _unwrapped(node)
        if node.role == "heading":
            return [_heading(node)]
        return [] if _says_nothing(node) else [node]

    def _settle_states(self, node: Node) -> None:
        if node.role not in INTERACTIVE:
            node.states = [state for state in node.states if state not in _NOT_SAID]
        acts = node.pointer or node.role in INTERACTIVE or (node.role == "generic" and node.name)  # such as a <summary>
        if not (self._all_refs or acts or node.role in _PARTS):
            node.ref = ""


def _settle_text(node: Node) -> None:
    """Have a node's only text in itself, and no text that only says its name again."""
    if len(node.children) == 1 and node.children[0].role == "text" and not node.text:
        node.text = node.children.pop().text
    if node.text == node.name:
        node.text = ""


def _unwrapped(node: Node) -> list[Node]:
    """What a wrapper without a name holds; several things in it stay together as a group."""
    if node.text or node.name:
        block = node.role in ("paragraph", "listitem") and not node.children
        return [Node("text", text=node.text or node.name, block=block), *node.children]
    node.children = _without_labels(node.children)
    if len(node.children) < 2 or node.role == "rowgroup":
        return node.children
    return [Node("group" if node.role == "generic" else node.role, children=node.children, loose=True)]


def _without_labels(nodes: list[Node]) -> list[Node]:
    """Leave out the text of a label, which is the name of the field beside it."""
    names = {node.name for node in nodes if node.role in INTERACTIVE}
    return [node for node in nodes if node.role != "text" or node.text not in names]


def _without_groups(nodes: list[Node]) -> list[Node]:
    """Keep a group together only where there are several side by side, as cards are; merge texts that meet."""
    loose = sum(node.loose for node in nodes)
    flat: list[Node] = []
    for node in nodes:
        parts = node.children if node.loose and loose < 2 else [node]
        for part in parts:
            if flat and _can_merge(flat[-1], part):
                flat[-1].text += _JOINT + part.text
            else:
                flat.append(part)
    return flat


def _can_merge(before: Node, node: Node) -> bool:
    texts = before.role == node.role == "text" and not (before.block or node.block)
    return texts and len(before.text) + len(node.text) <= _MOST_MERGED


def _folded(node: Node) -> Node:
    """What one acts on, with texts, headings and pictures in it as its name if it has none; a list with its options."""
    if node.role in ("combobox", "listbox") and node.children and all(each.role == "option" for each in node.children):
        return _with_options(node)
    words = [word for word in _words(node.children) if word]
    if node.name:
        if all(word in node.name for word in words) and not _acting(node.children):
            node.children = []
        return node
    folded = _JOINT.join([node.text, *words] if node.text else words)
    if folded and len(folded) <= _MOST_FOLDED and not _acting(node.children) and node.role not in FIELDS:
        node.name, node.text, node.children = folded, "", []
    return node


def _with_options(node: Node) -> Node:
    if any(option.ref for option in node.children):
        return node
    said = [f"{each.name or each.text}{''.join(f' ({s})' for s in each.states)}" for each in node.children]
    chosen = [word for each, word in zip(node.children, said, strict=True) if "selected" in each.states]
    if len(said) > _MOST_OPTIONS:
        shown = said[:_MOST_OPTIONS]
        said = [*shown, *(word for word in chosen if word not in shown), f"… {len(said) - _MOST_OPTIONS} more"]
    node.text, node.children = _COLUMN.join(said), []
    return node


def _heading(node: Node) -> Node:
    """A heading; one that is a link is that link, with the heading's level."""
    level = next((state.removeprefix("level=") for state in node.states if state.startswith("level=")), "")
    if len(node.children) == 1 and node.children[0].role in INTERACTIVE and not node.text and not node.ref:
        inner = node.children[0]
        inner.states.insert(0, f"h{level}")
        return inner
    node.role = f"h{level}" if level else node.role
    node.states = [state for state in node.states if not state.startswith("level=")]
    return node


def _row(node: Node) -> Node:
    """A row of a table: the words of its cells on one line, below it what can be acted on."""
    words, rest = [], []
    for cell in node.children:
        if cell.role not in _CELLS or cell.ref:
            rest.append(cell)
            words.append("")
            continue
        acting = _spread(cell.children)
        words.append(
            " ".join(filter(None, [cell.name or cell.text, *(each.text for each in acting if each.role == "text")]))
        )
        rest += [
            each
            for each in acting
            if each.role != "text" and not (cell.name and each.name == cell.name and not each.ref)
        ]
    node.text = _COLUMN.join(words).rstrip(" |")
    node.name = ""
    node.children = rest
    return node


def _spread(nodes: list[Node]) -> list[Node]:
    return [part for node in nodes for part in (_spread(node.children) if node.loose else [node])]


def _words(nodes: list[Node]) -> list[str]:
    return [word for node in nodes for word in (node.name, node.text, *_words(node.children))]


def _acting(nodes: list[Node]) -> bool:
    return any(node.pointer or node.role in INTERACTIVE or _acting(node.children) for node in nodes)


def _says_nothing(node: Node) -> bool:
    told = node.name or node.text or node.children
    return node.role == "separator" or (not told and node.role in ("img", "generic", "list", "group"))
