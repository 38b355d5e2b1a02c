"""Which column of a list a question is about: the numbers to reckon with, the dates, the attribute it wants to know."""

from collections.abc import Iterable, Sequence
from datetime import date

from agent.models.offline.dates import dates
from agent.models.offline.numbers import Amount, amount, amounts
from agent.models.offline.questions import Question
from agent.models.offline.records import Record
from agent.models.offline.vocabulary import COLUMNS, family
from agent.models.offline.words import stem, stems, word_set

_ASKED_BY = {
    "who": ("contact", "owner"),
    "whom": ("contact", "owner"),
    "whose": ("owner",),
    "when": ("date",),
    "where": ("place",),
}
_OPERATION_WORDS = word_set("total sum cost average mean count number start end day old year lead close")
"""Words that name a column only when it is called by them: else they say what to do, or nothing."""

_NO_MEASURE = ("probability", "date", "phone", "age")
_SAMPLE = 300
"""Records that tell what kind of values a column has."""


def measure(record: Record, label: str) -> Amount | None:
    """The number in the field `label` of the record; with label "" the first number among its unlabelled parts."""
    if label:
        return amount(record.get(label)) or next(iter(amounts(record.get(label))), None)
    parts = [found for key, value in record.fields if not key and (found := amount(value))]
    return next(iter([*sorted(parts, key=lambda a: a.percent), *amounts(record.text)]), None)


def day(record: Record, label: str) -> date | None:
    """The date in the field `label` of the record; with label "" the first date in its text."""
    return next(iter(dates(record.get(label) if label else record.text)), None)


def number_label(question: Question, records: Sequence[Record]) -> str | None:
    """The label of the numbers that the question is about, "" for unlabelled ones, None when there are none."""
    records = records[:_SAMPLE]
    numeric = [label for label in _labels(records) if _mostly(_is_number(record, label) for record in records)]
    if asked := _named(question, numeric):
        return asked
    for wanted in ("value", "quantity"):
        if fitting := [label for label in numeric if family(label) == wanted]:
            return fitting[0]
    plain = [label for label in numeric if family(label) not in _NO_MEASURE and label not in ("id", "#")]
    if plain or numeric:
        return next(iter(plain), None)
    return "" if _mostly(measure(record, "") is not None for record in records) else None


def quantity_label(records: Sequence[Record]) -> str | None:
    """The label of the column that says how many there are of each, such as stock or qty."""
    return next((label for label in _labels(records[:_SAMPLE]) if family(label) == "quantity"), None)


def date_label(question: Question, records: Sequence[Record]) -> str | None:
    """The label of the dates that the question is about, "" for those in running text, None when there are none."""
    records = records[:_SAMPLE]
    dated = [label for label in _labels(records) if _mostly(day(record, label) is not None for record in records)]
    if dated:
        return _named(question, dated) or dated[0]
    return "" if any(day(record, "") for record in records) else None


def attribute(question: Question, records: Sequence[Record], used: Iterable[str]) -> str | None:
    """The label whose value the question wants to know, None when it names none."""
    labels = [label for label in _labels(records) if label not in used and not _is_naming(records, label)]
    if named := _named(question, labels):
        return named
    for word in question.words:
        for wanted in _ASKED_BY.get(word, ()):
            if fitting := [label for label in labels if family(label) == wanted]:
                return fitting[0]
    return None


def naming(question: Question, labels: Sequence[str]) -> str | None:
    """The column that holds what the question calls the things, as products do for a list that begins with a number."""
    wanted = [stem(word) for word in question.noun.split()[-1:]]
    return next((label for label in labels if wanted and stems(label) == wanted), None)


def _is_number(record: Record, label: str) -> bool:
    return measure(record, label) is not None and not dates(record.get(label))


def _labels(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(key for record in records for key, value in record.fields if key and value))


def _mostly(flags: Iterable[bool]) -> bool:
    found = list(flags)
    return bool(found) and sum(found) * 2 >= len(found)


def _is_naming(records: Sequence[Record], label: str) -> bool:
    return all(record.get(label) in ("", record.name) for record in records)


def _named(question: Question, labels: Sequence[str]) -> str | None:
    """The label the question says by its own name, or failing that by a word of the same meaning."""
    asked = [stem(word) for word in question.words]
    by_name = [(_share_named(asked, label), label) for label in labels]
    best = max(by_name, default=(0.0, ""), key=lambda pair: pair[0])
    if best[0] > 0:
        return best[1]
    meant = set(asked) - _OPERATION_WORDS
    families = [name for name, members in COLUMNS.items() if name != "name" and meant & set(members)]
    return next((label for name in families for label in labels if family(label) == name), None)


def _share_named(asked: Sequence[str], label: str) -> float:
    """How much of a label the question says; what things are called (deal, customer) names no label of theirs."""
    parts = stems(label)
    telling = [part for part in parts if part not in COLUMNS["name"]] or parts
    return sum(part in asked for part in telling) / len(telling) if telling else 0.0
