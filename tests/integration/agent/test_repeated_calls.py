"""A model that makes the same call again and again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.models.interface import ModelRequest, ModelResponse, ToolCall
from agent.models.scripted import ScriptedModel, Step, echo
from tests.integration.agent.conftest import Office
from tests.integration.agent.test_pipeline import answered


def calling(*calls: tuple[str, dict[str, Any]]) -> ScriptedModel:
    """A model that makes these calls, one a response, and then says what came of the last one."""
    left = [ToolCall(call_id=str(number), name=name, arguments=given) for number, (name, given) in enumerate(calls)]

    def script(request: ModelRequest) -> Step:
        if request.output is not None:
            return echo(request)
        if left:
            return ModelResponse(calls=(left.pop(0),), model="scripted", stop_reason="calls")
        return ModelResponse(text=request.messages[-1].results[-1].content, model="scripted")

    return ScriptedModel(script)


@pytest.fixture
def computing(office: Office, jailable_workspace: Path) -> Office:
    """An office whose employee can run programs."""
    return replace(office, workspace=jailable_workspace)


LOOK = ("run_command", {"command": "cat count.txt"})


async def test_a_call_that_is_made_over_and_over_is_refused(computing: Office):
    async with computing.employee(calling(*[LOOK] * 4)) as gateway:
        message_id, _ = await answered(computing, gateway, "Look")
    [reply] = await computing.replies(message_id)
    assert "made this very call before" in reply


async def test_after_a_change_the_same_call_makes_sense_again(computing: Office):
    steps = [(("append_file", {"path": "count.txt", "content": f"{number}\n"}), LOOK) for number in range(5)]
    async with computing.employee(calling(*(call for pair in steps for call in pair))) as gateway:
        message_id, _ = await answered(computing, gateway, "Count")
    [reply] = await computing.replies(message_id)
    assert "0\\n1\\n2\\n3\\n4\\n" in reply


async def test_bytes_that_no_database_takes_can_be_printed(computing: Office):
    async with computing.employee(calling(("run_command", {"command": "printf 'a\\000b\\377c'"}))) as gateway:
        message_id, state = await answered(computing, gateway, "Print")
    assert state == "sending"
    [reply] = await computing.replies(message_id)
    assert "exited with code 0" in reply


@pytest.mark.parametrize(
    "code",
    [r"print('\0')", r"'\0'", r"raise ValueError('\0\ud800')", r"print('\ud800')", r"import sys; sys.exit('\0')"],
)
async def test_characters_that_no_database_takes_come_from_python_too(computing: Office, code: str):
    async with computing.employee(calling(("run_python", {"code": code}))) as gateway:
        message_id, state = await answered(computing, gateway, "Print")
    assert state == "sending"
    [reply] = await computing.replies(message_id)
    assert '"end":' in reply


async def test_a_failure_may_name_them(computing: Office):
    async with computing.employee(calling(("run_command", {"command": "true", "cwd": "a\x01b"}))) as gateway:
        _, state = await answered(computing, gateway, "Print")
    assert state == "sending"
