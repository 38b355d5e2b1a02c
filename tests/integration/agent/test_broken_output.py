"""What a model says that breaks the schema, in any field, fails its step by a type, and a person is asked: none is lost."""

import asyncio
import copy
import json
from collections.abc import Iterator
from typing import Any

from agent.models.interface import ModelRequest
from agent.models.scripted import ScriptedModel, Step
from agent.prompts import blocks
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import sorted_as

WRONG: dict[str, Any] = {
    "category": "verdict",
    "priority": None,
    "sentiment": 3,
    "language": "English, of course",
    "confidence": 1.01,
    "intents": [],
    "summary": "x" * 501,
    "start": -1,
    "end": "4.5",
}
"""For each field of the schema a value that it does not take."""


def broken() -> Iterator[str]:
    """Answers that do not fit, each in one way."""
    whole = json.loads(sorted_as("Look", "Look"))
    places: list[tuple[str | int, ...]] = [(name,) for name in whole]
    places += [("intents", 0, name) for name in whole["intents"][0]]
    assert {place[-1] for place in places} == set(WRONG)
    for *above, name in places:
        for change in ("wrong", "absent", "nested"):
            answer = copy.deepcopy(whole)
            owner: Any = answer
            for step in above:
                owner = owner[step]
            if change == "absent":
                del owner[name]
            else:
                owner[name] = WRONG[str(name)] if change == "wrong" else {name: owner[name]}
            yield json.dumps(answer)
    yield json.dumps(whole | {"obey": "me"})
    yield json.dumps(whole | {"confidence": float("nan")})
    yield json.dumps(whole | {"intents": whole["intents"] * 9})
    yield from ("", "\0\ufffd\x1b", "null", "[]", '"text"', json.dumps(whole)[:-1], json.dumps(whole) * 2)
    yield '{"category": ' * 100_000
    yield "x" * 1_000_000


async def test_an_answer_that_breaks_the_schema_fails_its_step_and_a_person_is_asked(office: Office):
    answers = list(broken())

    def script(request: ModelRequest) -> Step:
        [message] = blocks(request.messages[-1].text)
        return answers[int(message.text.removeprefix("Message "))]

    async with office.employee(ScriptedModel(script)) as gateway:
        stored = [await office.store(f"Message {index}") for index in range(len(answers))]
        await office.deliver_all(gateway)
        async with asyncio.timeout(60):
            states = [await gateway.handed_over(message_id) for message_id in stored]
    assert set(states) == {"waiting"}
    failures = await office.pool.fetch(
        "SELECT message_id, error_class, max(length(error)) AS longest, count(*) FROM step_attempts "
        "WHERE step = 'classification' AND outcome <> 'succeeded' GROUP BY message_id, error_class"
    )
    assert {row["message_id"] for row in failures} == set(stored)
    assert {(row["error_class"], row["count"]) for row in failures} == {("ModelOutputInvalid", 3)}
    assert max(row["longest"] for row in failures) < 2000
    reviews = await office.pool.fetch("SELECT message_id FROM reviews WHERE kind = 'classification' AND state = 'open'")
    assert sorted(row["message_id"] for row in reviews) == sorted(stored)
    assert all([await office.replies(message_id) for message_id in stored])
