"""The rule that computes over a table and draws it: what is asked for becomes a program for the sandbox."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from pydantic import JsonValue

from agent.models.offline import chart_program
from agent.models.offline.clauses import Clause
from agent.models.offline.columns import measure, number_label
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.documents import document
from agent.models.offline.files import file_names, resolved, without
from agent.models.offline.numbers import Amount
from agent.models.offline.questions import question
from agent.models.offline.records import Group
from agent.models.offline.words import plural, stems

_TABLES = ("csv", "tsv")
_IMAGES = ("svg", "png", "jpg", "jpeg", "pdf")
_SECONDS = 120
_NOUN = r"(?:charts?|graphs?|plots?|diagrams?|histograms?|bars)\b"
_DRAW = re.compile(
    rf"(?<!\bthe )\b(?:draw|plot|visuali[sz]e|sketch)\b|"
    rf"\b(?:make|create|produce|generate|render|build|prepare|give|show|add|want|need|as|into|in|with|have)\b"
    rf"[^.?!]{{0,60}}?\b{_NOUN}|\b(?:write|save|store|export)\s+(?:me\s+)?(?:an?|the|this|that)?\s*(?:\w+\s+){{0,2}}?{_NOUN}|"
    rf"\b(?:make|create|produce|generate|render|build|prepare)\s+(?:me\s+)?(?:an?\s+|the\s+)?\x02|"
    rf"^\W*(?:(?:please|can you|could you)\s+)*(?:chart|graph)\b",
    re.IGNORECASE,
)
"""Words that ask for a drawing; \\x02 stands where an image's name stood."""
_KEPT = re.compile(
    r"^(?:please\s+|also\s+|and\s+)*(?:remember|note|keep in mind|don['’]t forget|remind|append|add .{0,40} to)\b",
    re.IGNORECASE,
)
"""What is to be written down, whatever it speaks of."""
_STORE = re.compile(
    r"^(?:please\s+|then\s+|also\s+|and\s+)*(?:save|store|put|write|call|name|keep|export)\b[^.?!]*?"
    r"\b(?:it|that|this|chart|graph|plot|diagram|image|picture|figure|result|drawing)\b",
    re.IGNORECASE,
)
_REPORT = re.compile(
    r"^(?:please\s+|then\s+|also\s+|and\s+)*(?:tell|give|show|report|send|answer|say|reply|let)\b\s*(?:me|us|back)?\s*"
    r"(?:know\s+)?(?:with\s+|what\s+)?(?:the\s+|all\s+|those\s+|these\s+)*"
    r"(?:totals?|numbers?|results?|sums?|values?|figures?|averages?|counts?|them|it)\W*(?:(?:are|is)\W*)?$",
    re.IGNORECASE,
)
_GROUPED = re.compile(
    r"\b(?:per|by|for each|for every|of each|of every|in each|for all|across|against|vs)\b", re.IGNORECASE
)
_OPERATIONS = (
    ("average", r"\b(?:average|mean|avg)\b"),
    ("count", r"\b(?:count(?:s|ing)?|number of|how many)\b"),
    ("maximum", r"\b(?:max(?:imum)?|highest|largest|biggest)\b"),
    ("minimum", r"\b(?:min(?:imum)?|lowest|smallest)\b"),
)
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One chart: columns by their position, the measure None where rows are counted."""

    path: str
    columns: int
    group: int
    measure: int | None
    operation: str
    title: str
    chart: str
    currency: str = ""


def chart_clauses(found: Sequence[Clause]) -> range:
    """The positions of the clauses that together ask for a chart; empty when none does.

    To the one that says so belong the one before it when it goes on about that, and those after it that only say where
    to put the chart or ask for the numbers in it.
    """
    for position, clause in enumerate(found):
        if not _draws(clause.text):
            continue
        first = position - 1 if position and _goes_on(clause, found[position - 1]) else position
        last = position + 1
        while last < len(found) and (_STORE.search(found[last].text) or _REPORT.search(found[last].text)):
            last += 1
        return range(first, last)
    return range(0)


def _draws(text: str) -> bool:
    names = file_names(text)
    for name in filter(_is_image, names):
        text = re.sub(rf"[\"'`“]?{re.escape(name)}", "\x02", text)
    return not _KEPT.match(text) and _DRAW.search(without(text, names)) is not None


def _goes_on(clause: Clause, before: Clause) -> bool:
    """Whether what is to be drawn was said in the clause before."""
    if _tables(file_names(clause.text)):
        return False
    said = _GROUPED.search(before.text) or _tables(file_names(before.text))
    return clause.refers_back() or (bool(said) and not _GROUPED.search(clause.text))


class Charts:
    """Draws for one message."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def answer(self, text: str, files: Sequence[str]) -> str:
        """The numbers and where the chart is; '' when there is no table to draw. `files` are what "it" may mean."""
        path = self._table(text, files)
        if not path:
            return ""
        if not self._desk.has("run_python"):
            return "I cannot draw that: my profile turns the capability compute off, so I cannot run a program."
        path, table = self._read(path)
        wanted = _wanted(text, path, table)
        result = self._desk.use("run_python", code=_program(wanted), timeout=_SECONDS)
        return _reply(wanted, result)

    def _table(self, text: str, files: Sequence[str]) -> str:
        names = file_names(text)
        if named := _tables([*names, *files]):
            return named[0]
        if not all(map(_is_image, names)):
            return ""  # something else is to be drawn than a table
        known = self._desk.paths()
        named, tables = _tables(file_names(text, known)), _tables(known)
        return next(iter(named), "") or (tables[0] if len(tables) == 1 else "")

    def _read(self, path: str) -> tuple[str, Group]:
        """The table as its beginning shows it; a name that is nearly right is put right."""
        try:
            text = str(self._desk.use("read_file", path=path).get("content", ""))
        except ToolFailed:
            better = resolved(path, self._desk.paths())
            if better == path:
                raise
            path, text = better, str(self._desk.use("read_file", path=better).get("content", ""))
        groups = document(path, text).groups
        if not groups or not groups[0].records or not any(groups[0].columns):
            raise ToolFailed(f"{path} is not a table with a line of headings and rows below it")
        return path, groups[0]


def _tables(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.casefold().endswith(_TABLES)]


def _is_image(name: str) -> bool:
    return name.casefold().endswith(_IMAGES)


def _wanted(text: str, path: str, table: Group) -> _Wanted:
    """Read which columns are meant; raises `ToolFailed` when no numbers are there to draw."""
    names = file_names(text)
    said = without(text, names)
    labels = list(table.columns)
    operation = next((name for name, pattern in _OPERATIONS if re.search(pattern, said, re.IGNORECASE)), "total")
    by = _group_label(said, labels)
    of = _measure_label(said, table, [label for label in labels if label != by])
    if of is None and operation != "count":
        raise ToolFailed(f"{path} has no column of numbers to draw")
    by = by or next((label for label in labels if label != of and not _is_number(table, label)), labels[0])
    counting = operation == "count"
    title = f"{'Number of rows' if counting else f'{operation.capitalize()} of {of}'} per {by}"
    image = next(filter(_is_image, names), "")
    stem = path.rpartition(".")[0].rpartition("/")[2]
    amounts = [] if counting or of is None else [found for r in table.records if (found := measure(r, of))]
    return _Wanted(
        path=path,
        columns=len(labels),
        group=labels.index(by),
        measure=None if counting or of is None else labels.index(of),
        operation=operation,
        title=title,
        chart=image or f"charts/{stem}-{'-'.join(stems(by)) or 'chart'}",
        currency=amounts[0].currency if amounts else "",
    )


def _group_label(said: str, labels: Sequence[str]) -> str:
    """The column named behind such words as "per"; the nearest one."""
    for match in _GROUPED.finditer(said):
        behind = stems(said[match.end() :])[:5]
        placed = [(at, -len(label), label) for label in labels if (at := _at(behind, label)) >= 0]
        if placed:
            return min(placed)[2]
    return ""


def _measure_label(said: str, table: Group, labels: Sequence[str]) -> str | None:
    """The column of numbers that is named, else the one that such a question is usually about."""
    numeric = [label for label in labels if label and _is_number(table, label)]
    spoken = stems(said)
    named = [(-len(stems(label)), _at(spoken, label), label) for label in numeric if _at(spoken, label) >= 0]
    if named:
        return min(named)[2]
    usual = number_label(question(said), table.records)
    return usual if usual in numeric else next(iter(numeric), None)


def _at(spoken: Sequence[str], label: str) -> int:
    """Where the words of a label begin among those spoken, -1 when they are not there."""
    parts = stems(label)
    places = range(len(spoken) - len(parts) + 1) if parts else range(0)
    return next((at for at in places if list(spoken[at : at + len(parts)]) == parts), -1)


def _is_number(table: Group, label: str) -> bool:
    values = [value for record in table.records[:100] if (value := record.get(label))]
    return bool(values) and sum(chart_program.number(value) is not None for value in values) * 2 > len(values)


@cache
def _source() -> str:
    return Path(chart_program.__file__).read_text()


def _program(wanted: _Wanted) -> str:
    """The program with what is asked for, as data that cannot end the string it stands in."""
    names = ("path", "columns", "group", "measure", "operation", "title", "chart")
    ask = json.dumps({name: getattr(wanted, name) for name in names})
    return f"{_source()}\n\nimport json\n\nprint(json.dumps(chart(json.loads({ask!r}))))\n"


def _reply(wanted: _Wanted, result: dict[str, JsonValue]) -> str:
    try:
        found = json.loads(str(result.get("output", "")))
    except ValueError:
        raise ToolFailed(_why(result)) from None
    lines = [f"- {name}: {Amount(Decimal(value), wanted.currency)}" for name, value in found["groups"][:_MOST_NAMED]]
    unsaid = len(found["groups"]) - len(lines) + found["more"]
    rows = found["rows"]
    skipped = f" {found['skipped']} of them have no number there." if found["skipped"] else ""
    if not lines:
        return f"{wanted.path} has {rows} {plural('rows', rows)} and nothing to draw."
    return "\n".join([
        f"{wanted.title} in {wanted.path} ({rows} {plural('rows', rows)}):{skipped}",
        *lines,
        *([f"and {unsaid} more"] if unsaid else []),
        "",
        _where(wanted, found["chart"]),
    ])  # fmt: skip


def _where(wanted: _Wanted, path: str) -> str:
    drawn = f"I drew that as a bar chart into {path}."
    if wanted.chart.rpartition("/")[2].count(".") and path != wanted.chart:
        return f"{drawn} For {wanted.chart} Python needs matplotlib here: `empla compute packages add matplotlib`."
    return drawn


def _why(result: dict[str, JsonValue]) -> str:
    """The last line of a traceback, else how the run ended."""
    error = str(result.get("error", "")).strip().splitlines()
    return f"Python {result.get('end') or 'gave no answer'}{': ' + error[-1] if error else ''}"
