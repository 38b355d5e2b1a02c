"""The OpenAI adapter against a server that speaks its wire format."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from agent.models.interface import (
    ChatMessage,
    ModelError,
    ModelOutputCut,
    ModelOutputInvalid,
    ModelRateLimited,
    ModelRefused,
    ModelRequest,
    ModelTimeout,
    ModelUnavailable,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from agent.models.openai import OpenAIModel
from tests.unit.agent.models.provider_server import (
    ProviderServer,
    Reply,
    openai_call,
    openai_chunk,
    openai_end,
    openai_error,
    openai_text,
)

SEARCH = Tool(
    name="search_files",
    description="Search.",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}},
)


class Weather(BaseModel):
    city: str
    degrees: int


def request(text: str = "Hello", **fields: Any) -> ModelRequest:
    return ModelRequest(system="You are Sam.", messages=(ChatMessage(role="user", text=text),), **fields)


@pytest.fixture
async def model(provider: ProviderServer) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel("test-model", api_key="key-1", base_url=provider.url)
    yield model
    await model.aclose()


async def fails(model: OpenAIModel, provider: ProviderServer, reply: Reply, **fields: Any) -> ModelError:
    provider.replies.append(reply)
    with pytest.raises(ModelError) as caught:
        await model.generate(request(**fields))
    return caught.value


async def test_text_is_streamed_and_counted(model: OpenAIModel, provider: ProviderServer) -> None:
    provider.replies.append(Reply(events=[*openai_text("Hel", "lo"), *openai_end()]))
    pieces: list[str] = []
    response = await model.generate(request(), pieces.append)
    assert pieces == ["Hel", "lo"]
    assert response.text == "Hello"
    assert response.model == "openai/test-model"
    assert (response.usage.input, response.usage.cached, response.usage.output) == (30, 12, 7)


async def test_what_is_sent(model: OpenAIModel, provider: ProviderServer) -> None:
    provider.replies.append(Reply(events=[*openai_text("ok"), *openai_end()]))
    call = ToolCall(call_id="t1", name="search_files", arguments={"query": "x"})
    messages = (
        ChatMessage(role="user", text="Find x"),
        ChatMessage(role="assistant", text="Looking", calls=(call,)),
        ChatMessage(
            role="tool", results=(ToolResult(call_id="t1", name="search_files", content="none", is_error=True),)
        ),
    )
    await model.generate(ModelRequest(system="Sys", messages=messages, tools=(SEARCH,), max_tokens=77))
    body = provider.received[0].body
    assert provider.received[0].headers["authorization"] == "Bearer key-1"
    assert (body["model"], body["max_tokens"], body["stream"]) == ("test-model", 77, True)
    assert "reasoning_effort" not in body
    assert body["messages"][0] == {"role": "system", "content": "Sys"}
    assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "search_files", "arguments": '{"query": "x"}'}
    assert body["messages"][3] == {"role": "tool", "tool_call_id": "t1", "content": "ERROR: none"}
    assert body["tools"][0]["function"]["parameters"] == SEARCH.parameters


async def test_tool_calls_come_whole(model: OpenAIModel, provider: ProviderServer) -> None:
    events = [
        *openai_call(0, "t1", "search_files", '{"que', 'ry": "deals"}'),
        *openai_call(1, "t2", "list_files", "{}"),
    ]
    provider.replies.append(Reply(events=[*events, *openai_end("tool_calls")]))
    response = await model.generate(request(tools=(SEARCH,)))
    assert response.stop_reason == "calls"
    assert [(call.call_id, call.name, call.arguments) for call in response.calls] == [
        ("t1", "search_files", {"query": "deals"}),
        ("t2", "list_files", {}),
    ]


async def test_calls_without_numbers(model: OpenAIModel, provider: ProviderServer) -> None:
    parts = [
        {"id": "a", "function": {"name": "one", "arguments": ""}},
        {"function": {"arguments": '{"x": 1}'}},
        {"id": "b", "function": {"name": "two", "arguments": "{}"}},
    ]
    events = [openai_chunk({"tool_calls": [part]}) for part in parts]
    provider.replies.append(Reply(events=[*events, *openai_end("tool_calls")]))
    calls = (await model.generate(request(tools=(SEARCH,)))).calls
    assert [(call.call_id, call.name, call.arguments) for call in calls] == [("a", "one", {"x": 1}), ("b", "two", {})]


async def test_open_reasoning_goes_back(model: OpenAIModel, provider: ProviderServer) -> None:
    thought = openai_chunk({"reasoning_content": "Hm"})
    provider.replies += [
        Reply(events=[thought, *openai_call(0, "t1", "search_files", "{}"), *openai_end("tool_calls")]),
        Reply(events=[*openai_text("ok"), *openai_end()]),
    ]
    first = request(tools=(SEARCH,))
    response = await model.generate(first)
    await model.generate(ModelRequest(system="", messages=(*first.messages, response.turn())))
    assert provider.received[1].body["messages"][1]["reasoning_content"] == "Hm"


async def test_structured_output(model: OpenAIModel, provider: ProviderServer) -> None:
    provider.replies.append(Reply(events=[*openai_text('{"city": "Rome",', ' "degrees": 30}'), *openai_end()]))
    response = await model.generate(request(output=Weather))
    assert Weather.model_validate_json(response.text) == Weather(city="Rome", degrees=30)
    sent = provider.received[0].body["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"]["additionalProperties"] is False
    assert sent["schema"]["required"] == ["city", "degrees"]


async def test_output_in_a_code_fence_still_fits(model: OpenAIModel, provider: ProviderServer) -> None:
    provider.replies.append(Reply(events=[*openai_text('```json\n{"city": "Rome", "degrees": 3}\n```'), *openai_end()]))
    assert json.loads((await model.generate(request(output=Weather))).text) == {"city": "Rome", "degrees": 3}


@pytest.mark.parametrize("text", ['{"city": "Rome"}', '{"city": "Ro', "It is warm."])
async def test_output_that_does_not_fit(model: OpenAIModel, provider: ProviderServer, text: str) -> None:
    assert isinstance(
        await fails(model, provider, Reply(events=[*openai_text(text), *openai_end()]), output=Weather),
        ModelOutputInvalid,
    )


async def test_output_that_is_cut_off(model: OpenAIModel, provider: ProviderServer) -> None:
    reply = Reply(events=[*openai_text('{"city": "Ro'), *openai_end("length")])
    error = await fails(model, provider, reply, output=Weather)
    assert isinstance(error, ModelOutputCut)
    assert error.usage == Usage(input=30, cached=12, output=7)  # it is billed all the same


async def test_malformed_arguments(model: OpenAIModel, provider: ProviderServer) -> None:
    reply = Reply(events=[*openai_call(0, "t1", "search_files", '{"query": "un'), *openai_end("length")])
    assert isinstance(await fails(model, provider, reply), ModelOutputInvalid)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "invalid_request_error", ModelRefused),
        (401, "invalid_api_key", ModelRefused),
        (403, "forbidden", ModelRefused),
        (404, "model_not_found", ModelRefused),
        (429, "rate_limit_exceeded", ModelRateLimited),
        (429, "insufficient_quota", ModelRefused),
        (500, "server_error", ModelUnavailable),
        (503, "overloaded", ModelUnavailable),
    ],
)
async def test_statuses(
    model: OpenAIModel, provider: ProviderServer, status: int, code: str, expected: type[ModelError]
) -> None:
    error = await fails(model, provider, Reply(status=status, body=openai_error("no luck", code)))
    assert type(error) is expected
    assert "no luck" in str(error)
    assert len(provider.received) == 1, "the SDK must not retry on its own"


async def test_retry_after(model: OpenAIModel, provider: ProviderServer) -> None:
    reply = Reply(
        status=429,
        headers={"retry-after": "3", "retry-after-ms": "2500"},
        body=openai_error("slow", "rate_limit_exceeded"),
    )
    assert (await fails(model, provider, reply)).retry_after == 2.5


@pytest.mark.parametrize(
    ("code", "expected"), [("rate_limit_exceeded", ModelRateLimited), ("server_error", ModelUnavailable)]
)
async def test_an_error_inside_the_stream(
    model: OpenAIModel, provider: ProviderServer, code: str, expected: type[ModelError]
) -> None:
    broken = f"data: {json.dumps(openai_error('Overloaded', code))}\n\n"
    assert type(await fails(model, provider, Reply(events=[*openai_text("He"), broken]))) is expected


@pytest.mark.parametrize("ending", ["close", "cut"])
async def test_a_stream_that_breaks_off(model: OpenAIModel, provider: ProviderServer, ending: str) -> None:
    assert type(await fails(model, provider, Reply(events=openai_text("Hal"), ending=ending))) is ModelUnavailable


@pytest.mark.parametrize("ending", ["stall", "drip"])
async def test_a_stream_that_does_not_end(model: OpenAIModel, provider: ProviderServer, ending: str) -> None:
    reply = Reply(events=openai_text("Hal"), ending=ending)
    assert isinstance(await fails(model, provider, reply, deadline=0.3), ModelTimeout)


async def test_events_that_are_no_json(model: OpenAIModel, provider: ProviderServer) -> None:
    assert isinstance(await fails(model, provider, Reply(events=["data: {oops\n\n"])), ModelOutputInvalid)


async def test_events_that_lack_their_parts(model: OpenAIModel, provider: ProviderServer) -> None:
    assert isinstance(await fails(model, provider, Reply(events=['data: {"choices": [{}]}\n\n'])), ModelOutputInvalid)


async def test_a_declined_request(model: OpenAIModel, provider: ProviderServer) -> None:
    error = await fails(model, provider, Reply(events=[openai_chunk({"refusal": "I cannot"}), *openai_end()]))
    assert isinstance(error, ModelRefused)
    assert "I cannot" in str(error)


async def test_count_is_not_far_under(model: OpenAIModel) -> None:
    # 30 tokens by OpenAI's own o200k tokenizer, 37 with what the chat format adds.
    text = "The quick brown fox jumps over the lazy dog. " * 3
    assert 30 <= await model.count(ModelRequest(system="", messages=(ChatMessage(role="user", text=text),))) <= 60
