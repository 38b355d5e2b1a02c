"""What a question about listed things asks for, told from its wording alone."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from agent.models.offline.dates import Span, span
from agent.models.offline.numbers import amounts
from agent.models.offline.vocabulary import asked_states, rephrased
from agent.models.offline.words import NUMBER_WORDS, STOP, stem, words

Operation = Literal["count", "share", "sum", "average", "median", "max", "min", "list", "lookup", "check"]

_LARGEST = (
    r"highest|largest|biggest|greatest|most expensive|most valuable|most important|priciest|longest|maximum|max|best"
)
_LATEST = r"latest|newest|most recent|last|youngest"
_SMALLEST = r"lowest|smallest|cheapest|least expensive|least valuable|least|shortest|minimum|min|worst|fewest"
_EARLIEST = r"earliest|oldest|soonest|first due|next due|first|next"
_COUNT = r"\b(?:how many|number of|count|how often)\b"
_SUM = r"\b(?:total|sum|altogether|combined|overall|add(?:s|ed)? up|in all|all together|aggregate)\b|\bhow much\b"
_OPERATIONS: tuple[tuple[Operation, str], ...] = (
    ("share", r"\b(?:percent(?:age)?|share|proportion|fraction|%) of\b"),
    ("count", _COUNT),
    ("average", r"\b(?:average|mean|avg|on average|typical)\b"),
    ("median", r"\bmedian\b"),
    ("max", rf"\b(?:{_LARGEST}|{_LATEST})\b|\btop\b|\bmost\b"),
    ("min", rf"\b(?:{_SMALLEST}|{_EARLIEST})\b|\bbottom\b"),
    ("sum", _SUM),
)
_TOP = re.compile(
    rf"\b(?:top|first|last|bottom)\s+(\d+|{'|'.join(NUMBER_WORDS)})\b|\b(\d+|two|three|four|five)\s+(?:{_LARGEST}|{_SMALLEST})\b"
)
_NO_NOUNS = STOP | {"everyone", "everybody", "anyone", "most", "more", "less", "much"}
_CHECK = re.compile(r"^(?:is|are|was|were|does|do|has|have|did|am)\b")
_WHETHER = re.compile(r"^(?:whether|if) (.+?) (is|are|was|were|has|have) (.*)$")
_ASKING = re.compile(r"\b(?:which|what|list|show|name|who|give|display|enumerate|whose|tell|where|when)\b")
_NOUN_END = (
    r"are|is|was|were|do|does|did|have|has|had|in|with|that|which|who|from|we|i|you|it|they|there|listed|still|on|for|"
    r"by|at|over|under|above|below|worth|can|will|marked|currently|according|per|and|where|whose|remain|remaining|exist|"
    r"started|joined|hired|due|closing|ending|starting|expiring|before|after|since|between"
)
_NOUN = re.compile(
    rf"(?:how many(?: of)?|(?:number|percentage|percent|share|proportion) of|count(?: up)?(?: of)?|which|"
    rf"what|list|show me|show|name|every|each|all|"
    rf"(?:{_LARGEST}|{_SMALLEST}|{_LATEST}|{_EARLIEST})|of)\s+(?:all\s+|the\s+|our\s+|my\s+|your\s+|of\s+|different\s+)*"
    rf"(?P<noun>[\w'-]+(?:\s+[\w'-]+){{0,3}}?)(?=\s+(?:{_NOUN_END})\b|\s*[?.!,:;]|\s*$)"
)
_GROUP_BY = re.compile(
    r"\b(?:per|by|(?:for|in|by|of) (?:each|every)|each|grouped by|broken down by)\s+(?P<label>[\w-]+)"
)
_RANK = re.compile(
    rf"\b(second|third|fourth|fifth|2nd|3rd|4th|5th)[\s-]+(?:{_LARGEST}|{_SMALLEST}|{_LATEST}|{_EARLIEST})\b"
)
_RANKS = {"second": 2, "third": 3, "fourth": 4, "fifth": 5, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5}
_NO_STOCK = re.compile(r"\b(?:out of stock|sold out|not in stock|unavailable)\b")
_STOCK = re.compile(r"\b(?:in stock|on hand|units?|pieces|seats|on stock)\b")
_NUMBER = r"[^\s]*\d[^\s]*(?:\s(?:million|thousand|billion|euros?|dollars?|EUR|USD|%))?"
_COMPARISONS = (
    ("between", re.compile(rf"\bbetween\s+({_NUMBER})\s+and\s+({_NUMBER})", re.IGNORECASE)),
    (
        "at_least",
        re.compile(
            rf"(?:\bat least|\bno less than|\bminimum of|>=|≥|\bfrom)\s*({_NUMBER})(?:\s+(?:or|and)\s+(?:more|up))?",
            re.I,
        ),
    ),
    ("at_most", re.compile(rf"(?:\bat most|\bno more than|\bup to|\bmaximum of|<=|≤)\s*({_NUMBER})", re.IGNORECASE)),
    (
        "over",
        re.compile(
            rf"(?:\bover|\babove|\b(?:more|greater|larger|bigger|higher|older) than|\bexceed(?:s|ing)?|>)\s*({_NUMBER})",
            re.I,
        ),
    ),
    (
        "under",
        re.compile(
            rf"(?:\bunder|\bbelow|\b(?:less|fewer|smaller|lower|cheaper|younger) than|<)\s*({_NUMBER})", re.IGNORECASE
        ),
    ),
)
_WHEN = re.compile(
    r"\b(?:due\s+)?(?P<relation>before|after|since|until|by|in|on|during|due)\s+"
    r"(?P<when>(?:the\s+)?[\w,./ -]*?\d[\w./-]*(?:\s+\d{4})?)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A bound that a number must keep, both ends included unless `strict`."""

    low: Decimal | None
    high: Decimal | None
    strict: bool

    def holds(self, value: Decimal) -> bool:
        """Whether `value` keeps the bound."""
        above = self.low is None or value > self.low or (value == self.low and not self.strict)
        below = self.high is None or value < self.high or (value == self.high and not self.strict)
        return above and below


@dataclass(frozen=True, slots=True)
class Period:
    """A bound that a date must keep."""

    relation: str
    span: Span

    def holds(self, day: date) -> bool:
        """Whether `day` keeps the bound."""
        match self.relation:
            case "before":
                return day < self.span.first
            case "after":
                return day > self.span.last
            case "since":
                return day >= self.span.first
            case "until" | "by":
                return day <= self.span.last
        return day in self.span


@dataclass(frozen=True, slots=True)
class Question:
    """A question about listed things. `noun` is what they are called; `limit` is how many of a ranking are wanted.

    `rank` 2 is the second of it; `of_stock` says that the number of pieces is meant.
    """

    text: str
    operation: Operation
    words: tuple[str, ...]
    noun: str = ""
    limit: int = 1
    by_date: bool = False
    comparisons: tuple[Comparison, ...] = ()
    periods: tuple[Period, ...] = ()
    group_by: str = ""
    rank: int = 1
    of_stock: bool = False


def question(text: str) -> Question:
    """Read `text`, from which file names should be taken out, as a question."""
    # A capital inside the sentence makes Max a name, not the most of something.
    plain = re.sub(r"(?<=\w )(Max|Min)\b", r"\1_", text.replace("’", "'"))
    lower = asked_states(rephrased(" ".join(plain.casefold().split())))
    lower = _WHETHER.sub(r"\2 \1 \3", lower)
    compared, rest = _compared(lower)
    sold_out = _NO_STOCK.search(lower)
    if sold_out:
        compared = (*compared, Comparison(None, Decimal(0), strict=False))
    rank = _RANK.search(lower)
    stocked = bool(sold_out or _STOCK.search(lower))
    operation = _operation(rest)
    periods = tuple(_periods(rest))
    by = _GROUP_BY.search(lower)
    return Question(
        text,
        "sum" if operation == "count" and stocked and not sold_out else operation,
        tuple(words(rest)),
        _noun(rest),
        _limit(lower),
        bool(re.search(rf"\b(?:{_LATEST}|{_EARLIEST})\b", lower)),
        compared,
        periods,
        by["label"] if by else "",
        _RANKS[rank[1]] if rank else 1,
        stocked,
    )


def operation_words(asked: Question) -> set[str]:
    """The stems of those words that say what to do: count, total, highest."""
    said = " ".join(asked.words)
    return {
        stem(word) for _, pattern in _OPERATIONS for match in re.finditer(pattern, said) for word in words(match[0])
    }


def _operation(text: str) -> Operation:
    for operation, pattern in _OPERATIONS:
        if re.search(pattern, text):
            return operation
    if _CHECK.match(text):
        return "check"
    return "list" if _listing(text) else "lookup"


def _listing(text: str) -> bool:
    return bool(
        re.search(
            r"\b(?:which|list|show|names? (?:all|the|of)|enumerate|what \w+s (?:are|do|have|did)|what (?:are|"
            r"were) (?:the|our|my|all))\b",
            text,
        )
    )


def _noun(text: str) -> str:
    matches = [match["noun"] for match in _NOUN.finditer(text)]
    kept = ([word for word in match.split() if word not in _NO_NOUNS and "'" not in word] for match in matches)
    return next((" ".join(noun) for noun in kept if noun), "")


def _limit(text: str) -> int:
    match = _TOP.search(text)
    if not match:
        return 1
    written = match[1] or match[2]
    return min(100, int(written) if written.isdigit() else NUMBER_WORDS.get(written, 1))


def _compared(text: str) -> tuple[tuple[Comparison, ...], str]:
    """The bounds on numbers that `text` names, and `text` without them."""
    found: list[Comparison] = []
    for kind, pattern in _COMPARISONS:
        for match in pattern.finditer(text):
            values = [number.value for group in match.groups() for number in amounts(group)[:1] if not span(group)]
            if len(values) == len(match.groups()):
                found.append(_comparison(kind, values))
                text = text.replace(match[0], " ")
    return tuple(found), text


def _comparison(kind: str, values: list[Decimal]) -> Comparison:
    if kind == "between":
        return Comparison(min(values), max(values), strict=False)
    low = values[0] if kind in ("over", "at_least") else None
    high = values[0] if kind in ("under", "at_most") else None
    return Comparison(low, high, strict=kind in ("over", "under"))


def _periods(text: str) -> list[Period]:
    named = ((match["relation"].casefold(), span(match["when"])) for match in _WHEN.finditer(text))
    return [Period(relation, when) for relation, when in named if when]
