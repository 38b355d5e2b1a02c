"""What of a proposed plan is taken, and in which order its steps are done."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from agent.mind.goals import Goal, Kind, Measure
from agent.mind.intentions import Intention, PlanRefused, PlanStep, chosen, in_order
from agent.mind.planning import MAX_ENDED, MAX_FAILED, MAX_OPEN, Outlook, Plan, PlanProposal, checked, in_words
from agent.models.offline.planning import proposed
from empla.store.ids import new_id

NOW = datetime(2026, 5, 4, 9, tzinfo=UTC)


def goal(text: str = "Publish the price list", **fields: Any) -> Goal:
    usual = Goal(
        goal_id=new_id(),
        text=text,
        kind=Kind.ACHIEVE,
        priority=5,
        deadline=None,
        measure=None,
        progress=0.0,
        created_at=NOW,
    )
    return replace(usual, **fields)


def intention(of: Goal, state: str = "planned", steps: Sequence[PlanStep] = (), age: float = 0) -> Intention:
    return Intention(
        intention_id=new_id(),
        goal_id=of.goal_id,
        title="a plan",
        why="",
        state=state,
        created_at=NOW - timedelta(seconds=age),
        steps=tuple(steps) or (PlanStep(step=1, name="a", instruction="do a"),),
    )


def outlook(goals: Sequence[Goal], opened: Sequence[Intention] = (), failed: dict[UUID, int] | None = None) -> Outlook:
    counts = failed or {}
    return Outlook(
        why="it is time", goals=goals, beliefs=(), open=opened, lately=(), failed=counts, ended=counts, now=NOW
    )


def plan(goal: int = 1, steps: Sequence[dict[str, Any]] = ({"name": "a", "instruction": "do a"},)) -> dict[str, Any]:
    return {"goal": goal, "title": "a plan", "why": "it serves", "steps": steps}


def taken(seen: Outlook, **proposal: Any) -> Plan:
    return checked(PlanProposal.model_validate(proposal), seen)


def test_steps_come_after_those_that_they_need():
    steps: list[dict[str, Any]] = [
        {"name": "send", "instruction": "c", "after": ["write", "look"]},
        {"name": "look", "instruction": "a"},
        {"name": "write", "instruction": "b", "after": ["look"]},
    ]
    [made] = taken(outlook([goal()]), plans=[plan(steps=steps)]).made
    assert [(one.step, one.name, one.after) for one in made.steps] == [
        (1, "look", ()),
        (2, "write", (1,)),
        (3, "send", (1, 2)),
    ]


@pytest.mark.parametrize(
    ("names", "after", "why"),
    [
        (["a", "b"], {"a": ["b"], "b": ["a"]}, "'a', 'b' wait for each other"),
        (["a"], {"a": ["a"]}, "'a' wait for each other"),
        (["a", "a"], {"a": []}, "two steps have the same name"),
        (["a"], {"a": ["z"]}, "there is no step 'z'"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_says_why(names: list[str], after: dict[str, list[str]], why: str):
    with pytest.raises(PlanRefused, match=why):
        in_order(names, after)


def test_what_does_not_fit_is_refused_and_the_rest_taken():
    served, measured, free = goal(), goal(measure=Measure(subject="a", predicate="b", start=0, target=1)), goal()
    opened = intention(served)
    decided = taken(
        outlook([served, measured, free], [opened]),
        plans=[plan(1), plan(9), plan(3), plan(3)],
        progress=[{"goal": number, "progress": 0.5, "why": "half"} for number in (2, 3, 7)],
        give_up=[{"plan": 4, "why": "no use"}],
    )  # fmt: skip
    assert [one.goal_id for one in decided.made] == [free.goal_id]
    assert {goal_id: one.progress for goal_id, one in decided.judged.items()} == {free.goal_id: 0.5}
    assert decided.refused == (
        "progress of goal 2: it is measured",
        "progress: there is no goal 7",
        "giving up: there is no open plan 4",
        "plan 'a plan': an open plan serves goal 1 already",
        "plan 'a plan': there is no goal 9",
        "plan 'a plan': an open plan serves goal 3 already",
    )


def test_a_plan_that_is_given_up_makes_room_for_another():
    served = goal()
    opened = intention(served)
    decided = taken(outlook([served], [opened]), plans=[plan(1)], give_up=[{"plan": 1, "why": "no use"}])
    assert decided.given_up == ((opened, "no use"),)
    assert len(decided.made) == 1


def test_plans_are_bounded():
    often = goal()
    decided = taken(outlook([often], failed={often.goal_id: MAX_FAILED}), plans=[plan()])
    assert decided.refused == ("plan 'a plan': 3 plans for goal 1 failed within a day",)
    ended = replace(outlook([often]), ended={often.goal_id: MAX_ENDED})
    assert checked(PlanProposal.model_validate({"plans": [plan()]}), ended).refused == (
        "plan 'a plan': 8 plans for goal 1 ended within a day",
    )
    full = outlook([goal()], [intention(goal()) for _ in range(MAX_OPEN)])
    assert taken(full, plans=[plan()]).made == ()


def test_what_serves_the_first_goal_is_carried_out_first():
    low, high, soon = goal(priority=2), goal(priority=8), goal(priority=8, deadline=NOW + timedelta(days=1))
    goals = {one.goal_id: one for one in (low, high, soon)}
    plans = [intention(low, age=9), intention(high, age=5), intention(soon)]
    assert chosen(plans, goals, at_once=1) == [plans[2]]
    assert chosen(plans, goals, at_once=2) == [plans[2], plans[1]]


def test_what_waits_for_a_person_lets_others_run():
    one, other = goal(), goal()
    goals = {one.goal_id: one, other.goal_id: other}
    steps = [PlanStep(step=1, name="a", instruction="a", state="running")]
    running, planned = intention(one, "running", steps), intention(other)
    assert chosen([running, planned], goals, at_once=1) == [running]
    waiting = replace(running, steps=(replace(steps[0], waits=True),))
    assert chosen([waiting, planned], goals, at_once=1) == [waiting, planned]


def test_only_steps_whose_needs_are_done_are_next():
    steps = [
        PlanStep(step=1, name="a", instruction="a", state="done"),
        PlanStep(step=2, name="b", instruction="b", after=(1,)),
        PlanStep(step=3, name="c", instruction="c", after=(1, 2)),
        PlanStep(step=4, name="d", instruction="d", state="skipped"),
    ]
    assert [one.step for one in intention(goal(), "running", steps).next_steps()] == [2]


def test_the_offline_model_plans_what_a_goal_spells_out():
    spelled = goal("Publish the price list. Steps: write prices.md: A 10; list the files")
    seen = outlook([goal("Be nice"), spelled])
    decided = checked(proposed(in_words(seen)), seen)
    [made] = decided.made
    assert (made.goal_id, made.title) == (spelled.goal_id, "Publish the price list")
    assert [(one.instruction, one.after) for one in made.steps] == [
        ("write prices.md: A 10", ()),
        ("list the files", (1,)),
    ]
    ended = replace(seen, lately=[replace(made, state="done")])
    assert checked(proposed(in_words(ended)), ended).judged[spelled.goal_id].progress == 1.0
    assert proposed(in_words(replace(seen, open=[made]))) == PlanProposal()
    assert proposed(in_words(replace(seen, lately=[replace(made, state="failed")]))) == PlanProposal()
