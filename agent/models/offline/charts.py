"""The rule that computes over a table and draws it: what is asked for becomes a program for the sandbox."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from functools import cache
from pathlib import Path

from pydantic import JsonValue

from agent.models.offline import chart_program
from agent.models.offline.chart_wanted import NotDrawn, Wanted, is_image, wanted
from agent.models.offline.clauses import Clause
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.documents import document
from agent.models.offline.files import file_names, leads_out, resolved, without
from agent.models.offline.numbers import Amount
from agent.models.offline.records import Group
from agent.models.offline.replies import DREW, outside
from agent.models.offline.words import joined, plural

_TABLES = ("csv", "tsv")
_SECONDS = 120
_NOUN = r"(?:charts?|graphs?|plots?|diagrams?|histograms?|pies?|bars)\b"
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
_MOST_NAMED = 20


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
    for name in filter(is_image, names):
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
        if out := [name for name in file_names(text) if leads_out(name) or name.startswith("~")]:
            return outside(out[:1])
        if not self._desk.has("run_python"):
            return "I cannot draw that: my profile turns the capability compute off, so I cannot run a program."
        names = file_names(text)
        if target := _unusable(text, names):
            return f"I drew nothing: a chart goes into an image such as chart.svg, not into {target}."
        path, table = self._read(path)
        try:
            asked = wanted(text, path, table)
        except NotDrawn as why:
            return f"I drew nothing: {why}."
        result = self._desk.use("run_python", code=_program(asked), timeout=_SECONDS)
        return _reply(asked, result, _others(names, path))

    def _table(self, text: str, files: Sequence[str]) -> str:
        names = file_names(text)
        if named := _tables([*names, *files]):
            return named[0]
        if not all(map(is_image, names)):
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


def _unusable(text: str, names: Sequence[str]) -> str:
    """The file named as the place for the chart that is no image, "" when there is none."""
    for name in names:
        leading = r"into|to|as|called|named" + ("" if _tables([name]) else "|in|at")
        led = rf"\b(?:{leading})\s+(?:(?:the|a|an|file)\s+)*[\"'`“]?{re.escape(name)}"
        if not is_image(name) and re.search(led, text, re.IGNORECASE):
            return name
    return ""


def _others(names: Sequence[str], path: str) -> list[str]:
    """That other tables were named than the one that is drawn."""
    other = [
        name for name in _tables(names) if name.rpartition("/")[2].casefold() != path.rpartition("/")[2].casefold()
    ]
    return [f"I drew {path} only, not {joined(other)}: ask for one file at a time."] if other else []


@cache
def _source() -> str:
    return Path(chart_program.__file__).read_text()


def _program(wanted: Wanted) -> str:
    """The program with what is asked for, as data that cannot end the string it stands in."""
    ask = json.dumps(asdict(wanted))
    return f"{_source()}\n\nimport json\n\nprint(json.dumps(chart(json.loads({ask!r}))))\n"


def _reply(wanted: Wanted, result: dict[str, JsonValue], notes: Sequence[str]) -> str:
    try:
        found = json.loads(str(result.get("output", "")))
    except ValueError:
        raise ToolFailed(_why(result)) from None
    lines = [f"- {name}: {Amount(Decimal(value), wanted.currency)}" for name, value in found["groups"][:_MOST_NAMED]]
    unsaid = len(found["groups"]) - len(lines) + found["more"]
    rows = found["rows"]
    if not lines:
        return f"{wanted.path} has {rows} {plural('rows', rows)} and nothing to draw."
    return "\n".join([
        f"{wanted.title} in {wanted.path} ({rows} {plural('rows', rows)}):{_skipped(wanted, found['skipped'])}",
        *lines,
        *([f"and {unsaid} more"] if unsaid else []),
        "",
        _where(wanted, found["chart"]),
        *wanted.notes,
        *notes,
    ])  # fmt: skip


def _skipped(wanted: Wanted, count: int) -> str:
    if not count:
        return ""
    have, are = ("has", "is") if count == 1 else ("have", "are")
    return f" {count} of them {have} no number in {wanted.measured} and {are} left out."


def _where(wanted: Wanted, path: str) -> str:
    if not path:
        return f"The program ended, but left no file {wanted.chart}."
    drawn = f"{DREW} {path}."
    if wanted.chart.rpartition("/")[2].count(".") and path != wanted.chart:
        return f"{drawn} For {wanted.chart} Python needs matplotlib here: `empla compute packages add matplotlib`."
    return drawn


def _why(result: dict[str, JsonValue]) -> str:
    """The last line of a traceback, else how the run ended."""
    error = str(result.get("error", "")).strip().splitlines()
    return f"Python {result.get('end') or 'gave no answer'}{': ' + error[-1] if error else ''}"
