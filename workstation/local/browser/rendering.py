"""A compact tree as lines of text, cut to a size."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from workstation.local.browser.outline import Node

_INDENT = "  "
_MOST_URL, _MOST_PLACEHOLDER = 60, 80
_NO_URL = re.compile(r"#?$|javascript:", re.IGNORECASE)
_MOST_PLACES = 3
_NOTE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A line for a node, `depth` levels in; `ref` is the one that stands on it, or ''."""

    depth: int
    text: str
    ref: str = ""

    def __str__(self) -> str:
        return f"{_INDENT * self.depth}- {self.text}"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """As much of the lines as was asked for, and the refs in it."""

    text: str
    refs: frozenset[str]
    truncated: bool


def lines_of(nodes: Iterable[Node], origin: str, *, most_depth: int | None = None, depth: int = 0) -> Iterator[Line]:
    """The lines of a tree; below `most_depth` levels only how much there is. `origin` is left out of addresses."""
    for node in nodes:
        hidden = node.children if most_depth is not None and depth + 1 >= most_depth else []
        text = line_text(node, origin)
        yield Line(depth, f"{text} (+{_count(hidden)} inside)" if hidden else text, node.ref)
        if not hidden:
            yield from lines_of(node.children, origin, most_depth=most_depth, depth=depth + 1)


def line_text(node: Node, origin: str) -> str:
    """What the line of a node says."""
    if node.role == "text":
        return f"text: {node.text}"
    parts = [node.role]
    if node.name:
        parts.append('"' + node.name.replace("\\", "\\\\").replace('"', '\\"') + '"')
    parts += [f"[{state}]" for state in node.states]
    if node.ref:
        parts.append(f"[ref={node.ref}]")
    if url := _short_url(node.url, origin):
        parts.append(f"-> {url}")
    if node.placeholder:
        parts.append(f"({node.placeholder[:_MOST_PLACEHOLDER]})")
    said = " ".join(parts)
    return f"{said}: {node.text}" if node.text else said


def excerpt(lines: list[Line], most: int) -> Excerpt:
    """Whole lines, at most `most` characters; if not all fit, the last line says how to see the rest."""
    written = [str(line) for line in lines]
    size = sum(map(len, written)) + len(written) - 1
    if size <= most:
        return Excerpt("\n".join(written), _refs(lines), truncated=False)
    kept, used = 0, 0
    while kept < len(written) and used + len(written[kept]) + 1 <= most - _NOTE_CHARACTERS:
        used += len(written[kept]) + 1
        kept += 1
    note = _note(lines, kept)
    if len(note) <= most - used:
        written[kept:] = [note]
    elif kept == 0:
        written[:] = [note[:most]]
    else:
        written[kept:] = []
    places = {line.ref for line in _places(lines, kept)} if note in written else set()
    return Excerpt("\n".join(written), _refs(lines[:kept]) | places, truncated=True)


def _note(lines: list[Line], kept: int) -> str:
    places = ", ".join(f"{line.text.split()[0]} [ref={line.ref}]" for line in _places(lines, kept))
    how = f"take a snapshot of a part ({places}) or a larger one" if places else "take a larger snapshot"
    return f"… {len(lines) - kept} lines more: {how}"


def _places(lines: list[Line], kept: int) -> list[Line]:
    """Parts that hold what was cut off: those that are open at the cut, the innermost first, then those that follow."""
    if kept >= len(lines):
        return []
    places, level = [], lines[kept].depth
    for line in reversed(lines[:kept]):
        if line.depth < level:
            level = line.depth
            if line.ref:
                places.append(line)
    least = min(line.depth for line in lines[kept:])
    after = [
        line
        for line, following in zip(lines[kept:], lines[kept + 1 :], strict=False)
        if line.depth == least and line.ref and following.depth > line.depth
    ]
    return (places[:_MOST_PLACES] + after)[:_MOST_PLACES]


def _refs(lines: list[Line]) -> frozenset[str]:
    return frozenset(line.ref for line in lines if line.ref)


def _count(nodes: list[Node]) -> int:
    return sum(1 + _count(node.children) for node in nodes)


def _short_url(url: str, origin: str) -> str:
    if _NO_URL.match(url):
        return ""
    short = url.removeprefix(origin) or "/" if origin else url
    if len(short) > _MOST_URL and "?" in short:
        short = f"{urlsplit(short)._replace(query='', fragment='').geturl()}?…" if _splits(short) else short
    return short if len(short) <= _MOST_URL else f"{short[: _MOST_URL - 1]}…"


def _splits(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True
