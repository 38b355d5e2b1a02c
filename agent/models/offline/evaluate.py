"""Questions about listed things, worked out over the records of some documents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from agent.models.offline.columns import attribute, date_label, day, measure, naming, number_label, quantity_label
from agent.models.offline.numbers import Amount
from agent.models.offline.questions import Operation, Question
from agent.models.offline.reading import Reading, literal_states, read
from agent.models.offline.records import Document, Group, Record
from agent.models.offline.states import is_structural, state
from agent.models.offline.vocabulary import PLAIN_STATES
from agent.models.offline.words import STOP, stem, stems

_NEAR = 2.0
"""From this on the topic is said by the group's own heading or columns, not only by the file around it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The records a question is about: `chosen` of `pool`, with how it was read and in which files they stand."""

    question: Question
    readings: tuple[Reading, ...]
    pool: tuple[Record, ...]
    chosen: tuple[Record, ...]

    @property
    def paths(self) -> list[str]:
        """The files that the records stand in."""
        return list(dict.fromkeys(reading.document.path for reading in self.readings))

    @property
    def filtered(self) -> bool:
        """Whether the question narrowed the records down by anything."""
        bounded = self.question.comparisons or self.question.periods
        return bool(bounded) or any(reading.filters for reading in self.readings)

    @property
    def score(self) -> float:
        """How well the question fits; under 1 is a guess."""
        return max((reading.score for reading in self.readings), default=0.0)

    @property
    def topic(self) -> float:
        """How well the lists say themselves that they are about what is asked; under 1 they do not."""
        return max((reading.topic for reading in self.readings), default=0.0)

    def title(self, label: str) -> str:
        """The label as the first list that has it writes it."""
        titles = (reading.group.title(label) for reading in self.readings if label in reading.group.columns)
        return next(titles, label)

    def states(self) -> list[str]:
        """The state words asked for, such as open, with "not" before those ruled out."""
        filters = [f for reading in self.readings for f in reading.filters if f.kind == "state"]
        return list(dict.fromkeys(("not " if f.negated else "") + f.words[0] for f in filters))

    def unknown(self) -> str:
        """A word that narrows the noun down, as in "urgent tasks", of which the records know nothing."""
        known = {one for r in self.readings for one in r.understood | r.group.topic()}
        known |= {part for r in self.readings for label in r.group.labels() for part in stems(label)}
        known |= {part for r in self.readings for text in (*r.group.headings, r.document.path) for part in stems(text)}
        known |= {part for record in self.pool[:500] for part in stems(record.text)}
        modifiers = [word for word in self.question.noun.split()[:-1] if word not in STOP]
        return next((word for word in modifiers if stem(word) not in known), "")


def select(question: Question, documents: Sequence[Document]) -> Selection | None:
    """The records that `question` is about; None when no group of the documents has anything to do with it."""
    found = [(document, _renamed(question, g)) for document in documents for g in document.groups if g.records]
    literal = literal_states(question, [group for _, group in found])
    kept = _fitting(question, [read(question, document, group, literal) for document, group in found])
    if not kept:
        return None
    pool, chosen = _records(question, kept)
    return Selection(question, tuple(kept), tuple(pool), tuple(chosen))


def numbers(selection: Selection) -> tuple[str, list[tuple[Record, Amount]]] | None:
    """The label and the numbers that the question is about, of each chosen record that has one."""
    counted = quantity_label(selection.pool) if selection.question.of_stock else None
    label = counted or number_label(selection.question, selection.pool)
    if label is None:
        return None
    return label, [(record, found) for record in selection.chosen if (found := measure(record, label))]


def days(selection: Selection) -> tuple[str, list[tuple[Record, date]]] | None:
    """The label and the dates that the question is about, of each chosen record that has one."""
    label = date_label(selection.question, selection.pool)
    if label is None:
        return None
    return label, [(record, found) for record in selection.chosen if (found := day(record, label))]


def wanted_attribute(selection: Selection) -> str | None:
    """The label whose value is asked for."""
    used = {f.label for reading in selection.readings for f in reading.filters if f.kind == "value"}
    return attribute(selection.question, selection.pool, used)


def result(selection: Selection) -> Amount | None:
    """The one number that answers a sum, an average or alike, None when the question asks for another thing."""
    if selection.question.operation == "count":
        return Amount(Decimal(len(selection.chosen)))
    found = numbers(selection)
    reckoning = _REDUCED.get(selection.question.operation)
    return reckoning([value for _, value in found[1]]) if found and found[1] and reckoning else None


def grouped(selection: Selection) -> tuple[str, dict[str, list[Record]]] | None:
    """The label the question wants a breakdown by, and the chosen records of each of its values."""
    by = stem(selection.question.group_by)
    labels = [key for record in selection.pool for key, _ in record.fields if key]
    label = next((one for one in labels if by and by in stems(one)), None)
    if label is None:
        return None
    found: dict[str, list[Record]] = {}
    for record in selection.chosen:
        found.setdefault(record.get(label) or "(none)", []).append(record)
    return label, found


def total(values: Sequence[Amount]) -> Amount:
    """The sum, in the currency of the first that has one."""
    return _kind(values).of(sum((one.value for one in values), Decimal(0)))


def average(values: Sequence[Amount]) -> Amount:
    """The mean of at least one amount."""
    return _kind(values).of(total(values).value / len(values))


def median(values: Sequence[Amount]) -> Amount:
    """The middle of at least one amount."""
    ordered = sorted(one.value for one in values)
    half = len(ordered) // 2
    middle = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return _kind(values).of(middle)


def mixed_currencies(values: Sequence[Amount]) -> bool:
    """Whether the amounts are of more than one currency, so that a sum of them means nothing."""
    return len({one.currency for one in values if one.currency}) > 1


_REDUCED: dict[Operation, Callable[[Sequence[Amount]], Amount]] = {
    "sum": total,
    "average": average,
    "median": median,
    "max": lambda values: max(values, key=lambda one: one.value),
    "min": lambda values: min(values, key=lambda one: one.value),
}


def _kind(values: Sequence[Amount]) -> Amount:
    return next((one for one in values if one.currency), values[0]) if values else Amount(Decimal(0))


def _renamed(question: Question, group: Group) -> Group:
    """The group with each record called by what the question asks for: products by the product, not by a number."""
    label = naming(question, group.columns)
    if label is None or any(measure(one, label) for one in group.records[:20]):
        return group
    return replace(group, records=tuple(replace(one, name=one.get(label) or one.name) for one in group.records))


def _fitting(question: Question, readings: Sequence[Reading]) -> list[Reading]:
    """The groups that can answer at all: the best by topic, or where none has the topic, those that fit best."""
    able = [reading for reading in readings if _is_able(question, reading)]
    best = max((reading.topic if reading.topic >= 1 else 0 for reading in able), default=0.0)
    tied = [reading for reading in able if best in (0, reading.topic)]
    if best < _NEAR:
        tied = _most([reading for reading in tied if reading.group.is_rich()] or tied)
    return _firm(_most(tied) if any(_places(reading) for reading in tied) else tied)


def _most(readings: list[Reading]) -> list[Reading]:
    """Those in which the question's words find the most places."""
    most = max(map(_places, readings), default=0)
    return [reading for reading in readings if _places(reading) == most]


def _places(reading: Reading) -> int:
    """How many of the question's words stand in a place of their own in the group: whole names count by their words."""
    return sum(map(len, {f.words for f in reading.filters if f.kind != "word"}))


def _firm(readings: list[Reading]) -> list[Reading]:
    """Where a state is asked for, the groups that have a place for it, if there are any."""
    stateful = [reading for reading in readings if any(f.kind == "state" for f in reading.filters)]
    firm = [reading for reading in stateful if any(map(is_structural, reading.group.records))]
    return firm or stateful or readings


def _is_able(question: Question, reading: Reading) -> bool:
    """Whether the group has what the question needs: the states it asks for, numbers to reckon with."""
    records = reading.group.records
    if any(word in PLAIN_STATES for word in question.words):
        firm = any(map(is_structural, records))
        if not firm and (reading.topic < _NEAR or not any(map(state, records))):
            return any(f.kind == "value" and f.words[0] in PLAIN_STATES for f in reading.filters)
    if question.periods and date_label(question, records) is None:
        return False
    if question.comparisons and number_label(question, records) is None:
        return False
    if question.operation in _RECKONING:
        dated = question.by_date and date_label(question, records) is not None
        return dated or question.by_date or number_label(question, records) is not None
    return True


_RECKONING: tuple[Operation, ...] = ("sum", "average", "median", "max", "min")


def _records(question: Question, readings: Sequence[Reading]) -> tuple[list[Record], list[Record]]:
    pool: list[Record] = []
    chosen: list[Record] = []
    names: set[str] = set()
    for reading in readings:
        fresh = [record for record in reading.group.records if record.name.casefold() not in names]
        names |= {record.name.casefold() for record in fresh}
        pool += fresh
        chosen += [record for record in fresh if _passes(reading, record)]
    return pool, _bounded(question, pool, chosen)


def _passes(reading: Reading, record: Record) -> bool:
    """Whether the record meets every filter; those on one column, and all states, are alternatives."""
    by_place: dict[tuple[str, str, bool], list[Callable[[Record], bool]]] = {}
    for one in reading.filters:
        place = "" if one.kind == "value" else one.words[0] if one.kind == "word" else ""
        by_place.setdefault((one.kind, one.label + place, one.negated), []).append(one.holds)
    return all(
        (all if negated else any)(holds(record) for holds in alternatives)
        for (_, _, negated), alternatives in by_place.items()
    )


def _bounded(question: Question, pool: Sequence[Record], chosen: list[Record]) -> list[Record]:
    stock = quantity_label(pool) if question.of_stock else None
    label = (stock or number_label(question, pool)) if question.comparisons else None
    if label is not None:
        chosen = [r for r in chosen if (n := measure(r, label)) and all(c.holds(n.value) for c in question.comparisons)]
    when = date_label(question, pool) if question.periods else None
    if when is not None:
        chosen = [r for r in chosen if (d := day(r, when)) and all(p.holds(d) for p in question.periods)]
    return chosen


def described(record: Record) -> str:
    """The record in one line."""
    parts = [f"{key}: {value}" if key else value for key, value in record.fields if value and value != record.name]
    extra = [] if parts or record.done is None else [state(record)]
    return f"{record.name} ({', '.join(parts + extra)})" if parts or extra else record.name
