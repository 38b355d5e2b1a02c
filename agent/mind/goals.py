"""Goals, and how far they are. Deterministic: a number is read off a belief, a judgement is taken, a deadline holds."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from agent.mind.revision import Belief, Key, compared

CLOSE = 1e-6
"""Progress that differs by less is the same."""
_NUMBER = re.compile(r"[-−]?\d+(?:[,_'’\u00a0\u202f ]\d{3})*(?:\.\d+)?")
_SCALE = re.compile(r"\s?(k|m|bn|thousand|million|billion)\b", re.IGNORECASE)
_SCALES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "bn": 1e9, "billion": 1e9}


class Kind(StrEnum):
    """Reached once, or kept so, until its deadline if it has one."""

    ACHIEVE = "achieve"
    MAINTAIN = "maintain"


class GoalState(StrEnum):
    """Whether a goal is worked on, and if not, why."""

    ACTIVE = "active"
    ACHIEVED = "achieved"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """The belief whose number tells how far a goal is: nothing is reached at `start`, all at `target`."""

    subject: str
    predicate: str
    start: float
    target: float

    @property
    def key(self) -> Key:
        """What the belief is about."""
        return compared(self.subject), compared(self.predicate)

    def progress(self, number: float) -> float:
        """How much of the way from start to target the number is, from 0 to 1."""
        return min(1.0, max(0.0, (number - self.start) / (self.target - self.start)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What an employee wants. `priority` is from 1 to 10, 10 comes first; `progress` from 0 to 1, as last assessed."""

    goal_id: UUID
    text: str
    kind: Kind
    priority: int
    deadline: datetime | None
    measure: Measure | None
    progress: float
    created_at: datetime
    state: GoalState = GoalState.ACTIVE
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How far a model holds a goal to be, and why."""

    progress: float
    why: str


def assessed(
    goals: Mapping[UUID, Goal], believed: Mapping[Key, Belief], judged: Mapping[UUID, Judgement], now: datetime
) -> list[Goal]:
    """Those of these active goals that have come along, or to their end, since they were last assessed, as they are now."""
    moved = []
    for goal in goals.values():
        after = _ended(_measured(goal, believed) if goal.measure else _judged(goal, judged), now)
        if after.state is not goal.state or abs(after.progress - goal.progress) > CLOSE:
            moved.append(after)
    return moved


def number_in(text: str) -> float | None:
    """The first number of a text, such as 12000 of `about 12k`; None when there is none."""
    match = _NUMBER.search(text)
    if match is None:
        return None
    plain = re.sub(r"[,_'’\s]", "", match[0]).replace("\u2212", "-")
    scale = _SCALE.match(text, match.end())
    number = float(plain) * (_SCALES[scale[1].lower()] if scale else 1.0)
    return number if math.isfinite(number) else None


def _measured(goal: Goal, believed: Mapping[Key, Belief]) -> Goal:
    assert goal.measure is not None
    belief = believed.get(goal.measure.key)
    number = None if belief is None else number_in(belief.object)
    if belief is None or number is None:
        return goal
    return replace(goal, progress=goal.measure.progress(number), reason=f"believed: {belief.in_words()}"[:1000])


def _judged(goal: Goal, judged: Mapping[UUID, Judgement]) -> Goal:
    judgement = judged.get(goal.goal_id)
    return goal if judgement is None else replace(goal, progress=judgement.progress, reason=judgement.why)


def _ended(goal: Goal, now: datetime) -> Goal:
    late = goal.deadline is not None and goal.deadline <= now
    if goal.progress >= 1 - CLOSE and (late or goal.kind is Kind.ACHIEVE):
        return replace(goal, state=GoalState.ACHIEVED, progress=1.0)
    if late:
        reason = f"its deadline has passed, and it is {goal.progress:.0%} done: {goal.reason}"[:1000]
        return replace(goal, state=GoalState.FAILED, reason=reason)
    return goal
