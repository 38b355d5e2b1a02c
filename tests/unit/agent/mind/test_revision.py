"""What becomes of beliefs when something is seen, and when time passes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.mind.revision import (
    MAX_HELD,
    MOST,
    MOST_OF_ONE,
    Belief,
    Change,
    Observation,
    compared,
    revised,
    settled,
)
from empla.store.ids import new_id

NOW = datetime(2026, 3, 2, tzinfo=UTC)
confidences = st.floats(0, 1)


def belief(confidence: float, *, days: float = 0, subject: str = "Acme", promoted: bool = False) -> Belief:
    return Belief(
        belief_id=new_id(), subject=subject, predicate="budget", object="12k", confidence=confidence, importance=0.5,
        supported_at=NOW - timedelta(days=days), promoted=promoted,
    )  # fmt: skip


def seen(object_: str, confidence: float, importance: float = 0.5) -> Observation:
    return Observation(
        subject="acme",
        predicate="Budget",
        object=object_,
        confidence=confidence,
        importance=importance,
        source="message:1",
    )


def test_the_first_word_about_something_forms_a_belief_that_no_single_event_makes_certain():
    formed = revised(None, seen("12k", 1.0), NOW)
    assert (formed.change, formed.belief.object, formed.belief.confidence) == (Change.FORMED, "12k", MOST_OF_ONE)
    assert formed.source == "message:1"


def test_the_same_again_is_surer():
    held = belief(0.6)
    again = revised(held, seen(" the 12K. ", 0.5, importance=0.9), NOW)
    assert again.change is Change.CONFIRMED
    assert again.belief.confidence == pytest.approx(0.8)
    assert (again.belief.object, again.belief.importance, again.belief.belief_id) == ("12k", 0.9, held.belief_id)


def test_of_two_that_contradict_each_other_the_surer_stays():
    kept = revised(belief(0.75), seen("20k", 0.6), NOW)
    assert (kept.change, kept.belief.object) == (Change.DOUBTED, "12k")
    assert kept.belief.confidence == pytest.approx(0.3)
    taken = revised(belief(0.75, promoted=True), seen("20k", 0.75), NOW)
    assert (taken.change, taken.belief.object, taken.belief.confidence) == (Change.REVISED, "20k", 0.75)
    assert not taken.belief.promoted
    assert "'12k'" in taken.why


def test_a_belief_that_nobody_confirms_fades_and_gives_way():
    old = belief(0.9, days=5)
    assert old.confidence_at(NOW) == pytest.approx(0.4)
    assert revised(old, seen("20k", 0.5), NOW).change is Change.REVISED
    assert belief(0.5, days=-3).confidence_at(NOW) == 0.5  # of a clock that was set back


def test_time_drops_what_is_weak_and_makes_facts_of_what_is_certain():
    weak, certain, known, plain = (
        belief(0.5, days=4.5, subject="weak"), belief(0.95, subject="certain"), belief(0.95, subject="known", promoted=True),
        belief(0.5, subject="plain"),
    )  # fmt: skip
    changes = settled({one.key: one for one in (weak, certain, known, plain)}, NOW)
    assert [(one.change, one.belief.subject, one.belief.promoted) for one in changes] == [
        (Change.DROPPED, "weak", False),
        (Change.PROMOTED, "certain", True),
    ]


def test_a_fact_is_held_until_something_else_is_said():
    fact = belief(0.95, days=400, promoted=True)
    assert settled({fact.key: fact}, NOW) == []
    revision = revised(fact, seen("20k", 0.3), NOW)
    assert (revision.change, revision.belief.promoted) == (Change.REVISED, False)
    many = [belief(0.5, subject=f"s{number}") for number in range(MAX_HELD)]
    [gone] = settled({one.key: one for one in (fact, *many)}, NOW)
    assert (gone.change, gone.belief) == (Change.DROPPED, fact)


def test_there_is_room_for_so_many_and_the_weakest_go():
    many = [belief(0.5 + number / 10_000, subject=f"s{number}") for number in range(MAX_HELD + 2)]
    changes = settled({one.key: one for one in many}, NOW)
    assert {(one.change, one.belief.subject) for one in changes} == {(Change.DROPPED, "s0"), (Change.DROPPED, "s1")}


@given(confidences, confidences, st.floats(0, 30), st.sampled_from(["12k", "20k"]))
def test_confidence_stays_within_its_bounds(held: float, said: float, days: float, object_: str) -> None:
    before = belief(held, days=days)
    after = revised(before, seen(object_, said), NOW)
    assert 0 <= after.belief.confidence <= MOST
    if object_ == "12k":
        assert after.belief.confidence >= min(before.confidence_at(NOW), MOST) - 1e-9
    assert after.belief.key == before.key
    assert after.belief.supported_at == NOW


@given(st.text(max_size=600))
def test_what_is_compared_has_a_bound_and_no_case(text: str) -> None:
    assert len(compared(text)) <= 400
    assert compared(f"  {text} ") == compared(text)


def test_articles_case_and_marks_make_no_difference():
    assert compared("The  Acme\tCorp.") == compared("acme corp") == "acme corp"
    assert compared("the") == "the"
