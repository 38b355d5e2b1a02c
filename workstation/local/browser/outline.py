"""A page's accessibility tree, read from what Playwright writes of it.

Each line is `- role "name" [state] [ref=e1]: text`; what is nested is indented by two spaces, and `/url` and `/placeholder`
stand below their element like children. Names are JSON strings; keys and texts that YAML would misread are quoted.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

DEEPEST = 100
"""Levels that are told apart; what lies deeper becomes a child of the last."""
_MOST_NAME, _MOST_TEXT = 500, 4000

_LINE = re.compile(r"( *)- (.*)", re.DOTALL)
_QUOTED_KEY = re.compile(r"'((?:[^']|'')*)'(?::(?: (.*))?)?", re.DOTALL)
_KEY = re.compile(r'([^\s":\[]+)( "(?:[^"\\]|\\.)*")?((?: \[[^\]]*\])*)(?::(?: (.*))?)?', re.DOTALL)
_STATE = re.compile(r"\[([^\]]*)\]")
_HEX = re.compile(r"\\(x[0-9a-f]{2}|.)", re.DOTALL)
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_REF_LIKE = "[ref="


@dataclass(slots=True)
class Node:
    """An element, or with the role `text` a piece of text.

    A `block` of text stays a line of its own; a `loose` element only holds others together.
    """

    role: str
    name: str = ""
    text: str = ""
    states: list[str] = field(default_factory=list)
    ref: str = ""
    pointer: bool = False
    url: str = ""
    placeholder: str = ""
    children: list["Node"] = field(default_factory=list)
    block: bool = False
    loose: bool = False


def read_outline(written: str, mask: Callable[[str], str] = str) -> list[Node]:
    """Read a tree; `mask` takes out of a text what may not be told.

    No text of the page can pass for a line or a ref of ours: each is one line, and `[ref=` in it becomes `(ref=`.
    """
    root = Node("root")
    open_nodes = [root]
    for line in written.split("\n"):
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        depth = min(len(found[1]) // 2, DEEPEST)
        del open_nodes[depth + 1 :]
        node = _node(found[2], mask)
        if node.role.startswith("/"):
            _set_property(open_nodes[-1], node)
            continue
        open_nodes[-1].children.append(node)
        open_nodes.append(node)
    return root.children


def plain(text: str, most: int = _MOST_TEXT) -> str:
    """A text of a page as it may be shown: one line, no control characters, of bounded length."""
    text = _SPACE.sub(" ", text[: most + 1]).strip().replace(_REF_LIKE, "(ref=")
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _node(written: str, mask: Callable[[str], str]) -> Node:
    value: str | None
    if quoted := _QUOTED_KEY.fullmatch(written):
        key, value = _KEY.fullmatch(quoted[1].replace("''", "'")), quoted[2]
    else:
        key = _KEY.fullmatch(written)
        value = key[4] if key else None
    if key is None:
        return Node("text", text=plain(mask(written)))
    node = Node(key[1], name=plain(mask(_unquoted(key[2] or "")), _MOST_NAME), text=plain(mask(_unquoted(value or ""))))
    for state in _STATE.findall(key[3]):
        _add_state(node, state)
    return node


def _add_state(node: Node, state: str) -> None:
    if state.startswith("ref="):
        node.ref = state.removeprefix("ref=")
    elif state.startswith("cursor="):
        node.pointer = True
    else:
        node.states.append(state)


def _set_property(node: Node, written: Node) -> None:
    if written.role == "/url":
        node.url = written.text
    elif written.role == "/placeholder":
        node.placeholder = written.text


def _unquoted(written: str) -> str:
    written = written.strip()
    if not (len(written) > 1 and written[0] == written[-1] == '"'):
        return written
    escaped = _HEX.sub(lambda found: f"\\u00{found[1][1:]}" if found[1][0] == "x" else found[0], written)
    try:
        return str(json.loads(escaped, strict=False))
    except ValueError:
        return written[1:-1]
