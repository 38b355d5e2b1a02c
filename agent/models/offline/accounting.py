"""Which words of a question had no part in its answer, so that the reply can say that they were not taken into account."""

import re

from agent.models.offline.evaluate import Selection
from agent.models.offline.questions import operation_words
from agent.models.offline.replies import DREW
from agent.models.offline.states import is_state_word
from agent.models.offline.vocabulary import COLUMNS, NEGATIONS
from agent.models.offline.words import NUMBER_WORDS, STOP, stem, stems, word_set

_FRAMING = word_set(
    """worth according lists average value amount order work own owns owned different break broken down compare compared
    before after since until between over above under below than least most up during per by second third fourth fifth
    stock units pieces still already exactly actually altogether combined together everything anything something
    there please data info information details record records entry entries everyone everybody anyone side
    year month week day today now far yet ever really
    calculate compute determine evaluate figure tally sold sell sells single individual column"""
)
"""Words that shape a question, or that the reckoning reads by its own patterns."""

_COLUMN_WORDS = frozenset(member for members in COLUMNS.values() for member in members)
_REMARK = re.compile(r"\n\(I could not take “.*” into account\.\)")
_CHECKED = ("count", "share", "sum", "average", "median", "max", "min", "list", "check")


def unaccounted(selection: Selection) -> list[str]:
    """Words of the question that nothing in the lists corresponds to, as they were written."""
    asked = selection.question
    if asked.operation not in _CHECKED:
        return []
    known = _known(selection) | operation_words(asked) | {stem(word) for word in asked.noun.split()[-1:]}
    loose = [
        word
        for word in asked.words
        if word not in STOP | _FRAMING | NEGATIONS and not _is_plain(word) and stem(word) not in known | _COLUMN_WORDS
    ]
    return [_as_written(word, asked.text) for word in dict.fromkeys(loose) if word not in selection.unknown()]


def with_note(answer: str, selection: Selection) -> str:
    """The answer, and which words of the question it leaves out."""
    left = unaccounted(selection)
    noted = "”, “".join(left)
    return f"{answer}\n(I could not take “{noted}” into account.)" if left else answer


def remark(answer: str) -> str:
    """What the answer says that it leaves out, "" where it says nothing of the kind."""
    found = _REMARK.search(answer)
    return found[0].strip() if found else ""


def without_remarks(answer: str) -> str:
    """The answer without what the reply says about itself: what it leaves out and where a chart is."""
    said = answer.partition(f"\n\n{DREW}")[0]
    return _REMARK.sub("", said)


def _is_plain(word: str) -> bool:
    return is_state_word(word) or word in NUMBER_WORDS or any(map(str.isdigit, word))


def _known(selection: Selection) -> set[str]:
    """The stems of what the filters, headings, labels and files say."""
    readings = selection.readings
    named = [text for r in readings for text in (*r.group.headings, *r.group.labels(), r.document.path)]
    filtered = [word for r in readings for f in r.filters for word in f.words]
    return {one for text in (*named, *filtered) for one in stems(text)} | {o for r in readings for o in r.understood}


def _as_written(word: str, text: str) -> str:
    found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
    return found[0] if found else word
