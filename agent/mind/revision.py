"""How beliefs change. Deterministic: a model proposes what an event says, these rules decide what comes of it, and why."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from empla.beliefs import DROPPED_BELOW, confidence_left
from empla.store.ids import new_id

CERTAIN_FROM = 0.9
"""From here on a belief is a fact, and becomes a semantic memory."""
MOST_OF_ONE = 0.8
"""The most that one event alone counts: nobody makes a fact by saying it once, however sure the words are."""
MOST = 0.99
MAX_HELD = 1000
IMPORTANT, SHIFTED = 0.7, 0.3
"""A belief of more importance that moves by more asks for a new plan."""
MAX_KEY = 400
WORD = re.compile(r"\w+")
"""What a text is told by that is about the subject of a belief."""
_ARTICLE = re.compile(r"^(?:the|a|an) (?=.)")

type Key = tuple[str, str]
"""Subject and predicate as they are compared."""


class Change(StrEnum):
    """What happened to a belief."""

    FORMED = "formed"
    CONFIRMED = "confirmed"
    REVISED = "revised"
    DOUBTED = "doubted"
    PROMOTED = "promoted"
    DROPPED = "dropped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Belief:
    """That `object` is the `predicate` of `subject`: the budget of Acme is 12k.

    Attributes:
        confidence: from 0 to 1, as it was at `supported_at`; it decays from there.
        importance: from 0 to 1, how much depends on it.
        supported_at: when it was last confirmed or revised.
        promoted: whether it is in semantic memory as well.
    """

    belief_id: UUID
    subject: str
    predicate: str
    object: str
    confidence: float
    importance: float
    supported_at: datetime
    promoted: bool = False

    @property
    def key(self) -> Key:
        """What it is about; an employee holds one belief about each."""
        return compared(self.subject), compared(self.predicate)

    def confidence_at(self, now: datetime) -> float:
        """What is left of the confidence."""
        return confidence_left(self.confidence, self.supported_at, now)

    def in_words(self) -> str:
        """As a sentence."""
        return f"{self.predicate} of {self.subject}: {self.object}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What an event says; `source` names the event."""

    subject: str
    predicate: str
    object: str
    confidence: float
    importance: float
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Revised:
    """A change, the belief after it, and why; `source` is the event that led to it, '' when time did."""

    change: Change
    belief: Belief
    why: str
    source: str = ""


def compared(text: str, most: int = MAX_KEY) -> str:
    """The text as it is compared: `most` characters of it, without case, article and marks at its ends."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(".,;:!?\"'“”")
    return _ARTICLE.sub("", plain)[:most]


def revised(held: Belief | None, seen: Observation, now: datetime) -> Revised:
    """What an observation makes of the belief that is held about the same, if one is.

    The same again is independent support: doubts multiply. Of two that contradict each other the one with more confidence
    stays, the newer if they are equal, for people correct themselves; one that stays in spite of the other is doubted.
    """
    said = min(seen.confidence, MOST_OF_ONE)
    if held is None:
        belief = Belief(
            belief_id=new_id(),
            subject=seen.subject,
            predicate=seen.predicate,
            object=seen.object,
            confidence=said,
            importance=seen.importance,
            supported_at=now,
        )
        return Revised(change=Change.FORMED, belief=belief, why="nothing was believed about it", source=seen.source)
    left, importance = held.confidence_at(now), max(held.importance, seen.importance)
    if compared(held.object) == compared(seen.object):
        surer = min(MOST, 1 - (1 - left) * (1 - said))
        belief = replace(held, confidence=surer, importance=importance, supported_at=now)
        return Revised(change=Change.CONFIRMED, belief=belief, why=f"said again, with {said:.2f}", source=seen.source)
    if said >= left:
        belief = replace(
            held, object=seen.object, confidence=said, importance=importance, supported_at=now, promoted=False
        )
        why = f"{said:.2f} is said for it, and {left:.2f} was left of {held.object!r}"
        return Revised(change=Change.REVISED, belief=belief, why=why, source=seen.source)
    belief = replace(held, confidence=left * (1 - said), importance=importance, supported_at=now)
    why = f"{said:.2f} is said for {seen.object!r}, and {left:.2f} was left of this"
    return Revised(change=Change.DOUBTED, belief=belief, why=why, source=seen.source)


def shifts(before: Mapping[Key, Belief], changes: Iterable[Revised], now: datetime) -> list[str]:
    """In words, which changes of what was held `before` move what matters by so much that plans may no longer hold."""
    return [
        f"it is believed now: {one.belief.in_words()}"[:300]
        for one in changes
        if one.belief.importance > IMPORTANT and shift(before.get(one.belief.key), one, now) > SHIFTED
    ]


def shift(before: Belief | None, change: Revised, now: datetime) -> float:
    """By how much a change moves what is believed, from 0 to 1: where the object is another, by all of its confidence."""
    left = 0.0 if before is None else before.confidence_at(now)
    if change.change is Change.DROPPED:
        return left
    after = change.belief.confidence_at(now)
    return max(left, after) if change.change is Change.REVISED else abs(after - left)


def settled(beliefs: Mapping[Key, Belief], now: datetime) -> list[Revised]:
    """What time and room do to beliefs: the weak are dropped, the certain become facts, which stay until they are revised.

    Of more than `MAX_HELD` the weakest are dropped as well, be they facts.
    """
    alive = sorted(beliefs.values(), key=lambda belief: belief.confidence_at(now), reverse=True)
    kept = [belief for belief in alive if belief.promoted or belief.confidence_at(now) >= DROPPED_BELOW]
    weak = [belief for belief in alive if not belief.promoted and belief.confidence_at(now) < DROPPED_BELOW]
    return [
        *_dropped(weak, f"less than {DROPPED_BELOW} is left of it"),
        *_dropped(kept[MAX_HELD:], f"{MAX_HELD} that are surer are held"),
        *(
            Revised(change=Change.PROMOTED, belief=replace(belief, promoted=True), why=f"at least {CERTAIN_FROM}")
            for belief in kept[:MAX_HELD]
            if belief.confidence_at(now) >= CERTAIN_FROM and not belief.promoted
        ),
    ]


def _dropped(beliefs: Iterable[Belief], why: str) -> list[Revised]:
    return [Revised(change=Change.DROPPED, belief=belief, why=why) for belief in beliefs]
