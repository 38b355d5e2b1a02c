"""Lists in a file: bullets, checkboxes, numbered items and `Key: value` lines, as records."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.models.offline.numbers import amount
from agent.models.offline.records import Group, Record
from agent.models.offline.vocabulary import DONE, OPEN, family, is_attribute

_BULLET = re.compile(
    r"^(?P<indent>\s*)(?:(?:[-*+•–‣◦]|\d{1,3}[.)])\s+)?(?:(?P<box>\[[ xX✓✔~-]?\]|[☐☑☒✅✔❌⬜])\s+)?(?P<text>\S.*)$"
)
_MARKED = re.compile(r"^\s*(?:[-*+•–‣◦]\s+\S|\d{1,3}[.)]\s+\S|\[[ xX✓✔~-]?\]\s+\S|[☐☑☒✅✔❌⬜])")
_PAIR = re.compile(r"^(?P<key>[^\s:|,;.!?][^:|,;.!?]{0,39}?)\s*(?::|=)\s+(?P<value>\S.*)$")
_BARE_PAIR = re.compile(r"^(?P<key>\w[\w -]{0,24})=(?P<value>\S.*)$")
_STRONG = re.compile(r"\s+[—–|·•→⇒]\s*|\s*[—|]\s+|\s+-{1,2}>?\s+|\s*;\s+|\t+|\s+/\s+")
_EMPHASIS = re.compile(r"\*\*|__|`|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)")
_STRUCK = re.compile(r"^~~(.+?)~~")
_LONGEST_PART = 6
"""Words: a longer piece between commas is prose, not a field."""


@dataclass(frozen=True, slots=True)
class Item:
    """One bullet: how far it is indented, whether its box is ticked (None without a box), and its text."""

    indent: int
    done: bool | None
    text: str


def is_bullet(line: str) -> bool:
    """Whether `line` begins a list item."""
    return bool(_MARKED.match(line)) and not re.match(r"^\s*[-*_]{3,}\s*$", line)


def is_pair(line: str) -> bool:
    """Whether `line` is `Key: value`, the key being a few words."""
    match = pair(line)
    return match is not None and len(match[0].split()) <= 5


def pair(text: str) -> tuple[str, str] | None:
    """Key and value of `Key: value` or `key=value`."""
    plain = _EMPHASIS.sub("", text).strip()
    match = _PAIR.match(plain) or _BARE_PAIR.match(plain)
    return (match["key"].strip(), match["value"].strip()) if match else None


def item(line: str) -> Item:
    """The list item that `line` is."""
    match = _BULLET.match(line)
    assert match is not None
    struck = _STRUCK.match(match["text"])
    box = match["box"]
    done = None if box is None else box.strip("[]").strip() != "" and box not in "☐⬜❌"
    text = _EMPHASIS.sub("", match["text"].replace("~~", "")).strip()
    return Item(len(match["indent"].expandtabs(4)), True if struck else done, text)


def listed(items: Sequence[Item], headings: tuple[str, ...]) -> list[Group]:
    """The groups that a list makes: its items, or what stands under each item when that is indented."""
    pairs = [pair(one.text) for one in items]
    if len({one.indent for one in items}) == 1 and described(pairs):
        return [Group("blocks", tuple(blocks([p for p in pairs if p], headings)), headings[:-1])]
    top = min(one.indent for one in items)
    groups: list[Group] = []
    own: list[Record] = []
    for head, below in _families(items, top):
        if below and not _describes(below):
            groups += listed(below, (*headings, head.text.rstrip(":")))
        else:
            own.append(record(head, headings, [p for b in below if (p := pair(b.text))]))
    return ([Group("list", tuple(own), headings)] if own else []) + groups


def described(pairs: Sequence[tuple[str, str] | None]) -> bool:
    """Whether all lines are `Key: value` where the keys describe a thing (Status: open) instead of naming many."""
    keys = [p[0].casefold() for p in pairs if p]
    if len(keys) < len(pairs) or not keys:
        return False
    return (sum(map(is_attribute, keys)) * 2 >= len(keys) and len(keys) > 1) or len(set(keys)) < len(keys)


def blocks(pairs: Sequence[tuple[str, str]], headings: tuple[str, ...]) -> list[Record]:
    """The records that a run of pairs makes: a key seen before begins the next; a single one has the heading's name."""
    runs: list[list[tuple[str, str]]] = [[]]
    for key, value in pairs:
        if any(key.casefold() == known for known, _ in runs[-1]):
            runs.append([])
        runs[-1].append((key.casefold(), value))
    name = headings[-1] if headings and len(runs) == 1 else ""
    return [_block(run, headings, name) for run in runs if run]


def record(head: Item, headings: tuple[str, ...], extra: Sequence[tuple[str, str]] = ()) -> Record:
    """The record that one item makes, `extra` being pairs that stand under it."""
    found = fields(head.text)
    own = (*found, *((key.casefold(), value) for key, value in extra))
    name = next(
        (value for key, value in found if not key or not is_attribute(key)), found[0][1] if found else head.text
    )
    return Record(name, own, headings, head.done, head.text)


def fields(text: str) -> tuple[tuple[str, str], ...]:
    """The parts of an item as (label, value): `Acme — open — 12k`, `Acme (open, value: 12k)`, `Acme: open, 12k`."""
    parts = [part for piece in _STRONG.split(text) for part in _pieces(piece) if part]
    return tuple(_field(part, first=index == 0) for index, part in enumerate(_named(parts)))


def _named(parts: list[str]) -> list[str]:
    """`Acme: open` as a name and its first value, as long as Acme is not itself a label."""
    found = pair(parts[0]) if parts else None
    if found is None or is_attribute(found[0]):
        return parts
    return [found[0], *_pieces(found[1]), *parts[1:]]


def _field(part: str, *, first: bool) -> tuple[str, str]:
    found = pair(part)
    if found and (is_attribute(found[0]) or not first):
        return found[0].casefold(), found[1]
    return "", part


def _pieces(text: str) -> list[str]:
    """The parts of a piece that has no strong separator: what is in brackets, and what stands between commas."""
    bracket = re.match(r"^(.*?)\s*[(\[](.+?)[)\]]\s*(.*)$", text)
    if bracket:
        return [*_pieces(bracket[1]), *_pieces(bracket[2]), *_pieces(bracket[3].lstrip(":-, "))]
    pieces = [piece.strip() for piece in re.split(r",\s+", text) if piece.strip()]
    if all(len(piece.split()) <= _LONGEST_PART for piece in pieces):
        return pieces
    return [text.strip()] if text.strip() else []


def _block(run: Sequence[tuple[str, str]], headings: tuple[str, ...], name: str) -> Record:
    named = [value for key, value in run if family(key) == "name"]
    chosen = next(iter(named), name or first_text(run))
    return Record(chosen, tuple(run), headings, text=", ".join(f"{key}: {value}" for key, value in run))


def first_text(run: Sequence[tuple[str, str]]) -> str:
    """The first value that is neither a state nor a number, else the first."""
    return next((value for _, value in run if not _is_state(value) and amount(value) is None), run[0][1])


def _is_state(value: str) -> bool:
    return value.casefold() in OPEN | DONE


def _families(items: Sequence[Item], top: int) -> list[tuple[Item, list[Item]]]:
    found: list[tuple[Item, list[Item]]] = []
    for one in items:
        if one.indent <= top + 1 or not found:
            found.append((one, []))
        else:
            found[-1][1].append(one)
    return found


def _describes(below: Sequence[Item]) -> bool:
    """Whether the items under another one are its fields: `Status: open` or a plain state or amount."""
    pairs = [pair(one.text) for one in below]
    if all(one.done is not None for one in below):
        return False
    return all(p is not None and (is_attribute(p[0])) for p in pairs)
