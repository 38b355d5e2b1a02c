"""Whether a listed thing is open, closed, won or whatever else a question asks for."""

import re
from collections.abc import Iterable, Sequence

from agent.models.offline.records import Record
from agent.models.offline.vocabulary import DONE, GENERIC_DONE, GENERIC_OPEN, NEGATIONS, OPEN, STATUS_LABELS, rephrased
from agent.models.offline.words import contains_phrase, stems, word_set, words

_PAST = re.compile(r"[(,;]|\b(?:was|were|until|since|from|formerly|previously|before|reopened)\b")
_YES = word_set("""yes y true x ✓ ✔ 1 ja""")
_NO = word_set("""no n false 0 - nein""")
_STRONG = GENERIC_OPEN | DONE - {"signed", "checked", "dead", "fixed", "paid"}
"""Words that tell a state even in the middle of a sentence."""


def state(record: Record) -> str:
    """What the record says of its state, in lower case: a column, a ticked box, a part, a heading, a word of its text."""
    if labelled := labelled_state(record):
        return labelled
    if record.done is not None:
        return "done" if record.done else "open"
    parts = [value.casefold() for key, value in record.fields[1:] if not key and has_state(value)]
    headings = [heading.casefold() for heading in reversed(record.headings) if has_state(heading)]
    whole = [record.text.casefold()] if _STRONG & set(words(rephrased(record.text.casefold()))) else []
    return next(iter([*parts, *headings, *whole]), "")


def labelled_state(record: Record) -> str:
    """The value of the field that is called status, stage or alike, in lower case."""
    found = (value for key, value in record.fields if key and value and set(stems(key)) & STATUS_LABELS)
    return next(found, "").casefold()


def is_structural(record: Record) -> bool:
    """Whether the state stands in a place of its own, rather than somewhere in the text."""
    if labelled_state(record) or record.done is not None:
        return True
    return state(record) not in ("", record.text.casefold())


def matches(record: Record, wanted: str, literal: bool) -> bool:
    """Whether the record is in the state `wanted`. `literal` wants the very word, else any word of that meaning does."""
    answer = _yes_or_no(record, wanted)
    if answer is not None:
        return answer
    said = state(record)
    current = words(_PAST.split(rephrased(said))[0] or said)
    if _negated(current):
        opposite = [word for word in current if word not in NEGATIONS]
        return bool(opposite) and not _means(opposite, wanted, literal)
    return _means(current, wanted, literal)


def is_literal(records: Iterable[Record], wanted: str) -> bool:
    """Whether some record uses the very word `wanted` for its state."""
    return any(contains_phrase(words(_PAST.split(rephrased(state(r)))[0]), [wanted]) for r in records)


def is_state_word(word: str) -> bool:
    """Whether `word` names a state in general, such as open, won or pending."""
    return word in OPEN | DONE | GENERIC_OPEN | GENERIC_DONE


def has_state(text: str) -> bool:
    """Whether a word of `text` names a state."""
    return any(is_state_word(word) for word in words(rephrased(text.casefold())))


def _means(current: Sequence[str], wanted: str, literal: bool) -> bool:
    if literal or wanted not in GENERIC_OPEN | GENERIC_DONE:
        return wanted in current
    over = any(word in DONE for word in current)
    return over if wanted in GENERIC_DONE else bool(current) and not over


def _negated(current: Sequence[str]) -> bool:
    return any(word in NEGATIONS for word in current[:2])


def _yes_or_no(record: Record, wanted: str) -> bool | None:
    """The answer of a column called by the state, such as `Paid?` with yes and no."""
    for key, value in record.fields:
        if wanted in words(key) and value.casefold() in _YES | _NO:
            return value.casefold() in _YES
    return None
