"""A page's Markdown as a run of blocks, without the marks of links and emphasis."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.+?)\s*#*\s*$")
_ITEM = re.compile(r"^(\s*)(?:[-*+•]|\d{1,3}[.)])\s+(.+)$")
_RULE = re.compile(r"^\s*(?:[-*_]\s*){3,}$")
_CELLS = re.compile(r"(?<!\\)\|")
_DIVIDER = re.compile(r"^\s*\|?(?:\s*:?-{2,}:?\s*\|)+(?:\s*:?-{2,}:?\s*)?$")
_IMAGE = re.compile(r"!\[([^\[\]]{0,300})\]\([^)\s]{0,2000}(?:\s+\"[^\"]{0,300}\")?\)")
_LINK = re.compile(
    r"(?<!!)\[([^\[\]]{0,300})\]\(([^()\s]{0,2000}(?:\([^()]{0,300}\)[^()\s]{0,300})?)(?:\s+\"[^\"]{0,300}\")?\)"
)
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|<>~$&])")
_EMPHASIS = re.compile(r"(\*\*|__|(?<!\w)[*_](?=\S))(.{1,300}?)(?<=\S)\1")
_LONGEST_LINE = 4_000
"""Characters: no line of a page costs more than so many do."""


@dataclass(frozen=True, slots=True)
class Block:
    """A heading (with its level), an item of a list (with how far it is indented), a table or a line of text."""

    kind: Literal["heading", "item", "table", "text"]
    text: str
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()
    bold: bool = False
    link: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A link's text and address, as the page has them."""

    text: str
    target: str


def outline(markdown: str) -> list[Block]:
    """The blocks of a page, top to bottom; each line of text is its own."""
    found: list[Block] = []
    rows: list[tuple[str, ...]] = []
    for whole in [*markdown.splitlines(), ""]:
        line = whole[:_LONGEST_LINE]
        if line.lstrip().startswith("|"):
            rows += [] if _DIVIDER.match(line) else [_cells(line)]
            continue
        if rows:
            found.append(Block("table", "", rows=tuple(rows)))
            rows = []
        found += _block(line)
    return found


def links(markdown: str) -> Iterator[Link]:
    """The links of a page that have a text."""
    for match in _LINK.finditer(_IMAGE.sub(r"\1", markdown)):
        if match[1].strip() and match[2]:
            yield Link(plain(match[1]), match[2].strip("<>"))


def plain(text: str) -> str:
    """A line without marks; what is struck out keeps its own."""
    bare = _LINK.sub(r"\1", _IMAGE.sub(r"\1", text))
    for _ in range(3):
        bare = _EMPHASIS.sub(r"\2", bare)
    return " ".join(_ESCAPED.sub(r"\1", bare.replace("<br>", " ")).split())


def _block(line: str) -> list[Block]:
    if not line.strip() or _RULE.match(line):
        return []
    if match := _HEADING.match(line):
        return [Block("heading", plain(match[2]), len(match[1]))]
    if match := _ITEM.match(line):
        return [Block("item", plain(match[2]), len(match[1]))]
    stripped = line.strip()
    text = plain(stripped)
    bold = re.fullmatch(r"(\*\*|__)(?:(?!\1).)+\1:?", stripped) is not None
    return [Block("text", text, bold=bold, link=_LINK.fullmatch(stripped) is not None)] if text else []


def _cells(line: str) -> tuple[str, ...]:
    stripped = line.strip().removeprefix("|")
    stripped = stripped[:-1] if stripped.endswith("|") and not stripped.endswith("\\|") else stripped
    return tuple(plain(cell) for cell in _CELLS.split(stripped))
