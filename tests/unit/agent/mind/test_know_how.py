"""When work is the same, and how success moves a procedure."""

from uuid import UUID

import pytest

from agent.mind.know_how import Procedure, Run, State, Step, common, counted, repeats, standing, words_of
from empla.store.ids import new_id


def run(request: str, *actions: str, succeeded: bool = True, told: UUID | None = None) -> Run:
    return Run(new_id(), new_id(), request, actions or ("read", "write"), frozenset([told] if told else ()), succeeded)


def procedure(*words: str, actions: tuple[str, ...] = ("read", "write")) -> Procedure:
    steps = (Step("read", "Read."), Step("write", "Write."))
    return Procedure(new_id(), "A report", steps, actions, words_of(" ".join(words)), 3, 3, "promoted")


@pytest.mark.parametrize(
    ("state", "runs", "successes", "after"),
    [
        ("learnt", 2, 2, "learnt"),
        ("learnt", 3, 2, "learnt"),
        ("learnt", 3, 3, "promoted"),
        ("learnt", 10, 7, "promoted"),
        ("promoted", 10, 6, "promoted"),
        ("promoted", 4, 1, "promoted"),
        ("promoted", 5, 2, "demoted"),
        ("learnt", 5, 2, "demoted"),
        ("demoted", 10, 6, "demoted"),
        ("demoted", 10, 7, "promoted"),
    ],
)
def test_success_moves_a_procedure(state: State, runs: int, successes: int, after: State):
    assert standing(state, runs, successes) == after


def test_the_same_work_is_what_was_asked_alike_and_done_by_the_same_actions():
    reports = [run(f"Write the weekly report for {name}") for name in ("Acme", "Brandt", "Corte")]
    others = [run("Write the weekly report for Dahl", "read"), run("Clean up the archive"), run("Translate the slogan")]
    assert repeats([*others, *reports]) == [reports]
    assert common(reports) == words_of("write weekly reports")


def test_what_never_went_well_is_no_example():
    assert repeats([run("Write the weekly report", succeeded=False) for _ in range(3)]) == []


def test_requests_that_have_nothing_in_common_but_a_word_are_no_kind():
    assert repeats([run("report") for _ in range(3)]) == []


def test_a_run_counts_for_the_procedure_that_fits_it_best():
    broad, narrow = procedure("weekly report"), procedure("weekly report customers")
    one, other = run("The weekly report, please"), run("Something else entirely")
    assert counted([narrow, broad], [one, other]) == ({broad.procedure_id: [one]}, [other])


def test_a_run_that_did_otherwise_counts_only_where_it_was_told_how():
    known = procedure("weekly report")
    alone, told = run("weekly report", "read"), run("weekly report", "read", told=known.procedure_id)
    assert counted([known], [alone, told]) == ({known.procedure_id: [told]}, [alone])


def test_forms_of_a_word_are_one_word():
    assert words_of("Reports, reporting: 12 deals") == words_of("the report of a deal")
