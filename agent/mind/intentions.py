"""Intentions: plans for goals, which step of which comes next, and what the end of a step means for its plan."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from agent.mind.goals import Goal


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanStep:
    """One step of a plan, done after the steps of the numbers in `after`, which are all lower than its own.

    `waits`: it is under way, and a person has been asked something.
    """

    step: int
    name: str
    instruction: str
    after: tuple[int, ...] = ()
    state: str = "planned"
    outcome: str = ""
    waits: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Intention:
    """A plan that was decided on for a goal."""

    intention_id: UUID
    goal_id: UUID
    title: str
    why: str
    state: str
    created_at: datetime
    steps: tuple[PlanStep, ...]
    reason: str = ""

    @property
    def waits(self) -> bool:
        """Whether it goes on only when a person has answered: then others may run meanwhile."""
        under_way = [one for one in self.steps if one.state in ("ready", "running")]
        return bool(under_way) and all(one.waits for one in under_way)

    def next_steps(self) -> list[PlanStep]:
        """The steps that may begin: all that come before them are done."""
        done = {one.step for one in self.steps if one.state == "done"}
        return [one for one in self.steps if one.state == "planned" and done.issuperset(one.after)]


class PlanRefused(Exception):
    """A plan that cannot be carried out; says why."""


def in_order(names: Sequence[str], after: Mapping[str, Iterable[str]]) -> list[str]:
    """The names of steps so that each comes after those that it needs, else as they were given.

    Raises `PlanRefused` when a name is used twice or unknown, or when steps wait for each other.
    """
    if len(set(names)) < len(names):
        raise PlanRefused("two steps have the same name")
    if unknown := sorted({needed for name in names for needed in after[name]} - set(names)):
        raise PlanRefused(f"there is no step {unknown[0]!r}")
    ordered: list[str] = []
    left = list(names)
    while left:
        free = next((name for name in left if set(after[name]) <= set(ordered)), None)
        if free is None:
            raise PlanRefused(f"the steps {', '.join(map(repr, left))} wait for each other")
        ordered.append(free)
        left.remove(free)
    return ordered


def chosen(intentions: Iterable[Intention], goals: Mapping[UUID, Goal], at_once: int) -> list[Intention]:
    """The intentions to go on with: those under way, and of the others the best as long as fewer than `at_once` run.

    What serves the goal of the highest priority comes first, then the one of the nearest deadline, then the oldest.
    """
    running = [one for one in intentions if one.state == "running"]
    room = at_once - sum(not one.waits for one in running)
    planned = [one for one in intentions if one.state == "planned" and one.goal_id in goals]
    return [*running, *sorted(planned, key=lambda one: _rank(one, goals[one.goal_id]))[: max(0, room)]]


def _rank(intention: Intention, goal: Goal) -> tuple[int, float, datetime]:
    return -goal.priority, goal.deadline.timestamp() if goal.deadline else float("inf"), intention.created_at
