"""Tables in a file: Markdown, CSV with any usual delimiter, JSON."""

import csv
import json
import re
from collections.abc import Sequence

from pydantic import JsonValue

from agent.models.offline.numbers import amount, is_date
from agent.models.offline.records import Group, Record
from agent.models.offline.vocabulary import family

_RULE = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*$")
_DELIMITERS = (",", ";", "\t", "|")
_MOST_ROWS = 20_000
_DEEPEST = 20


def is_rule(line: str) -> bool:
    """Whether `line` is the rule between a Markdown table's head and its rows."""
    return bool(_RULE.match(line)) and "|" in line


def markdown_table(lines: Sequence[str], headings: tuple[str, ...]) -> Group:
    """The table of `lines`: a head, a rule, rows."""
    return _group(_cells(lines[0]), [_cells(line) for line in lines[2:]], headings)


def delimited(text: str, headings: tuple[str, ...] = (), *, strict: bool = True) -> Group | None:
    """The table that `text` is as delimited values, or None. `strict` wants the same number of cells in every row."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        delimiter = _delimiter(lines, strict=strict)
        if delimiter is None:
            return None
        rows = [[_plain(cell) for cell in row] for row in csv.reader(lines[:_MOST_ROWS], delimiter=delimiter)]
    except csv.Error:
        return None
    if _is_head(rows[0]):
        return _group(rows[0], rows[1:], headings)
    return _group([""] * len(rows[0]), rows, headings)


def json_groups(text: str) -> tuple[Group, ...] | None:
    """The lists of objects in JSON or JSON lines, each under its key; None when `text` is neither."""
    try:
        value = json.loads(text)
    except RecursionError:
        return None
    except ValueError:
        value = _json_lines(text)
    return None if value is None else tuple(_json(value, ()))


def _delimiter(lines: Sequence[str], *, strict: bool) -> str | None:
    # 1,200 is one cell.
    lines = [re.sub(r"(?<=\d),(?=\d{3}\b)", "", line) for line in lines] if strict else lines
    for delimiter in _DELIMITERS:
        counts = [len(row) for row in csv.reader(lines[:50], delimiter=delimiter)] if lines else []
        if counts and counts[0] > 1 and (len(set(counts)) == 1 if strict else True):
            return delimiter
    return None


def _is_head(row: Sequence[str]) -> bool:
    return all(cell and amount(cell) is None and not is_date(cell) and "@" not in cell for cell in row)


def _group(head: Sequence[str], rows: Sequence[Sequence[str]], headings: tuple[str, ...]) -> Group:
    written = tuple(map(_plain, head))
    labels = [label.casefold() for label in written]
    kept = [row for row in rows if any(cell.strip() for cell in row)]
    return Group("table", tuple(_record(labels, row, headings) for row in kept), headings, tuple(labels), written)


def _record(labels: Sequence[str], row: Sequence[str], headings: tuple[str, ...]) -> Record:
    fields = tuple(zip(labels, row, strict=False))
    return Record(_name(fields), fields, headings, text=", ".join(cell for cell in row if cell))


def _name(fields: Sequence[tuple[str, str]]) -> str:
    """The cell that names a row: one whose column says so, else the first that is text, as many begin with a number."""
    named = [value for key, value in fields if value and key in _NAMING]
    called = [value for key, value in fields if value and family(key) == "name"]
    texts = [value for key, value in fields if value and key not in NUMBERING and amount(value) is None]
    return next(iter([*named, *called, *texts, *(value for _, value in fields)]), "")


_NAMING = ("name", "full name", "title", "deal")
NUMBERING = ("id", "#", "no", "no.", "nr", "sku", "code", "number", "key", "ref", "date")
"""Labels of columns that number the rows or date them, but do not say what they are."""


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [_plain(cell.replace("\\|", "|")) for cell in re.split(r"(?<!\\)\|", inner)]


def _plain(cell: str) -> str:
    return re.sub(r"\*\*|__|`|~~", "", cell).strip()


def _json_lines(text: str) -> list[JsonValue] | None:
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip().startswith("{")] or None
    except ValueError:
        return None


def _json(value: JsonValue, headings: tuple[str, ...]) -> list[Group]:
    if len(headings) > _DEEPEST:
        return []
    if isinstance(value, dict):
        scalars = [(k.casefold(), _shown(v)) for k, v in value.items() if not isinstance(v, dict | list)]
        own = [Group("blocks", (Record(_name(scalars), tuple(scalars), headings),), headings)] if scalars else []
        nested = [g for k, v in value.items() if isinstance(v, dict | list) for g in _json(v, (*headings, k))]
        return [*own, *nested]
    if isinstance(value, list):
        objects = [item for item in value if isinstance(item, dict)]
        fields = [tuple((k.casefold(), _shown(v)) for k, v in item.items()) for item in objects]
        plain = [Record(_shown(item), headings=headings) for item in value if not isinstance(item, dict | list)]
        records = [Record(_name(f), f, headings, text=", ".join(v for _, v in f)) for f in fields] + plain
        columns = tuple(dict.fromkeys(k for f in fields for k, _ in f))
        return [Group("table", tuple(records), headings, columns)] if records else []
    return []


def _shown(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return ", ".join(map(_shown, value.values() if isinstance(value, dict) else value))
    return "" if value is None else str(value)
