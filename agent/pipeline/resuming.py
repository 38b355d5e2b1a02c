"""Where an answer leads: the move of a unit that waited, or failed, once a person has decided."""

from datetime import datetime
from typing import Any

from agent.pipeline.parts import forks
from agent.pipeline.step import Answer, Work
from agent.pipeline.units import Move, Place, Unit
from empla.classification import Classification


def answer_of(row: Any) -> Answer:
    """A row of `unit_answers` with its review."""
    answer, at = row["answer"], row["answered_at"]
    assert isinstance(at, datetime)
    return Answer(
        key=row["question_key"],
        kind=row["kind"],
        decision=answer["decision"],
        by=row["answered_by"],
        at=at,
        text=answer.get("text", ""),
        reason=answer.get("reason", ""),
        classification=answer.get("classification"),
        call=(row["response_index"], row["call_index"]),
        held=row["held"],
        sub_agent_id=row["sub_agent_id"],
    )


def resumed(unit: Unit, work: Work, answer: Answer) -> Move:
    """The move that `answer` leads to, which takes it."""
    if unit.machine == "message":
        return _sorted(unit, work, answer)
    if _closes(answer):
        # The person who decides so is the one who was asked to look at it: nothing more leaves.
        return Move(unit=unit, to=Place("failed", unit.place.step), begins=False, reason=_why(answer), takes=answer.key)
    return Move(unit=unit, to=Place("running", unit.place.step), begins=True, takes=answer.key)


def _sorted(unit: Unit, work: Work, answer: Answer) -> Move:
    """A message that a person was to sort; its sender has been told that a person looks at it."""
    if answer.decision != "classify":
        failed = Place("failed", unit.place.step)
        return Move(unit=unit, to=failed, begins=False, reason=_why(answer), ends=True, takes=answer.key)
    found = Classification.model_validate(answer.classification)
    workers = forks(found, work.output("security_filter")["text"])
    return Move(unit=unit, to=Place("working"), begins=False, workers=workers, takes=answer.key)


def _closes(answer: Answer) -> bool:
    match answer.kind:
        case "question":
            return answer.decision == "reject"
        case "needs_manual_intervention":
            return answer.decision in ("reject", "expired")
        case _:
            return False


def _why(answer: Answer) -> str:
    if answer.decision == "expired":
        return "nobody decided in time"
    return f"{answer.by} gave it up" + (f": {answer.reason}" if answer.reason else "")
