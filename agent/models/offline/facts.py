"""Facts in running text and memories: the sentence that answers a question, or none."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from agent.models.offline.sentences import sentences
from agent.models.offline.words import STOP, alike, content, stem, words

_ENOUGH = 0.6
"""Share of the question's words that a sentence must have to be taken for its answer."""

_QUESTION_START = re.compile(
    r"^(?:what|who|whom|when|where|which|why|how|is|are|do|does|did|can|could|would|will)\b", re.I
)
_SPOKEN = re.compile(
    r"^(?:(?:please\s+)?(?:remember|note|keep in mind|don't forget|fyi|for the record)(?:\s+that|[:,])?\s+|"
    r"(?:the )?(?:user|sender|\w+) (?:said|told me|asked me to remember|mentioned)(?: that|:)?\s+)",
    re.IGNORECASE,
)
_INSTRUCTION = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|prompts?|rules?|above|previous|prior)\b|"
    r"\byou are now\b|\bsystem prompt\b|\bnew instructions?\b|^\s*(?:system|assistant)\s*:|"
    r"\bdo not (?:tell|mention)\b.{0,30}\buser\b",
    re.IGNORECASE,
)
_PERSONS = {
    "i": "you", "i'm": "you are", "i've": "you have", "i'll": "you will", "am": "are", "my": "your", "mine": "yours",
    "me": "you", "myself": "yourself",
}  # fmt: skip
_WHY = {
    "who": r"[A-Z]\w+",
    "when": r"\d|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:today|tomorrow)\b",
    "many": r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten)\b",
}


@dataclass(frozen=True, slots=True)
class Passage:
    """Text to look for facts in; `about` are the stems of what stands over it, such as its headings and its file's name."""

    source: str
    text: str
    about: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence that answers, where it stands, and how much of the question it covers (0 to 1, and more for form)."""

    text: str
    source: str
    score: float


def best_fact(question: str, passages: Iterable[Passage]) -> Fact | None:
    """The sentence of `passages` that answers `question`; the later of two equals; None when none does."""
    asked = set(content(question))
    best: Fact | None = None
    for passage in passages:
        for sentence in sentences(passage.text):
            score = _score(question, asked, sentence, passage.about)
            if score >= _ENOUGH and (best is None or score >= best.score):
                best = Fact(sentence, passage.source, score)
    return best


def said_to(fact: str) -> str:
    """A fact somebody told, said back to them: without "remember that", my as your, as a sentence."""
    plain = _SPOKEN.sub("", fact.strip())
    turned = re.sub(r"\b(?:I['’](?:m|ve|ll)|I|am|my|mine|me|myself)\b", _turned, plain)
    turned = turned[:1].upper() + turned[1:]
    return turned if turned.endswith((".", "!", "?")) else turned + "."


def is_instruction(text: str) -> bool:
    """Whether `text` tries to instruct whoever reads it, which data has no say in."""
    return bool(_INSTRUCTION.search(text))


def _turned(match: re.Match[str]) -> str:
    return _PERSONS[match[0].lower().replace("’", "'")]


def _score(question: str, asked: set[str], sentence: str, about: frozenset[str]) -> float:
    if not asked or sentence.endswith("?") or _QUESTION_START.match(sentence) or is_instruction(sentence):
        return 0.0
    said = [stem(word) for word in words(sentence)]
    covered = {word for word in asked if any(alike(word, one) for one in said)}
    fresh = [one for one in said if one not in asked and (one not in STOP or one in ("no", "not"))]
    if not fresh or not covered or not _names_covered(question, covered | (asked & about)):
        return 0.0
    framed = asked & about - covered
    return (len(covered) + len(framed) / 2) / len(asked) + _form(question, covered, sentence)


def _names_covered(question: str, covered: set[str]) -> bool:
    """Whether every name in the question, a capital letter inside the sentence, is in the answer."""
    names = re.findall(r"(?<=[a-z,:] )[A-Z][\w-]+", question)
    return all(stem(part) in covered for name in names for part in words(name) if part not in STOP)


def _form(question: str, covered: set[str], sentence: str) -> float:
    """A little more for a sentence shaped like an answer: "the limit is 15 %", a name for who, a number for how many."""
    head = re.split(r"\b(?:is|are|was|were|=)\b|:", sentence, maxsplit=1)
    shaped = len(head) == 2 and bool(set(content(head[0])) & covered)
    kind = next((pattern for word, pattern in _WHY.items() if word in question.casefold().split()), None)
    fitting = kind is not None and bool(re.search(kind, sentence[1:]))
    return 0.1 * shaped + 0.05 * fitting
