"""Answers about listed things, as sentences."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal

from agent.models.offline.evaluate import (
    Selection,
    average,
    days,
    described,
    grouped,
    median,
    mixed_currencies,
    numbers,
    total,
    wanted_attribute,
)
from agent.models.offline.grouping import by_groups, no_number
from agent.models.offline.numbers import Amount
from agent.models.offline.questions import Operation
from agent.models.offline.records import Record
from agent.models.offline.states import is_state_word, state
from agent.models.offline.words import joined, plural, stem, stems

NO_DATES = "There are no dates to go by"
_MOST_NAMES = 12
_MOST_LINES = 40
_RANKED = {2: "second ", 3: "third ", 4: "fourth ", 5: "fifth "}


def answer(selection: Selection) -> str | None:
    """The answer to the selection's question, None when the records cannot give one."""
    return by_groups(selection) or _ANSWERS[selection.question.operation](selection)


def _where(selection: Selection) -> str:
    return joined(selection.paths)


def _things(selection: Selection, count: int) -> str:
    """What the records are called, such as "open deals"."""
    noun = _noun(selection) or _default_noun(selection)
    states = [word for word in selection.states() if word not in noun.split()]
    head = [*states, *noun.split()]
    if is_state_word(head[-1]):
        head.append("entries")
    return " ".join([*head[:-1], plural(head[-1], count)])


def _noun(selection: Selection) -> str:
    """The question's noun up to the last word that the lists know, without words for a number's label."""
    found = [
        word for word in selection.question.noun.split() if not is_state_word(word)
    ] and selection.question.noun.split()
    group = selection.readings[0].group
    known = group.topic() | {part for path in selection.paths for part in stems(path)}
    ends = [index for index, word in enumerate(found) if stem(word) in known]
    if ends:
        return " ".join(found[: ends[-1] + 1])
    return "" if any(stem(word) in stems(label) for word in found for label in group.labels()) else " ".join(found)


def _default_noun(selection: Selection) -> str:
    column = selection.readings[0].group.columns[:1]
    return column[0] if column and column[0].isalpha() and stem(column[0]) not in ("name", "id", "title") else "entries"


def _names(records: Sequence[Record]) -> str:
    return joined(list(dict.fromkeys(record.name for record in records)), _MOST_NAMES)


def _count(selection: Selection) -> str:
    found = grouped(selection)
    if found:
        lines = [f"- {value}: {len(records)}" for value, records in found[1].items()]
        return f"{_where(selection)} by {found[0]}:\n" + "\n".join(lines)
    if unknown := selection.unknown():
        return f"{_where(selection)} marks none as {unknown}; it lists {len(selection.pool)} {_things(selection, 2)} in all."
    count = len(selection.chosen)
    verb = "lists" if len(selection.paths) == 1 else "list"
    tail = f": {_names(selection.chosen)}" if selection.chosen else f" (of {len(selection.pool)} in all)"
    return f"{_where(selection)} {verb} {count or 'no (0)'} {_things(selection, count)}{_bound(selection)}{tail}."


def _share(selection: Selection) -> str | None:
    if not selection.pool or not selection.filtered:
        return None
    share = Amount(Decimal(100 * len(selection.chosen)) / len(selection.pool), percent=True).shown(1)
    kind = " ".join(selection.states()) or "of that kind"
    counts = f"{len(selection.chosen)} of {len(selection.pool)} in {_where(selection)}"
    names = f": {_names(selection.chosen)}" if selection.chosen else ""
    return f"{share} are {kind} ({counts}{names})."


def _bound(selection: Selection) -> str:
    text = re.search(
        r"\b(?:over|above|under|below|more than|less than|at least|at most|between|before|after|since|"
        r"until|due)\b.*?(?=[?.!]?\s*$)",
        selection.question.text,
        re.IGNORECASE,
    )
    bounded = selection.question.comparisons or selection.question.periods
    return f" {text[0]}" if text and bounded and len(text[0]) < 60 else ""


def _label(label: str) -> str:
    return label or "value"


def _of(selection: Selection, records: Sequence[Record]) -> str:
    """Such as `of the 3 open deals in pipeline.csv`, or of the one record by its name."""
    if len(records) == 1:
        return f"of {records[0].name} in {_where(selection)}"
    return f"of the {len(records)} {_things(selection, len(records))}{_bound(selection)} in {_where(selection)}"


def _sum(selection: Selection) -> str | None:
    found = numbers(selection)
    if found is None:
        return None
    label, valued = found
    if not valued:
        return f"{_where(selection)} has no {_things(selection, 2)} with a {_label(label)}: the total is 0."
    values = [value for _, value in valued]
    if mixed_currencies(values):
        return f"The {_label(label)} is given in several currencies: {_per_currency(values)}."
    parts = joined([f"{record.name} {value}" for record, value in valued], _MOST_NAMES)
    records = [record for record, _ in valued]
    if len(valued) == 1:
        return f"The {_label(label)} {_of(selection, records)} is {values[0]}."
    told = f"The total {_label(label)} {_of(selection, records)} is {total(values)} ({parts})."
    return told + no_number(len(selection.chosen) - len(valued), label)


def _per_currency(values: Sequence[Amount]) -> str:
    currencies = dict.fromkeys(value.currency for value in values)
    return joined([str(total([v for v in values if v.currency == currency])) for currency in currencies])


def _middle(selection: Selection) -> str | None:
    found = numbers(selection)
    if not found or not found[1]:
        return None
    label, valued = found
    values = [value for _, value in valued]
    result = (median if selection.question.operation == "median" else average)(values).shown(2)
    told = f"The {selection.question.operation} {_label(label)} {_of(selection, [r for r, _ in valued])} is {result}."
    return told + no_number(len(selection.chosen) - len(valued), label)


def _extreme(selection: Selection) -> str | None:
    largest = selection.question.operation == "max"
    dated = days(selection) if selection.question.by_date else None
    ranked: list[tuple[Record, str]]
    if dated and dated[1]:
        ordered = sorted(dated[1], key=lambda pair: pair[1], reverse=largest)
        label, ranked = dated[0], [(record, day.isoformat()) for record, day in ordered[selection.question.rank - 1 :]]
    elif selection.question.by_date:
        return _by_place(selection)
    else:
        found = numbers(selection)
        if not found or not found[1]:
            return None
        by_value = sorted(found[1], key=lambda pair: pair[1].value, reverse=largest)[selection.question.rank - 1 :]
        if not by_value:
            return None
        label, ranked = found[0], _with_ties(by_value, selection.question.limit)
    return _ranking(selection, label, ranked)


def _by_place(selection: Selection) -> str | None:
    """The last or the first as the file lists them, where there are no dates to go by."""
    if not selection.chosen:
        return None
    place = "last" if selection.question.operation == "max" else "first"
    record = selection.chosen[-1 if place == "last" else 0]
    return f"{NO_DATES}; the {place} one listed in {_where(selection)} is {described(record)}."


def _with_ties(ordered: Sequence[tuple[Record, Amount]], limit: int) -> list[tuple[Record, str]]:
    """The first `limit`, for one also those equal to it."""
    edge: Decimal = ordered[min(limit, len(ordered)) - 1][1].value
    kept = [pair for i, pair in enumerate(ordered) if i < limit or (limit == 1 and pair[1].value == edge)]
    return [(record, str(value)) for record, value in kept]


def _ranking(selection: Selection, label: str, ranked: Sequence[tuple[Record, str]]) -> str:
    limit = selection.question.limit
    side = _RANKED.get(selection.question.rank, "") + ("highest" if selection.question.operation == "max" else "lowest")
    if selection.question.by_date and label:
        side = "latest" if selection.question.operation == "max" else "earliest"
    if limit > 1:
        lines = [f"{place}. {record.name}: {value}" for place, (record, value) in enumerate(ranked[:limit], 1)]
        return f"The {len(lines)} with the {side} {_label(label)} in {_where(selection)}:\n" + "\n".join(lines)
    names = joined([record.name for record, value in ranked if value == ranked[0][1]])
    verb = "have" if len([1 for _, value in ranked if value == ranked[0][1]]) > 1 else "has"
    pool = f"of the {len(selection.chosen)} {_things(selection, 2)} " if len(selection.chosen) > 1 else ""
    return f"{names} {verb} the {side} {_label(label)} {pool}in {_where(selection)}: {ranked[0][1]}."


def _check(selection: Selection) -> str | None:
    wanted = [f for reading in selection.readings for f in reading.filters if f.kind == "state"]
    named = [f for reading in selection.readings for f in reading.filters if f.kind == "value"]
    if not wanted:
        return _attribute(selection)
    subjects = [record for record in selection.pool if not named or any(f.holds(record) for f in named)]
    if not named or len(subjects) != 1:
        yes = "Yes" if selection.chosen else "No"
        return f"{yes}: {_count(selection)}"
    yes = "Yes" if selection.chosen else "No"
    return f"{yes}, {_where(selection)} has {subjects[0].name} as {state(subjects[0]) or 'unknown'}."


def _attribute(selection: Selection) -> str | None:
    label = wanted_attribute(selection)
    if label is None or not selection.chosen or not (selection.filtered or len(selection.pool) == 1):
        return None
    known = [(record.name, record.get(label)) for record in selection.chosen if record.get(label)]
    if len(known) == 1:
        return f"The {label} for {known[0][0]} is {known[0][1]} (from {_where(selection)})."
    lines = [f"- {name}: {value}" for name, value in known[:_MOST_LINES]]
    return f"{label.capitalize()} in {_where(selection)}:\n" + "\n".join(lines) if known else None


def _list(selection: Selection) -> str:
    if not selection.chosen:
        return f"{_where(selection)} lists no {_things(selection, 2)} of that kind (of {len(selection.pool)} in all)."
    lines = [f"- {described(record)}" for record in selection.chosen[:_MOST_LINES]]
    if len(selection.chosen) > _MOST_LINES:
        lines.append(f"- and {len(selection.chosen) - _MOST_LINES} more")
    count = len(selection.chosen)
    return f"{count} {_things(selection, count)} in {_where(selection)}:\n" + "\n".join(lines)


def _listed(selection: Selection) -> str:
    return _attribute(selection) or _list(selection)


def _looked_up(selection: Selection) -> str | None:
    if answered := _attribute(selection):
        return answered
    if len(selection.chosen) == 1 and selection.filtered:
        return f"{_spelled(selection.chosen[0])} (from {_where(selection)})."
    return _list(selection) if selection.filtered else None


def _spelled(record: Record) -> str:
    parts = [f"{key} {value}" if key else value for key, value in record.fields if value and value != record.name]
    return f"{record.name}: {', '.join(parts)}" if parts else described(record)


_ANSWERS: dict[Operation, Callable[[Selection], str | None]] = {
    "count": _count,
    "share": _share,
    "sum": _sum,
    "average": _middle,
    "median": _middle,
    "max": _extreme,
    "min": _extreme,
    "check": _check,
    "list": _listed,
    "lookup": _looked_up,
}
