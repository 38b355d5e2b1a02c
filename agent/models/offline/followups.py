"""Questions that go on about the things of the question before: "which ones?", "what are they worth in total?"."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent.models.offline.asks import ask
from agent.models.offline.clauses import clauses
from agent.models.offline.questions import Question
from agent.models.offline.states import is_state_word
from agent.models.offline.vocabulary import NEGATIONS

_BACK = re.compile(
    r"\b(?:those|these|them|they|their|theirs|of which)\b|\b(?:which|what|the) ones\b|^\W*(?:and |so )?which(?: one)?\W*$|"
    r"^\W*(?:and )?(?:in total|altogether|all together)\W*$",
    re.IGNORECASE,
)
_MOST_STEPS = 4
_APART = ("the", "the", "the")
"""Words without meaning between two questions made one, so that a "not" of the first rules out nothing of the second."""


def goes_on(text: str) -> bool:
    """Whether `text` speaks of things that only the question before it names."""
    return bool(_BACK.search(text))


def questions_before(said: Sequence[str], earlier: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The questions that one is about which goes on, the first that stands by itself at the front; empty when none does.

    `said` are the clauses before it in its message, `earlier` the turns before that as (who, text).
    """
    turns = [text for who, text in earlier if who == "user"]
    told = [clause.text for text in turns[-_MOST_STEPS:] for clause in clauses(text)] if not said else []
    chain: list[str] = []
    for text in reversed([*told, *said]):
        if ask(text).kind not in ("question", "statement") or len(chain) == _MOST_STEPS:
            return ()
        chain.append(text)
        if not goes_on(text):
            return tuple(reversed(chain))
    return ()


def merged(asked: Question, before: Question) -> Question:
    """`asked` about only those things that `before` was about; a state of its own takes the place of the one there."""
    own = any(is_state_word(word) for word in asked.words)
    kept = [word for word in before.words if not (own and (is_state_word(word) or word in NEGATIONS))]
    return replace(
        asked,
        words=(*kept, *_APART, *asked.words),
        noun=_noun(before, kept) or asked.noun,
        comparisons=(*before.comparisons, *asked.comparisons),
        periods=(*before.periods, *asked.periods),
        of_stock=before.of_stock or asked.of_stock,
    )


def _noun(before: Question, kept: Sequence[str]) -> str:
    return " ".join(word for word in before.noun.split() if word in kept or not is_state_word(word))
