import pytest
from pydantic import BaseModel

from agent.models.interface import (
    ChatMessage,
    ModelOutputInvalid,
    ModelRequest,
    ModelResponse,
    ModelTimeout,
    ModelUnavailable,
    ToolCall,
)
from agent.models.scripted import ScriptedModel, ScriptExhausted
from agent.prompts import mark
from empla.classification import Classification


class Plan(BaseModel):
    steps: list[str]


def request(text: str = "Hi", **fields: object) -> ModelRequest:
    return ModelRequest(system="", messages=(ChatMessage(role="user", text=text),), **fields)  # type: ignore[arg-type]


async def test_it_follows_its_script() -> None:
    call = ToolCall(call_id="1", name="read_file", arguments={"path": "a"})
    model = ScriptedModel(
        [ModelResponse(calls=(call,), model="m", stop_reason="calls"), ModelUnavailable("down"), "done"]
    )
    assert (await model.generate(request("one"))).calls == (call,)
    with pytest.raises(ModelUnavailable):
        await model.generate(request("two"))
    assert (await model.generate(request("three"))).text == "done"
    assert [r.messages[0].text for r in model.requests] == ["one", "two", "three"]
    with pytest.raises(ScriptExhausted):
        await model.generate(request())


async def test_a_function_can_be_the_script() -> None:
    model = ScriptedModel(lambda asked: asked.messages[-1].text.upper())
    assert (await model.generate(request("quiet"))).text == "QUIET"


async def test_without_a_script_it_says_the_message_back() -> None:
    pieces: list[str] = []
    response = await ScriptedModel().generate(request(mark("message", "Hello there", sender="Ann")), pieces.append)
    assert response.text == "You said: Hello there"
    assert "".join(pieces) == response.text


async def test_output_is_checked() -> None:
    model = ScriptedModel(['{"steps": ["a"]}', '{"steps": 3}'])
    assert Plan.model_validate_json((await model.generate(request(output=Plan))).text).steps == ["a"]
    with pytest.raises(ModelOutputInvalid):
        await model.generate(request(output=Plan))


async def test_the_default_script_classifies() -> None:
    response = await ScriptedModel().generate(
        request(mark("message", "How are sales?", sender="A"), output=Classification)
    )
    assert Classification.model_validate_json(response.text).category == "question"


async def test_a_delay_over_the_deadline_is_a_timeout() -> None:
    with pytest.raises(ModelTimeout):
        await ScriptedModel(["late"], delay=5).generate(request(deadline=0.01))
