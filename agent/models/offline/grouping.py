"""Questions about groups of listed things: a number for each region, or the region with the highest total."""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Literal

from agent.models.offline.columns import number_label
from agent.models.offline.evaluate import Selection, average, grouped, median, mixed_currencies, numbers, total
from agent.models.offline.numbers import Amount
from agent.models.offline.records import Record
from agent.models.offline.vocabulary import family
from agent.models.offline.words import NUMBER_WORDS, STOP, joined, plural, stem, stems, word_set

_Kind = Literal["Total", "Average", "Median", "Highest", "Lowest", "Number"]
_REDUCED: dict[_Kind, Callable[[Sequence[Amount]], Amount]] = {
    "Total": total,
    "Average": average,
    "Median": median,
    "Highest": lambda values: max(values, key=lambda one: one.value),
    "Lowest": lambda values: min(values, key=lambda one: one.value),
}
_BY_OPERATION: dict[str, _Kind] = {
    "sum": "Total", "average": "Average", "median": "Median", "max": "Highest", "min": "Lowest", "count": "Number"
}  # fmt: skip
_SUMMED = re.compile(r"\b(?:total|sum|overall|altogether|combined)\b", re.IGNORECASE)
_ONE = re.compile(r"\b(?:single|individual|one)\b", re.IGNORECASE)
_LEAST = re.compile(r"\b(?:lowest|smallest|least|fewest|bottom|minimum|min|worst)\b", re.IGNORECASE)
_MOST = re.compile(
    r"\b(?:highest|largest|biggest|greatest|most|maximum|max|top|best)\b(?!\s+(?:recent|expensive|important))",
    re.IGNORECASE,
)
_ASKED = re.compile(
    rf"\b(?:which|what|top|bottom)\s+(?:(?:is|are|were|was|the|top|bottom|\d+|{'|'.join(NUMBER_WORDS)})\s+)*(?P<noun>[\w-]+)",
    re.IGNORECASE,
)
_MOST_OF = re.compile(r"\b(?:most|fewest|least)\s+(?P<noun>[\w-]+)", re.IGNORECASE)
_RECORDS = word_set("row entry record line item order deal customer task ticket contract transaction project")
_EXPLICIT = re.compile(
    r"\b(?:per|(?:for|in|by|of) (?:each|every)|grouped by|broken down by)\s+(?P<label>[\w-]+)", re.IGNORECASE
)
_NO_COLUMN = STOP | word_set(
    "cent unit seat piece hour person capita head item entry row record deal day week month year"
)
_MOST_LINES = 40


def by_groups(selection: Selection) -> str | None:
    """The answer to a question about groups; None when it is about the things themselves."""
    if selection.question.by_date or selection.question.operation not in _BY_OPERATION:
        return None
    found, named = _groups(selection)
    if not found:
        return _no_column(selection)
    side = _side(selection)
    inner = _inner(selection)
    if named and not side:
        return None
    if named or (side and inner):
        return _ranked(selection, found, inner or "Total", side)
    return _listed(selection, found, _BY_OPERATION[selection.question.operation])


def _groups(selection: Selection) -> tuple[tuple[str, dict[str, list[Record]]] | None, bool]:
    """The groups, and whether it is one of them that is asked for, by the column that the question calls for."""
    found = grouped(selection)
    if found and found[0] != number_label(selection.question, selection.pool):
        return found, False
    label = _asked_column(selection)
    if not label or _ONE.search(selection.question.text):
        return None, False
    groups: dict[str, list[Record]] = {}
    for record in selection.chosen:
        groups.setdefault(record.get(label) or "(none)", []).append(record)
    return ((label, groups), True) if len(groups) < len(selection.chosen) else (None, False)


def _asked_column(selection: Selection) -> str:
    """The column of the things that "which region" or "who" asks for."""
    text = selection.question.text
    labels = list(dict.fromkeys(key for record in selection.pool[:300] for key, _ in record.fields if key))
    nouns = [stems(match["noun"]) for match in _ASKED.finditer(text)]
    if named := next((label for noun in nouns for label in labels if stems(label) == noun), ""):
        return named
    who = re.search(r"\bwho\b", text, re.IGNORECASE)
    return next((label for label in labels if who and family(label) in ("contact", "owner")), "")


def _side(selection: Selection) -> Literal["", "highest", "lowest"]:
    text = selection.question.text
    return "lowest" if _LEAST.search(text) else "highest" if _MOST.search(text) else ""


def _inner(selection: Selection) -> _Kind | None:
    """What is worked out of each group before the groups are compared."""
    operation, text = selection.question.operation, selection.question.text
    if operation in ("average", "median", "count"):
        return _BY_OPERATION[operation]
    noun = _MOST_OF.search(text)
    if noun and stem(noun["noun"].casefold()) in _RECORDS:
        return "Number"
    return "Total" if _SUMMED.search(text) else None


def _reduced(
    selection: Selection, groups: Mapping[str, Sequence[Record]], kind: _Kind
) -> tuple[str, dict[str, Amount], int]:
    """The label of the numbers, the number of each group, how many records have none."""
    if kind == "Number":
        return "", {name: Amount(Decimal(len(records))) for name, records in groups.items()}, 0
    label, valued = numbers(selection) or ("", [])
    own = {id(record): value for record, value in valued}
    sets = {name: [own[id(one)] for one in records if id(one) in own] for name, records in groups.items()}
    without = sum(map(len, groups.values())) - len(valued)
    return label, {name: _REDUCED[kind](values) for name, values in sets.items() if values}, without


def _listed(selection: Selection, found: tuple[str, dict[str, list[Record]]], kind: _Kind) -> str | None:
    if kind == "Number":
        return None
    label, worked_out, without = _reduced(selection, found[1], kind)
    if not worked_out:
        return None
    if refused := _mixed(selection, label):
        return refused
    lines = [f"- {name}: {value.shown(2)}" for name, value in [*worked_out.items()][:_MOST_LINES]]
    more = [f"- and {len(worked_out) - _MOST_LINES} more"] if len(worked_out) > _MOST_LINES else []
    head = f"{kind} {selection.title(label) or 'value'} by {selection.title(found[0])} in {joined(selection.paths)}:"
    return "\n".join([head + no_number(without, selection.title(label)), *lines, *more])


def _ranked(selection: Selection, found: tuple[str, dict[str, list[Record]]], kind: _Kind, side: str) -> str | None:
    label, worked_out, without = _reduced(selection, found[1], kind)
    if not worked_out:
        return None
    if refused := _mixed(selection, label):
        return refused
    ordered = sorted(worked_out.items(), key=lambda one: one[1].value, reverse=side == "highest")
    what = "number of rows" if kind == "Number" else f"{kind.casefold()} {selection.title(label) or 'value'}"
    column, where = selection.title(found[0]), joined(selection.paths)
    rank, limit = selection.question.rank, selection.question.limit
    if limit > 1 or rank > 1:
        kept = ordered[rank - 1 : rank - 1 + limit]
        lines = [f"{place}. {name}: {value.shown(2)}" for place, (name, value) in enumerate(kept, rank)]
        head = f"By {column}, the {side} {what} in {where}:{no_number(without, selection.title(label))}"
        return "\n".join([head, *lines])
    best = [name for name, value in ordered if value.value == ordered[0][1].value]
    rest = [f"{name} {value.shown(2)}" for name, value in ordered[len(best) :]]
    others = f" ({joined(rest)})" if rest else ""
    verb = "has" if len(best) == 1 else "have"
    told = f"{joined(best)} {verb} the {side} {what} by {column} in {where}: {ordered[0][1].shown(2)}{others}."
    return told + no_number(without, selection.title(label))


def no_number(count: int, label: str) -> str:
    """That some of the rows have no number in the column, "" when all have; with a space before it."""
    if count <= 0 or not label:
        return ""
    return f" {count} {plural('rows', count)} {'has' if count == 1 else 'have'} no number in {label}."


def _mixed(selection: Selection, label: str) -> str:
    values = [value for _, value in (numbers(selection) or ("", []))[1]]
    if not label or not mixed_currencies(values):
        return ""
    return f"The {selection.title(label)} is given in several currencies, so I did not put it together by group."


def _no_column(selection: Selection) -> str | None:
    """That a table has no column of the name that its rows are to be grouped by."""
    match = _EXPLICIT.search(selection.question.text)
    columns = selection.readings[0].group.columns
    if match is None or not any(columns) or match["label"].casefold() in _NO_COLUMN:
        return None
    if any(stem(match["label"].casefold()) in stems(column) for column in columns):
        return None
    titles = joined([selection.title(column) for column in columns if column], 20)
    return f"{joined(selection.paths)} has no column “{match['label']}” to go by; its columns are {titles}."
