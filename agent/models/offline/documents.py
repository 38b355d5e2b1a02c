"""A file's text taken apart: headings, tables, lists, blocks and sentences."""

import re
from dataclasses import dataclass, field, replace

from agent.models.offline.facts import is_instruction
from agent.models.offline.lists import (
    Item,
    blocks,
    described,
    fields,
    first_text,
    is_bullet,
    is_pair,
    item,
    listed,
    pair,
)
from agent.models.offline.numbers import amount
from agent.models.offline.records import Document, Group, Record, Sentence
from agent.models.offline.sentences import sentences
from agent.models.offline.tables import delimited, is_rule, json_groups, markdown_table

_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.+?)\s*#*\s*$")
_BOLD = re.compile(r"^\s*(?:\*\*|__)(.+?)(?:\*\*|__):?\s*$")
_UNDERLINE = re.compile(r"^\s*(={3,}|-{3,})\s*$")
_LINE_RULE = re.compile(r"^\s*(?:[-*_]\s*){3,}$|^```")
_PSEUDO = 7
"""Level of a line that works as a heading without being marked as one, such as `Open deals:`."""


def document(path: str, text: str, *, truncated: bool = False) -> Document:
    """Everything that can be told about the text of the file `path`."""
    extension = path.rpartition(".")[2].casefold()
    if extension in ("csv", "tsv") and (table := delimited(text, strict=False)):
        return Document(path, text, groups=(table,), truncated=truncated)
    if extension in ("json", "jsonl", "ndjson") and (groups := json_groups(text)) is not None:
        return Document(path, text, groups=groups, truncated=truncated)
    reader = _Reader(text.splitlines())
    reader.read()
    sentences = tuple(_quotable(reader.sentences, text))
    return Document(path, text, tuple(reader.all_headings), _united(reader.groups), sentences, truncated)


def _quotable(found: list[Sentence], text: str) -> list[Sentence]:
    """Without what tries to instruct its reader, to the end of its line: it must not be repeated as if it were a fact."""
    orders = {_clean(order) for line in text.splitlines() for order in _orders(line)}
    return [one for one in found if one.text not in orders and not is_instruction(one.text)]


def _orders(line: str) -> list[str]:
    if line.startswith(("<data", "</data")):
        return [line]
    said = sentences(line) if is_instruction(line) else []
    first = next((index for index, sentence in enumerate(said) if is_instruction(sentence)), len(said))
    return said[first:]


@dataclass
class _Reader:
    """Goes through the lines once; every method that reads a kind of run moves `at` behind it."""

    lines: list[str]
    at: int = 0
    stack: list[tuple[int, str]] = field(default_factory=list)
    all_headings: list[str] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    sentences: list[Sentence] = field(default_factory=list)

    @property
    def headings(self) -> tuple[str, ...]:
        return tuple(text for _, text in self.stack)

    def read(self) -> None:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip() or _LINE_RULE.match(line):
                self.at += 1
            elif heading := self._heading():
                self._enter(*heading)
            else:
                self._run(line)

    def _run(self, line: str) -> None:
        if "|" in line and is_rule(self._line(1)):
            self._table()
        elif is_bullet(line):
            self._list()
        elif is_pair(line):
            self._pairs()
        else:
            self._paragraph()

    def _line(self, ahead: int) -> str:
        return self.lines[self.at + ahead] if self.at + ahead < len(self.lines) else ""

    def _heading(self) -> tuple[int, str, int] | None:
        """Level, text and number of lines of the heading at this line."""
        line = self.lines[self.at]
        if match := _HEADING.match(line):
            return len(match[1]), _clean(match[2]), 1
        if not is_bullet(line) and (under := _UNDERLINE.match(self._line(1))) and "|" not in line:
            return (1 if under[1][0] == "=" else 2), _clean(line), 2
        if match := _BOLD.match(line):
            return _PSEUDO, _clean(match[1]), 1
        short = len(line.split()) <= 8 and not is_bullet(line)
        shouted = line.isupper() and not re.search(r"[.!?,|]", line)
        if short and (line.rstrip().endswith(":") or shouted) and self._line(1).strip() + self._line(2).strip():
            return _PSEUDO, _clean(line), 1
        return None

    def _enter(self, level: int, text: str, length: int) -> None:
        self.stack = [(known, name) for known, name in self.stack if known < level]
        self.stack.append((level, text))
        self.all_headings.append(text)
        self.at += length

    def _table(self) -> None:
        start = self.at
        while "|" in self._line(0) and self._line(0).strip():
            self.at += 1
        self.groups.append(markdown_table(self.lines[start : self.at], self.headings))

    def _list(self) -> None:
        items: list[Item] = []
        while self.at < len(self.lines) and (line := self.lines[self.at]):
            if is_bullet(line):
                items.append(item(line))
            elif line.strip() and line[0] in " \t":
                items = _continued(items, line)
            else:
                break
            self.at += 1
            if not self._line(0).strip() and is_bullet(self._line(1)):
                self.at += 1
        self.groups += listed(items, self.headings)
        self.sentences += [Sentence(one.text, self.headings) for one in items]

    def _pairs(self) -> None:
        start = self.at
        while self.at < len(self.lines) and is_pair(self._line(0)) and not is_bullet(self._line(0)):
            self.at += 1
        lines = self.lines[start : self.at]
        pairs = [found for line in lines if (found := pair(line))]
        self.sentences += [Sentence(_clean(line), self.headings) for line in lines]
        self.groups += _pair_groups(pairs, self.headings)

    def _paragraph(self) -> None:
        start = self.at
        while (line := self._line(0)).strip() and not self._breaks(line):
            self.at += 1
        self.at = max(self.at, start + 1)
        lines = self.lines[start : self.at]
        group = _columns(lines, self.headings)
        if group:
            self.groups.append(group)
            return
        self.stack = [(level, text) for level, text in self.stack if level < _PSEUDO]
        self.sentences += [Sentence(_clean(text), self.headings) for text in sentences("\n".join(lines))]

    def _breaks(self, line: str) -> bool:
        table = "|" in line and is_rule(self._line(1))
        return table or is_bullet(line) or is_pair(line) or self._heading() is not None


def _continued(items: list[Item], line: str) -> list[Item]:
    """A further line of the last item: a pair of its own when it is one, else more of its text."""
    if is_pair(line) or not items:
        return [*items, Item(len(line) - len(line.lstrip()), None, _clean(line))]
    last = items[-1]
    return [*items[:-1], Item(last.indent, last.done, f"{last.text} {line.strip()}")]


def _pair_groups(pairs: list[tuple[str, str]], headings: tuple[str, ...]) -> list[Group]:
    series = [_series(key, value, headings) for key, value in pairs]
    found = [group for group in series if group]
    pairs = [one for one, group in zip(pairs, series, strict=True) if not group]
    if not pairs:
        return found
    if described(pairs) or (headings and len(pairs) < 3):
        return [*found, Group("blocks", tuple(blocks(pairs, headings)), headings)]
    records = [Record(key, (("", key), *fields(value)), headings, text=f"{key}: {value}") for key, value in pairs]
    return [*found, Group("list", tuple(records), headings)]


def _series(key: str, value: str, headings: tuple[str, ...]) -> Group | None:
    """`Open deals: Acme, Globex and Initech` as a list under its key."""
    names = [name.strip(" .") for name in re.split(r",\s*(?:and |& )?|\s+and\s+|\s*;\s*", value)]
    if len(names) < 2 or any(not name or len(name.split()) > 4 or amount(name) for name in names):
        return None
    return Group("series", tuple(Record(n, (("", n),), (*headings, key), text=n) for n in names), (*headings, key))


def _columns(lines: list[str], headings: tuple[str, ...]) -> Group | None:
    """A paragraph whose lines are rows: delimited values, or parts between dashes."""
    if len(lines) < 2:
        return None
    short = all(len(cell.split()) <= 5 for line in lines for cell in re.split(r"[,;\t|]", line))
    if short and (table := delimited("\n".join(lines), headings)):
        return table
    rows = [fields(line.strip()) for line in lines]
    if any(len(row) < 2 or ", " in line for row, line in zip(rows, lines, strict=True)):
        return None
    return Group(
        "list",
        tuple(Record(r[0][1], r, headings, text=line.strip()) for r, line in zip(rows, lines, strict=True)),
        headings,
    )


def _united(groups: list[Group]) -> tuple[Group, ...]:
    """The groups, those of blocks with a label in common made into one."""
    singles = [group for group in groups if group.kind == "blocks"]
    others = [group for group in groups if group.kind != "blocks"]
    united: list[Group] = []
    for group in singles:
        match = next((g for g in united if set(g.labels()) & set(group.labels())), None)
        if match:
            united.remove(match)
            shared = tuple(one for one, other in zip(match.headings, group.headings, strict=False) if one == other)
            group = Group("blocks", match.records + group.records, shared)  # noqa: PLW2901
        united.append(group)
    return (*others, *(_told_apart(group) for group in united))


def _told_apart(group: Group) -> Group:
    """The group with each block named by its first text where all of them took the name of one heading."""
    if len(group.records) < 2 or len({record.name for record in group.records}) > 1:
        return group
    return replace(group, records=tuple(replace(one, name=first_text(one.fields)) for one in group.records))


def _clean(text: str) -> str:
    return re.sub(r"\*\*|__|`", "", text).strip().rstrip(":").strip()
