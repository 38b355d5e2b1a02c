"""How far goals are, by what is believed, by what a model judges, and by their deadlines."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from agent.mind.goals import Goal, GoalState, Judgement, Kind, Measure, assessed, number_in
from agent.mind.revision import Belief, Key
from empla.store.ids import new_id

NOW = datetime(2026, 5, 4, 9, tzinfo=UTC)
MEASURE = Measure(subject="Acme", predicate="open invoices", start=10, target=0)


def goal(**fields: object) -> Goal:
    usual = Goal(
        goal_id=new_id(),
        text="No open invoices",
        kind=Kind.ACHIEVE,
        priority=5,
        deadline=None,
        measure=None,
        progress=0.0,
        created_at=NOW,
    )
    return replace(usual, **fields)  # type: ignore[arg-type]


def believed(text: str) -> dict[Key, Belief]:
    belief = Belief(
        belief_id=new_id(),
        subject="acme",
        predicate="Open invoices",
        object=text,
        confidence=0.6,
        importance=0.5,
        supported_at=NOW,
    )
    return {belief.key: belief}


def after(one: Goal, held: dict[Key, Belief] | None = None, *, judged: float | None = None) -> Goal | None:
    judgements: dict[UUID, Judgement] = {} if judged is None else {one.goal_id: Judgement(judged, "seen")}
    return next(iter(assessed({one.goal_id: one}, held or {}, judgements, NOW)), None)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12k", 12_000), ("about 1,250 of them", 1250), ("−3.5 %", -3.5), ("1.2 million", 1_200_000), ("7 months", 7),
        ("12 kg", 12), ("none", None), ("€ 1’000’000", 1_000_000), ("9" * 400, None),
    ],
)  # fmt: skip
def test_the_first_number_of_a_belief_counts(text: str, number: float | None):
    assert number_in(text) == number


@pytest.mark.parametrize(("text", "progress"), [("5", 0.5), ("4 of 12", 0.6), ("12", 0.0)])
def test_a_measured_goal_is_as_far_as_its_belief_says(text: str, progress: float):
    moved = after(goal(measure=MEASURE, progress=0.2), believed(text))
    assert moved is not None
    assert moved.progress == pytest.approx(progress)
    assert moved.state is GoalState.ACTIVE
    assert moved.reason == f"believed: Open invoices of acme: {text}"


def test_what_is_reached_is_achieved_and_what_is_kept_goes_on():
    reached = after(goal(measure=MEASURE), believed("0"))
    assert reached is not None
    assert (reached.state, reached.progress) == (GoalState.ACHIEVED, 1.0)
    kept = after(goal(measure=MEASURE, kind=Kind.MAINTAIN), believed("0"))
    assert kept is not None
    assert (kept.state, kept.progress) == (GoalState.ACTIVE, 1.0)


def test_nothing_moves_without_a_number_a_judgement_or_a_change():
    assert after(goal(measure=MEASURE)) is None
    assert after(goal(measure=MEASURE), believed("not known")) is None
    assert after(goal(measure=MEASURE, progress=0.5), believed("5")) is None
    assert after(goal(progress=0.5), judged=0.5) is None
    # What is measured is not judged.
    assert after(goal(measure=MEASURE), judged=1.0) is None


def test_a_judgement_moves_what_has_no_measure():
    moved = after(goal(), judged=0.7)
    assert moved is not None
    assert (moved.progress, moved.reason, moved.state) == (0.7, "seen", GoalState.ACTIVE)


def test_a_deadline_ends_what_is_not_reached():
    late = goal(deadline=NOW - timedelta(seconds=1))
    failed, reached = after(late), after(late, judged=1.0)
    assert failed is not None
    assert reached is not None
    assert (failed.state, reached.state) == (GoalState.FAILED, GoalState.ACHIEVED)
    assert "its deadline has passed" in failed.reason
    assert after(goal(deadline=NOW + timedelta(seconds=1))) is None
    kept = after(goal(kind=Kind.MAINTAIN, progress=1.0, deadline=NOW))
    assert kept is not None
    assert kept.state is GoalState.ACHIEVED
