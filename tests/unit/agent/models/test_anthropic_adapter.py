"""The Anthropic adapter against a server that speaks its wire format."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import BaseModel

from agent.models.anthropic import AnthropicModel
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
from tests.unit.agent.models.provider_server import (
    ProviderServer,
    Reply,
    anthropic_block,
    anthropic_call,
    anthropic_end,
    anthropic_error,
    anthropic_event,
    anthropic_start,
    anthropic_text,
)

SEARCH = Tool(
    name="search_files",
    description="Search.",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}},
)


class Weather(BaseModel):
    city: str
    degrees: int


def request(text: str = "Hello", **fields: object) -> ModelRequest:
    return ModelRequest(system="You are Sam.", messages=(ChatMessage(role="user", text=text),), **fields)  # type: ignore[arg-type]


@pytest.fixture
async def model(provider: ProviderServer) -> AsyncIterator[AnthropicModel]:
    model = AnthropicModel("claude-test", api_key="key-1", base_url=provider.url)
    yield model
    await model.aclose()


async def fails(model: AnthropicModel, provider: ProviderServer, reply: Reply, **fields: Any) -> ModelError:
    provider.replies.append(reply)
    with pytest.raises(ModelError) as caught:
        await model.generate(request(**fields))
    return caught.value


async def test_text_is_streamed_and_counted(model: AnthropicModel, provider: ProviderServer) -> None:
    provider.replies.append(
        Reply(events=[anthropic_start(cached=7), *anthropic_text("Hel", "lo ", "Ann"), *anthropic_end()])
    )
    pieces: list[str] = []
    response = await model.generate(request(), pieces.append)
    assert pieces == ["Hel", "lo ", "Ann"]
    assert response.text == "Hello Ann"
    assert response.model == "anthropic/claude-test"
    assert response.stop_reason == "end"
    assert (response.usage.input, response.usage.cached, response.usage.output) == (30, 7, 9)


async def test_what_is_sent(model: AnthropicModel, provider: ProviderServer) -> None:
    provider.replies.append(Reply(events=[anthropic_start(), *anthropic_text("ok"), *anthropic_end()]))
    call = ToolCall(call_id="t1", name="search_files", arguments={"query": "x"})
    messages = (
        ChatMessage(role="user", text="Find x"),
        ChatMessage(role="assistant", calls=(call,)),
        ChatMessage(
            role="tool", results=(ToolResult(call_id="t1", name="search_files", content="none", is_error=True),)
        ),
    )
    await model.generate(ModelRequest(system="Sys", messages=messages, tools=(SEARCH,), max_tokens=77))
    body = provider.received[0].body
    assert provider.received[0].headers["authorization"] == "Bearer key-1"
    assert (body["model"], body["max_tokens"], body["stream"]) == ("claude-test", 77, True)
    assert body["system"] == [{"type": "text", "text": "Sys", "cache_control": {"type": "ephemeral"}}]
    assert body["tools"][0]["input_schema"] == SEARCH.parameters
    use, result = body["messages"][1]["content"][0], body["messages"][2]["content"][0]
    assert use == {"type": "tool_use", "id": "t1", "name": "search_files", "input": {"query": "x"}}
    assert result["tool_use_id"] == "t1"
    assert result["is_error"] is True
    assert result["cache_control"] == {"type": "ephemeral"}


async def test_tool_calls_come_whole(model: AnthropicModel, provider: ProviderServer) -> None:
    events = [*anthropic_text("Let me look."), *anthropic_call("t1", "search_files", '{"que', 'ry": "deals"}', index=1)]
    events += anthropic_call("t2", "list_files", index=2)
    provider.replies.append(Reply(events=[anthropic_start(), *events, *anthropic_end("tool_use")]))
    response = await model.generate(request(tools=(SEARCH,)))
    assert response.text == "Let me look."
    assert response.stop_reason == "calls"
    assert [(call.call_id, call.name, call.arguments) for call in response.calls] == [
        ("t1", "search_files", {"query": "deals"}),
        ("t2", "list_files", {}),
    ]


async def test_thoughts_go_back_unchanged(model: AnthropicModel, provider: ProviderServer) -> None:
    thought = anthropic_block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "signature_delta", "signature": "sig"},
    )
    events = [
        anthropic_start(),
        *thought,
        *anthropic_call("t1", "search_files", '{"query": "a"}', index=1),
        *anthropic_end("tool_use"),
    ]
    provider.replies += [
        Reply(events=events),
        Reply(events=[anthropic_start(), *anthropic_text("done"), *anthropic_end()]),
    ]
    first = request(tools=(SEARCH,))
    response = await model.generate(first)
    result = ChatMessage(role="tool", results=(ToolResult(call_id="t1", name="search_files", content="-"),))
    await model.generate(ModelRequest(system="", messages=(*first.messages, response.turn(), result), tools=(SEARCH,)))
    assert provider.received[1].body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "tool_use", "id": "t1", "name": "search_files", "input": {"query": "a"}},
    ]


async def test_structured_output(model: AnthropicModel, provider: ProviderServer) -> None:
    provider.replies.append(
        Reply(events=[anthropic_start(), *anthropic_text('{"city": "Rome",', ' "degrees": 30}'), *anthropic_end()])
    )
    response = await model.generate(request(output=Weather))
    assert Weather.model_validate_json(response.text) == Weather(city="Rome", degrees=30)
    sent = provider.received[0].body["output_config"]["format"]
    assert sent["type"] == "json_schema"
    assert sent["schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    "text", ['{"city": "Rome"}', '{"city": "Rome", "degrees": "warm"}', '{"city": "Ro', "It is warm."]
)
async def test_output_that_does_not_fit(model: AnthropicModel, provider: ProviderServer, text: str) -> None:
    reply = Reply(events=[anthropic_start(), *anthropic_text(text), *anthropic_end()])
    error = await fails(model, provider, reply, output=Weather)
    assert isinstance(error, ModelOutputInvalid)
    assert error.retryable


async def test_output_that_is_cut_off(model: AnthropicModel, provider: ProviderServer) -> None:
    reply = Reply(events=[anthropic_start(), *anthropic_text('{"city": "Ro'), *anthropic_end("max_tokens")])
    error = await fails(model, provider, reply, output=Weather)
    assert isinstance(error, ModelOutputCut)
    assert error.usage == Usage(input=23, output=9)  # it is billed all the same


async def test_malformed_arguments(model: AnthropicModel, provider: ProviderServer) -> None:
    reply = Reply(
        events=[anthropic_start(), *anthropic_call("t1", "search_files", '{"query": "un'), *anthropic_end("max_tokens")]
    )
    assert isinstance(await fails(model, provider, reply), ModelOutputInvalid)


async def test_length_is_told(model: AnthropicModel, provider: ProviderServer) -> None:
    provider.replies.append(Reply(events=[anthropic_start(), *anthropic_text("And th"), *anthropic_end("max_tokens")]))
    assert (await model.generate(request())).stop_reason == "length"


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", ModelRefused),
        (401, "authentication_error", ModelRefused),
        (403, "permission_error", ModelRefused),
        (404, "not_found_error", ModelRefused),
        (429, "rate_limit_error", ModelRateLimited),
        (500, "api_error", ModelUnavailable),
        (503, "api_error", ModelUnavailable),
        (529, "overloaded_error", ModelUnavailable),
    ],
)
async def test_statuses(
    model: AnthropicModel, provider: ProviderServer, status: int, kind: str, expected: type[ModelError]
) -> None:
    error = await fails(model, provider, Reply(status=status, body=anthropic_error(kind, "no luck")))
    assert type(error) is expected
    assert "no luck" in str(error)
    assert len(provider.received) == 1, "the SDK must not retry on its own"


async def test_retry_after_in_seconds(model: AnthropicModel, provider: ProviderServer) -> None:
    reply = Reply(status=429, headers={"retry-after": "7.5"}, body=anthropic_error("rate_limit_error", "slow down"))
    assert (await fails(model, provider, reply)).retry_after == 7.5


async def test_retry_after_as_a_date(model: AnthropicModel, provider: ProviderServer) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    reply = Reply(status=529, headers={"retry-after": when}, body=anthropic_error("overloaded_error", "busy"))
    wait = (await fails(model, provider, reply)).retry_after
    assert wait is not None
    assert 30 < wait <= 90


async def test_an_error_inside_the_stream(model: AnthropicModel, provider: ProviderServer) -> None:
    broken = anthropic_event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    error = await fails(model, provider, Reply(events=[anthropic_start(), *anthropic_text("He"), broken]))
    assert type(error) is ModelUnavailable


@pytest.mark.parametrize("ending", ["close", "cut"])
async def test_a_stream_that_breaks_off(model: AnthropicModel, provider: ProviderServer, ending: str) -> None:
    error = await fails(model, provider, Reply(events=[anthropic_start(), *anthropic_text("Hal")], ending=ending))
    assert type(error) is ModelUnavailable


@pytest.mark.parametrize("ending", ["stall", "drip"])
async def test_a_stream_that_does_not_end(model: AnthropicModel, provider: ProviderServer, ending: str) -> None:
    reply = Reply(events=[anthropic_start(), *anthropic_text("Hal")], ending=ending)
    assert isinstance(await fails(model, provider, reply, deadline=0.3), ModelTimeout)


async def test_events_that_are_no_json(model: AnthropicModel, provider: ProviderServer) -> None:
    error = await fails(model, provider, Reply(events=[anthropic_start(), "event: message_delta\ndata: {oops\n\n"]))
    assert isinstance(error, ModelOutputInvalid)


async def test_events_that_lack_their_parts(model: AnthropicModel, provider: ProviderServer) -> None:
    odd = anthropic_event("content_block_delta", index=4, delta={"type": "text_delta"})
    assert isinstance(await fails(model, provider, Reply(events=[anthropic_start(), odd])), ModelOutputInvalid)


async def test_a_server_that_is_not_there() -> None:
    model = AnthropicModel("claude-test", api_key="k", base_url="http://127.0.0.1:9")
    with pytest.raises(ModelUnavailable):
        await model.generate(request())
    await model.aclose()


async def test_a_declined_request(model: AnthropicModel, provider: ProviderServer) -> None:
    error = await fails(model, provider, Reply(events=[anthropic_start(), *anthropic_end("refusal")]))
    assert isinstance(error, ModelRefused)


async def test_count_asks_the_provider(model: AnthropicModel, provider: ProviderServer) -> None:
    provider.replies.append(Reply(body={"input_tokens": 321}))
    assert await model.count(request(tools=(SEARCH,))) == 321
    assert provider.received[0].path.endswith("/count_tokens")
    assert json.dumps(provider.received[0].body["tools"])
