"""Anthropic's models over the official SDK."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast

import anthropic
import httpx2
from anthropic import types
from pydantic import JsonValue

from agent.models.interface import (
    ChatMessage,
    ModelError,
    ModelOutputInvalid,
    ModelRefused,
    ModelRequest,
    ModelResponse,
    ModelTimeout,
    ModelUnavailable,
    TextSink,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from agent.models.lazy import Lazy
from agent.models.wire import arguments, billed, failure, fitting

Effort = Literal["low", "medium", "high"]

_BASE_URL = "https://api.anthropic.com"
_PROVIDER = "anthropic"
_CACHED: types.CacheControlEphemeralParam = {"type": "ephemeral"}
_THOUGHTS = ("thinking", "redacted_thinking")


class AnthropicModel:
    """A model of Anthropic's messages API, always streamed.

    `effort` is how hard a model that thinks should think; leave it out for models that do not take it. The system
    prompt (with the tools before it) and the last turn carry cache marks, so that a tool loop pays for its past once.
    """

    def __init__(self, model: str, *, api_key: str, base_url: str = _BASE_URL, effort: Effort | None = None) -> None:
        self._model = model
        self._effort = effort
        self._client = Lazy(lambda: _client(api_key, base_url))

    @property
    def name(self) -> str:
        """Such as `anthropic/claude-sonnet-5-5`."""
        return f"{_PROVIDER}/{self._model}"

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        """Answer `request`; raises `ModelError`."""
        reader = _Reader()
        with billed(lambda: reader.usage), _translated(request.deadline):
            async with asyncio.timeout(request.deadline):
                async with await self._stream(request) as stream:
                    async for event in stream:
                        text = reader.take(event)
                        if text and on_text:
                            on_text(text)
            return reader.response(self.name, request)

    async def count(self, request: ModelRequest) -> int:
        """The input tokens as Anthropic counts them; raises `ModelError`."""
        with _translated(request.deadline):
            async with asyncio.timeout(request.deadline):
                client = await self._client.get()
                counted = await client.messages.count_tokens(
                    model=self._model,
                    messages=_turns(request.messages),
                    system=_system(request),
                    tools=[_tool(tool) for tool in request.tools],
                    output_config=self._output(request) or anthropic.omit,
                    timeout=request.deadline,
                )
        return counted.input_tokens

    async def aclose(self) -> None:
        """Close the connections."""
        if client := self._client.made:
            await client.close()

    async def _stream(self, request: ModelRequest) -> anthropic.AsyncStream[types.RawMessageStreamEvent]:
        client = await self._client.get()
        return await client.messages.create(
            model=self._model,
            max_tokens=request.max_tokens,
            messages=_turns(request.messages),
            system=_system(request),
            tools=[_tool(tool) for tool in request.tools] or anthropic.omit,
            output_config=self._output(request) or anthropic.omit,
            timeout=request.deadline,
            stream=True,
        )

    def _output(self, request: ModelRequest) -> types.OutputConfigParam | None:
        """Effort and schema. A forced tool call would do for the schema too, but current models refuse it."""
        config: types.OutputConfigParam = {}
        if self._effort:
            config["effort"] = self._effort
        if request.output:
            config["format"] = {"type": "json_schema", "schema": anthropic.transform_schema(request.output)}
        return config or None


def _client(api_key: str, base_url: str) -> anthropic.AsyncAnthropic:
    # The SDK's own retries would hide failures from the trace and outlive the deadline.
    client = anthropic.AsyncAnthropic(api_key=api_key, base_url=base_url, max_retries=0, open_telemetry=False)
    # Both read files at first use, which is not for the event loop.
    client.platform_headers()
    _ = client.messages
    return client


class _Reader:
    """Puts the stream's events together."""

    def __init__(self) -> None:
        self._blocks: list[dict[str, JsonValue]] = []
        self._arguments: dict[int, str] = {}
        self.usage = Usage()
        self._stop: str | None = None
        self._complete = False

    def take(self, event: types.RawMessageStreamEvent) -> str:
        """Take in `event` and return the text it adds; raises `ModelOutputInvalid` when a part of it is missing."""
        try:
            return self._take(event)
        except (AttributeError, IndexError) as error:
            # The SDK does not check what it parses: what is missing shows when it is read.
            raise ModelOutputInvalid(f"the provider's stream breaks the protocol: {error}") from error

    def _take(self, event: types.RawMessageStreamEvent) -> str:
        match event.type:
            case "message_start":
                self._count(event.message.usage)
            case "content_block_start":
                self._blocks.append(cast(dict[str, JsonValue], event.content_block.to_dict()))
                return event.content_block.text if event.content_block.type == "text" else ""
            case "content_block_delta":
                return self._add(event.index, event.delta)
            case "message_delta":
                self._stop = event.delta.stop_reason
                self._count(event.usage)
            case "message_stop":
                self._complete = True
        return ""

    def response(self, name: str, request: ModelRequest) -> ModelResponse:
        """The whole; raises when the stream ended early or its content does not fit."""
        if not self._complete or self._stop is None:
            raise ModelUnavailable("the stream broke off before the answer was complete")
        if self._stop == "refusal":
            raise ModelRefused("the model declined to answer this request")
        calls = tuple(self._call(index) for index, block in enumerate(self._blocks) if block["type"] == "tool_use")
        text = "".join(str(block["text"]) for block in self._blocks if block["type"] == "text")
        if request.output and not calls:
            text = fitting(text, request.output, cut=self._stop in _CUT)
        return ModelResponse(
            text=text,
            calls=calls,
            model=name,
            usage=self.usage,
            stop_reason="calls" if calls else "length" if self._stop in _CUT else "end",
            provider_state=self._state(calls),
        )

    def _add(self, index: int, delta: types.RawContentBlockDelta) -> str:
        block = self._blocks[index]
        match delta.type:
            case "text_delta":
                block["text"] = f"{block.get('text', '')}{delta.text}"
                return delta.text
            case "input_json_delta":
                self._arguments[index] = self._arguments.get(index, "") + delta.partial_json
            case "thinking_delta":
                block["thinking"] = f"{block.get('thinking', '')}{delta.thinking}"
            case "signature_delta":
                block["signature"] = delta.signature
        return ""

    def _call(self, index: int) -> ToolCall:
        block = self._blocks[index]
        name = str(block["name"])
        given = self._arguments.get(index) or json.dumps(block.get("input") or {})
        block["input"] = arguments(given, name)
        return ToolCall(call_id=str(block["id"]), name=name, arguments=arguments(given, name))

    def _state(self, calls: tuple[ToolCall, ...]) -> tuple[dict[str, JsonValue], ...]:
        """The turn as it came when it has thoughts: their signatures hold only for the unchanged turn."""
        if not calls or not any(block["type"] in _THOUGHTS for block in self._blocks):
            return ()
        content: list[JsonValue] = [dict(block) for block in self._blocks if block["type"] != "text" or block["text"]]
        return ({"provider": _PROVIDER, "content": content},)

    def _count(self, usage: types.Usage | types.MessageDeltaUsage) -> None:
        cached = usage.cache_read_input_tokens or 0
        read = (usage.input_tokens or 0) + cached + (usage.cache_creation_input_tokens or 0)
        # The counts of a later event are totals, but those that did not change may be missing.
        self.usage = Usage(
            input=max(read, self.usage.input),
            cached=max(cached, self.usage.cached),
            output=max(usage.output_tokens or 0, self.usage.output),
        )


_CUT = ("max_tokens", "model_context_window_exceeded")


def _system(request: ModelRequest) -> list[types.TextBlockParam]:
    return [{"type": "text", "text": request.system, "cache_control": _CACHED}] if request.system else []


def _tool(tool: Tool) -> types.ToolParam:
    schema: dict[str, object] = {"type": "object", **tool.parameters}
    return {"name": tool.name, "description": tool.description, "input_schema": schema}


def _turns(messages: tuple[ChatMessage, ...]) -> list[types.MessageParam]:
    turns = [turn for message in messages if (turn := _turn(message))["content"]]
    if turns and isinstance(content := turns[-1]["content"], list) and content[-1]["type"] in ("text", "tool_result"):
        content[-1] = {**content[-1], "cache_control": _CACHED}
    return turns


def _turn(message: ChatMessage) -> types.MessageParam:
    if message.role == "tool":
        return {"role": "user", "content": [_result(result) for result in message.results]}
    text: list[types.TextBlockParam] = [{"type": "text", "text": message.text}] if message.text.strip() else []
    if message.role == "user":
        return {"role": "user", "content": text}
    own = next((state["content"] for state in message.provider_state if state.get("provider") == _PROVIDER), None)
    if isinstance(own, list):
        return cast(types.AssistantMessageParam, {"role": "assistant", "content": own})
    return {"role": "assistant", "content": [*text, *(_use(call) for call in message.calls)]}


def _use(call: ToolCall) -> types.ToolUseBlockParam:
    return {"type": "tool_use", "id": call.call_id, "name": call.name, "input": dict(call.arguments)}


def _result(result: ToolResult) -> types.ToolResultBlockParam:
    return {
        "type": "tool_result",
        "tool_use_id": result.call_id,
        "content": result.content,
        "is_error": result.is_error,
    }


@contextmanager
def _translated(deadline: float) -> Iterator[None]:
    """The one place where the SDK's errors, and those of the HTTP client below it, become ours."""
    try:
        yield
    except (TimeoutError, anthropic.APITimeoutError, httpx2.TimeoutException) as error:
        raise ModelTimeout(f"the provider did not finish within {deadline:g} s") from error
    except anthropic.APIStatusError as error:
        raise _status(error) from error
    except (anthropic.APIConnectionError, httpx2.HTTPError, httpx2.StreamError) as error:
        raise ModelUnavailable(f"the connection to the provider failed: {error}") from error
    except (json.JSONDecodeError, anthropic.APIResponseValidationError) as error:
        raise ModelOutputInvalid(f"the provider's stream breaks the protocol: {error!r}") from error
    except anthropic.AnthropicError as error:
        raise ModelRefused(f"the request cannot be sent: {error}") from error


def _status(error: anthropic.APIStatusError) -> ModelError:
    # An error inside a stream comes with the status 200 of the stream: its type says what it is.
    status = _IN_STREAM.get(str(error.type), 500) if error.status_code < 400 else error.status_code
    return failure(status, error.api_message or error.message, error.response.headers)


_IN_STREAM = {"rate_limit_error": 429, "timeout_error": 408, "invalid_request_error": 400, "authentication_error": 401}
_IN_STREAM |= {"permission_error": 403, "not_found_error": 404, "billing_error": 402, "overloaded_error": 529}
