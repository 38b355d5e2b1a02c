"""One field of one listed entry changed in the text of its file, and nothing else.

A record does not say where in the text it came from. So each place that may be meant is tried: the text with that place
changed is read again, and it counts only when the field has its new value and every other record is what it was.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from agent.models.offline.documents import document
from agent.models.offline.records import Document, Record

_BEFORE, _AFTER = 4, 12
"""Lines around one that has the entry's name in which its other fields may stand."""

_MOST_TRIED = 60
_MOST_READ = 4_000_000
"""Characters read again, all tries together: a long file gets fewer of them."""

_BOX = re.compile(r"\[[ xX✓✔~-]?\]|[☐☑☒✅✔❌⬜]")
_TICKED = {"[ ]": "[x]", "[]": "[x]", "☐": "☑", "⬜": "✅", "❌": "✅"}
_CLEARED = {"☑": "☐", "☒": "☐", "✅": "⬜", "✔": "☐"}


class Unclear(Exception):
    """What is to be changed cannot be told for sure; the message tells a person why."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The file's text as it shall be, and what to say of it."""

    text: str
    said: str


@dataclass(frozen=True, slots=True)
class _Spot:
    """A stretch of the text and what may take its place."""

    start: int
    end: int
    new: str


def records(file: Document) -> list[Record]:
    """Everything that the file lists, in the order of its groups."""
    return [record for group in file.groups for record in group.records]


def with_value(file: Document, entry: Record, place: int, value: str) -> str:
    """The text in which the field number `place` of `entry` is `value`; raises `Unclear`."""
    old = entry.fields[place][1]
    written = _cased(old, value)
    wanted = (*entry.fields[:place], (entry.fields[place][0], written), *entry.fields[place + 1 :])
    spots = (
        _Spot(match.start(), match.end(), written)
        for match in _near(file.text, entry.name, rf"(?<!\w){re.escape(old)}(?!\w)")
    )
    return _only(
        file, entry, spots, lambda now: now.fields == wanted and (now.name, now.done) == (entry.name, entry.done)
    )


def with_box(file: Document, entry: Record, *, ticked: bool) -> str:
    """The text in which the box of `entry` is ticked, or not; raises `Unclear`."""
    spots = (
        _Spot(match.start(), match.end(), _box(match[0], ticked=ticked))
        for match in _near(file.text, entry.name, _BOX.pattern)
    )
    return _only(file, entry, spots, lambda now: now == replace(entry, done=ticked))


def _box(old: str, *, ticked: bool) -> str:
    return _TICKED.get(old, old) if ticked else _CLEARED.get(old, "[ ]")


def _only(file: Document, entry: Record, spots: Iterator[_Spot], fits: Callable[[Record], bool]) -> str:
    """The one text that comes of changing one spot, in which only `entry` differs, and as it should."""
    before = records(file)
    index = next(i for i, record in enumerate(before) if record is entry)
    found: set[str] = set()
    for _, spot in zip(range(max(2, min(_MOST_TRIED, _MOST_READ // (len(file.text) + 1)))), spots, strict=False):
        text = file.text[: spot.start] + spot.new + file.text[spot.end :]
        after = records(document(file.path, text))
        if len(after) == len(before) and fits(after[index]) and _same_but(before, after, index):
            found.add(text)
    if len(found) != 1:
        raise Unclear(f"I could not tell for sure where it gives that of {entry.name}")
    return found.pop()


def _same_but(before: list[Record], after: list[Record], index: int) -> bool:
    return before[:index] == after[:index] and before[index + 1 :] == after[index + 1 :]


def _near(text: str, name: str, pattern: str) -> Iterator[re.Match[str]]:
    """What fits `pattern` in the lines that have `name`, then in those around them, each once."""
    lines = _lines(text)
    plain = name.casefold()
    named = [i for i, (start, end) in enumerate(lines) if plain in re.sub(r"[*_`~]", "", text[start:end]).casefold()]
    around = [i + step for i in named for step in (*range(1, _AFTER), *range(-1, -_BEFORE, -1))]
    wanted = re.compile(pattern, re.IGNORECASE)
    for index in dict.fromkeys([*named, *around]):
        if 0 <= index < len(lines):
            yield from wanted.finditer(text, *lines[index])


def _lines(text: str) -> list[tuple[int, int]]:
    """Start and end of each line, without its line break."""
    ends = [match.start() for match in re.finditer(r"\n", text)]
    return list(zip([0, *(end + 1 for end in ends)], [*ends, len(text)], strict=True))


def _cased(old: str, new: str) -> str:
    """`new` with the capitals of `old`, so that a column keeps its looks."""
    if len(old) > 1 and old.isupper():
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new
