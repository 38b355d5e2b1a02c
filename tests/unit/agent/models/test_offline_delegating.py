"""What the offline model takes for a wish to have things done side by side, and what it says of what came of it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import JsonValue

from agent.models.interface import ToolCall, ToolResult
from agent.models.offline.classify import classify
from agent.models.offline.delegating import side_by_side
from agent.prompts import mark
from tests.unit.agent.models.office import ALL_TOOLS, Office


@dataclass
class Team(Office):
    """An office that has sub-agents, who answer that they are done; those of a task with `fail` in it do not."""

    tools: Any = (*ALL_TOOLS, "delegate")

    def _run(self, call: ToolCall) -> ToolResult:
        if call.name != "delegate":
            return super()._run(call)
        tasks: Any = call.arguments["tasks"]
        ends: list[JsonValue] = []
        answers = []
        for number, task in enumerate(tasks, 1):
            fails = "fail" in task["instruction"]
            ends.append({"outcome": "failed", "reason": "no"} if fails else {"outcome": "answered", "reason": ""})
            if not fails:
                answers.append(mark("result", f"Done: {task['instruction']}", task=str(number)))
        content = "\n".join([json.dumps({"tasks": ends}), *answers])
        return ToolResult(call_id=call.call_id, name=call.name, content=content)


@pytest.mark.parametrize(
    ("message", "tasks"),
    [
        ("In parallel: summarise a.md; summarise b.md", ("summarise a.md", "summarise b.md")),
        ("please do these side by side: one; and two; three.", ("one", "two", "three.")),
        ("In parallel:\n- read a.md\n- read b.md\n", ("read a.md", "read b.md")),
        ("In parallel:\n1. read a.md\n2) read b.md", ("read a.md", "read b.md")),
        ("In parallel: run `echo a; echo b`; read b.md", ("run `echo a; echo b`", "read b.md")),
        ("In parallel: one", ()),
        ("In parallel: 1; 2; 3; 4; 5; 6; 7; 8; 9 a", ()),
        ("The lines are in parallel: one; two", ()),
        ("Summarise a.md; summarise b.md", ()),
    ],
)
def test_what_is_to_be_done_side_by_side(message: str, tasks: tuple[str, ...]):
    assert side_by_side(message) == tasks


async def test_it_delegates_once_and_tells_what_came_of_each():
    reply = await Team().ask("In parallel: read a.md; fail at this; read b.md")
    [call] = reply.calls
    assert call.name == "delegate"
    assert call.arguments == {
        "tasks": [{"instruction": "read a.md"}, {"instruction": "fail at this"}, {"instruction": "read b.md"}]
    }
    assert reply.text == ("1. Done: read a.md\n\n2. I did not get to the end of this: no.\n\n3. Done: read b.md")


async def test_where_none_answers_it_says_why():
    reply = await Team().ask("In parallel: fail at this; fail at that")
    assert reply.text.count("I did not get to the end of this: no.") == 2


async def test_without_the_capability_it_does_one_after_the_other():
    office = Office(files={"a.md": "# A\n\nfirst text here", "b.md": "# B\n\nsecond text here"})
    reply = await office.ask("In parallel: read a.md; read b.md")
    assert "delegate" not in reply.names()
    assert "first text" in reply.text
    assert "second text" in reply.text


def test_it_is_one_intent_for_one_worker():
    [intent] = classify("In parallel: summarise a.md; summarise b.md").intents
    assert (intent.category, intent.start) == ("request", 0)
