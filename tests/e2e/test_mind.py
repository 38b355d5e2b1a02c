"""What an employee makes of what it is told, from outside."""

from typing import Any
from uuid import uuid4

from tests.e2e.system import EMPLOYEE, System, until


def test_what_is_told_in_one_conversation_is_believed_and_known_in_the_next(system: System):
    company, budget = f"Firm{uuid4().hex[:8]}", f"{uuid4().int % 900 + 100}k"
    system.json("send", EMPLOYEE, f"Note: the budget of {company} is {budget}.", "--conversation", uuid4().hex)

    def believed() -> list[dict[str, Any]]:
        return [one for one in system.json("employee", "beliefs", EMPLOYEE) if one["subject"] == company]

    [belief] = until(believed, "it is believed")
    assert (belief["predicate"], belief["object"]) == ("budget", budget)
    [change] = belief["changes"]
    assert change["change"] == "formed"
    answer = system.json("send", EMPLOYEE, f"What is the budget of {company}?", "--conversation", uuid4().hex)
    assert budget in answer["reply"]
    cycles = system.json("employee", "cycles", EMPLOYEE)
    believed_in = [
        cycle for cycle in cycles if any(company in str(one) for one in cycle["intention"].get("believe", []))
    ]
    assert [cycle["outcome"] for cycle in believed_in] == ["acted"]
    assert {cycle["model"] for cycle in believed_in} == {"offline"}
