"""What the offline model takes for a wish to have something forgotten."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import JsonValue

from tests.unit.agent.models.office import ALL_TOOLS, Office


@dataclass
class Forgetful(Office):
    """An office that can be asked to forget."""

    tools: Any = (*ALL_TOOLS, "forget")
    subjects: list[JsonValue] = field(default_factory=list)

    def _forget(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        self.subjects.append(arguments["subject"])
        return {"memories": 2, "beliefs": 1, "more": False}


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        ("Forget that about Acme", "Acme"),
        ("Forget everything about the budget of Acme.", "the budget of Acme"),
        ("please forget what I told you about Acme", "Acme"),
        ("Forget that the budget of Acme is 12k, please.", "the budget of Acme is 12k"),
        ("forget Acme", "Acme"),
    ],
)
async def test_what_is_named_is_forgotten(message: str, subject: str) -> None:
    office = Forgetful()
    assert (await office.ask(message)).text == "I forgot all that I knew of that (3)."
    assert office.subjects == [subject]


@pytest.mark.parametrize("message", ["Forget that.", "Forget it", "please forget about it"])
async def test_what_is_not_named_is_asked_for(message: str) -> None:
    office = Forgetful()
    assert (await office.ask(message)).text.startswith("What am I to forget?")
    assert office.subjects == []


@pytest.mark.parametrize("message", ["Don't forget the milk", "I forgot the budget of Acme, what is it?"])
async def test_other_messages_with_the_word_are_no_such_wish(message: str) -> None:
    office = Forgetful()
    await office.ask(message)
    assert office.subjects == []
