"""What the words of a question mean for one group of records: a state, a value to filter by, a column, the topic."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from agent.models.offline.numbers import amount
from agent.models.offline.questions import Question
from agent.models.offline.records import Document, Group, Record
from agent.models.offline.states import is_literal, is_state_word, is_structural, labelled_state, matches, state
from agent.models.offline.tables import NUMBERING
from agent.models.offline.vocabulary import COLUMNS, NEGATIONS, family
from agent.models.offline.words import STOP, alike, stem, stems, word_set, words

_GENERIC = word_set("""inc ltd gmbh corp co llc ag sa group company deal customer team""")
_THINGS = word_set(
    "opportunity lead contract order person people row entry record employee member colleague candidate supplier"
) | set(COLUMNS["name"])
_SOLD = word_set("deal opportunity contract order")
_LONGEST_VALUE = 6
NAME = "\0name"
"""Stands for the label of a record's name, which may have none."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on records: `kind` is state, value or word; `label` the column it stands in."""

    kind: str
    words: tuple[str, ...]
    label: str = ""
    negated: bool = False
    literal: bool = True

    def holds(self, record: Record) -> bool:
        """Whether the record meets the condition."""
        return self._meets(record) is not self.negated

    def _meets(self, record: Record) -> bool:
        if self.kind == "state":
            return matches(record, self.words[0], self.literal)
        if self.kind == "value":
            said = words(record.name if self.label == NAME else record.get(self.label))
            return all(word in said for word in self.words)
        return any(alike(stem(self.words[0]), one) for one in stems(record.text + " " + record.name))


@dataclass(slots=True)
class Reading:
    """A question as it reads over one group: the filters, how well the topic fits, and which words were understood."""

    document: Document
    group: Group
    filters: list[Filter] = field(default_factory=list)
    topic: float = 0.0
    understood: set[str] = field(default_factory=set)

    @property
    def score(self) -> float:
        """How well the question fits the group: topic first, then what its filters find a place for."""
        return self.topic + sum(2.0 if f.kind != "word" else 0.5 for f in self.filters)


def read(question: Question, document: Document, group: Group, literal: Collection[str] = ()) -> Reading:
    """Read `question` over `group`. `literal` are state words that some record of any group uses itself."""
    reading = Reading(document, group)
    values = _values(question.words, group)
    taken = {index for match in values for index in match.indexes}
    reading.filters += [match.filter for match in values]
    reading.filters += _states(question.words, group.records, taken, literal)
    reading.topic = _topic(question, document, group)
    reading.understood = {stem(word) for f in reading.filters for word in f.words}
    reading.filters += _mentions(question, group, reading)
    return reading


def _topic(question: Question, document: Document, group: Group) -> float:
    asked = {stem(word) for word in question.words if word not in STOP and not is_state_word(word)}
    nearest = {part for heading in group.headings[-1:] for part in stems(heading)}
    outer = {part for heading in (*group.headings[:-1], *document.headings[:1]) for part in stems(heading)}
    first = {part for label in [*group.columns[:1], *group.labels()[:1]] for part in stems(label)}
    named = set(stems(document.path.rpartition("/")[2].partition(".")[0]))
    fits = ((nearest | first, 3.0), (outer | named, 1.5), ({p for label in group.labels() for p in stems(label)}, 1.0))
    score = max((weight for known, weight in fits if asked & known), default=0.0)
    if score < 1 and asked & _THINGS and family(next(iter([*group.columns, *group.labels()]), "")) == "name":
        return 1.0
    if score < 1 and asked & _SOLD and _is_priced(document, group):
        return 1.0
    said = {part for record in group.records[:50] for part in stems(record.text)}
    return score or (0.5 if asked & said else 0.0)


def _is_priced(document: Document, group: Group) -> bool:
    """Whether each record has a status and an amount of its own, as deals have that nothing calls so.

    One alone may have both by chance, unless others beside it do, as under another heading.
    """
    alike = [one for one in document.groups if one is not group and all(map(_has_price, one.records[:50]))]
    return all(map(_has_price, group.records[:50])) and sum(len(one.records) for one in (group, *alike)) > 1


def _has_price(record: Record) -> bool:
    return is_structural(record) and any(amount(value) for key, value in record.fields if not key)


@dataclass(frozen=True, slots=True)
class _Match:
    filter: Filter
    indexes: range


def _values(asked: Sequence[str], group: Group) -> list[_Match]:
    """The cells that the question names, whole ones before parts, of each stretch of words the longest."""
    topic = group.topic() | {stem(word) for word in group.labels()}
    found = [m for label, cell in _cells(group, set(asked)) for m in _found(asked, label, cell, topic)]
    found.sort(key=lambda m: len(m.indexes), reverse=True)
    kept: list[_Match] = []
    for match in found:
        overlapping = [k for k in kept if set(k.indexes) & set(match.indexes)]
        if all(k.indexes == match.indexes and k.filter.label == match.filter.label for k in overlapping):
            kept.append(match)
    return kept


def _cells(group: Group, asked: set[str]) -> list[tuple[str, tuple[str, ...]]]:
    cells: dict[tuple[str, tuple[str, ...]], None] = {}
    for record in group.records:
        for label, value in [(NAME, record.name), *((k, v) for k, v in record.fields if k)]:
            split = tuple(words(value))
            if (
                0 < len(split) <= _LONGEST_VALUE
                and not asked.isdisjoint(split)
                and (amount(value) is None or label in NUMBERING)
            ):
                cells[(label, split)] = None
    return list(cells)


def _found(asked: Sequence[str], label: str, cell: tuple[str, ...], topic: set[str]) -> list[_Match]:
    for length in range(len(cell), 0, -1):
        for offset in range(len(cell) - length + 1):
            piece = cell[offset : offset + length]
            if _is_weak(piece, cell, label, topic):
                continue
            for start in range(len(asked) - length + 1):
                if tuple(asked[start : start + length]) == piece:
                    negated = _negated(asked, start)
                    return [_Match(Filter("value", piece, label, negated), range(start, start + length))]
    return []


def _is_weak(piece: Sequence[str], cell: Sequence[str], label: str, topic: set[str]) -> bool:
    """Whether finding these words in a question says nothing: stop words, states, the topic, pieces of longer texts."""
    if all(word in STOP or is_state_word(word) or stem(word) in topic for word in piece):
        return True
    if len(piece) == len(cell):
        return False
    named = label == NAME or family(label) in ("name", "owner", "contact", "place")
    return not named or len(cell) > 4 or (len(piece) == 1 and (len(piece[0]) < 3 or piece[0] in _GENERIC))


def literal_states(question: Question, groups: Iterable[Group]) -> set[str]:
    """Those words of the question that some record uses for its own state."""
    wanted = {word for word in question.words if word not in STOP}
    return {word for group in groups for word in wanted if is_literal(group.records, word)}


def _states(asked: Sequence[str], records: Sequence[Record], taken: set[int], literal: Collection[str]) -> list[Filter]:
    said = {word for record in records for word in words(labelled_state(record))[:4]}
    found: list[Filter] = []
    for index, word in enumerate(asked):
        known = is_state_word(word) or (word in said and word not in STOP and word not in COLUMNS)
        if index not in taken and known and _is_stateful(records, word):
            found.append(Filter("state", (word,), "", _negated(asked, index), word in literal))
    return found


def _is_stateful(records: Sequence[Record], word: str) -> bool:
    return any(state(record) for record in records) or any(word in words(k) for r in records for k, _ in r.fields)


def _negated(asked: Sequence[str], index: int) -> bool:
    before = asked[max(0, index - 3) : index]
    other = any(a == "other" and b == "than" for a, b in pairwise(before))
    return other or any(word in NEGATIONS for word in before)


def _mentions(question: Question, group: Group, reading: Reading) -> list[Filter]:
    """Words of the question that some records have in their text and others do not."""
    topic = group.topic() | {part for label in group.labels() for part in stems(label)}
    said = [set(stems(f"{record.text} {record.name}")) for record in group.records]
    found = []
    for word in question.words:
        one = stem(word)
        if word in STOP or one in topic or one in reading.understood or word.isdigit() or is_state_word(word):
            continue
        count = sum(one in text or any(alike(one, other) for other in text) for text in said)
        if 0 < count < len(group.records) and len(one) > 2:
            found.append(Filter("word", (word,)))
    return found
