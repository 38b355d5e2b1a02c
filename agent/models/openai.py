"""OpenAI's models, and any server that speaks OpenAI's chat completions, over the official SDK."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
import openai
from openai.types import CompletionUsage, ReasoningEffort, chat
from openai.types.chat.chat_completion_chunk import Choice, ChoiceDeltaToolCall
from openai.types.chat.chat_completion_message_function_tool_call_param import Function
from openai.types.shared_params import ResponseFormatJSONSchema
from pydantic import BaseModel, JsonValue

from agent.models.estimate import estimate_request
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

_BASE_URL = "https://api.openai.com/v1"
_PROVIDER = "openai"
_NO_EFFORT_WITH_TOOLS = ("gpt-5.6", "gpt-6-sol", "gpt-6-luna")
"""Models that take tools in chat completions only when told not to reason (OpenAI's error of 2026 says so)."""


class OpenAIModel:
    """A model behind the chat completions API, always streamed. Prompts are cached by the provider without marks.

    With `base_url` it is any compatible server; what only OpenAI itself understands is then left out.
    """

    def __init__(self, model: str, *, api_key: str, base_url: str | None = None) -> None:
        self._model = model
        self._own = base_url is None
        self._client = Lazy(lambda: _client(api_key, base_url or _BASE_URL))

    @property
    def name(self) -> str:
        """Such as `openai/gpt-5.6-terra`."""
        return f"{_PROVIDER}/{self._model}"

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        """Answer `request`; raises `ModelError`."""
        reader = _Reader()
        with billed(lambda: reader.usage), _translated(request.deadline):
            async with asyncio.timeout(request.deadline):
                async with await self._stream(request) as stream:
                    async for chunk in stream:
                        text = reader.take(chunk)
                        if text and on_text:
                            on_text(text)
            return reader.response(self.name, request)

    async def count(self, request: ModelRequest) -> int:
        """An estimate on the high side: the API has no way to ask."""
        return estimate_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        if client := self._client.made:
            await client.close()

    async def _stream(self, request: ModelRequest) -> openai.AsyncStream[chat.ChatCompletionChunk]:
        client = await self._client.get()
        return await client.chat.completions.create(
            model=self._model,
            messages=_turns(request),
            tools=[_tool(tool) for tool in request.tools] or openai.omit,
            response_format=_format(request.output) if request.output else openai.omit,
            # Older compatible servers know only the older name.
            max_completion_tokens=request.max_tokens if self._own else openai.omit,
            max_tokens=openai.omit if self._own else request.max_tokens,
            reasoning_effort=self._effort(request),
            stream=True,
            stream_options={"include_usage": True},
            timeout=request.deadline,
        )

    def _effort(self, request: ModelRequest) -> ReasoningEffort | openai.Omit:
        needed = self._own and request.tools and self._model.startswith(_NO_EFFORT_WITH_TOOLS)
        return "none" if needed else openai.omit


def _client(api_key: str, base_url: str) -> openai.AsyncOpenAI:
    # The SDK's own retries would hide failures from the trace and outlive the deadline.
    client = openai.AsyncOpenAI(api_key=api_key, base_url=base_url, max_retries=0)
    # Both read files at first use, which is not for the event loop.
    client.platform_headers()
    _ = client.chat.completions
    return client


@dataclass(slots=True)
class _PartialCall:
    """A tool call as far as it has come."""

    call_id: str = ""
    name: str = ""
    given: str = ""


@dataclass(slots=True)
class _Reader:
    """Puts the stream's chunks together."""

    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: dict[int, _PartialCall] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    finish: str | None = None

    def take(self, chunk: chat.ChatCompletionChunk) -> str:
        """Take in `chunk` and return the text it adds; raises `ModelOutputInvalid` when a part of it is missing."""
        try:
            if chunk.usage:
                self.usage = _usage(chunk.usage)
            return "".join([self._add(choice) for choice in (chunk.choices or [])[:1]])
        except (AttributeError, TypeError) as error:
            # The SDK does not check what it parses: what is missing shows when it is read.
            raise ModelOutputInvalid(f"the provider's stream breaks the protocol: {error}") from error

    def response(self, name: str, request: ModelRequest) -> ModelResponse:
        """The whole; raises when the stream ended early or its content does not fit."""
        if self.finish is None:
            raise ModelUnavailable("the stream broke off before the answer was complete")
        if self.refusal or self.finish == "content_filter":
            raise ModelRefused(
                f"the model declined to answer this request: {''.join(self.refusal) or 'content filter'}"
            )
        calls = tuple(_call(index, part) for index, part in sorted(self.calls.items()))
        text = "".join(self.text)
        if request.output and not calls:
            text = fitting(text, request.output, cut=self.finish == "length")
        return ModelResponse(
            text=text,
            calls=calls,
            model=name,
            usage=self.usage,
            stop_reason="calls" if calls else "length" if self.finish == "length" else "end",
            provider_state=self._state(calls),
        )

    def _add(self, choice: Choice) -> str:
        self.finish = choice.finish_reason or self.finish
        delta = choice.delta
        self.text.append(delta.content or "")
        if delta.refusal:
            self.refusal.append(delta.refusal)
        if thought := (delta.model_extra or {}).get("reasoning_content"):
            self.reasoning.append(str(thought))
        for part in delta.tool_calls or []:
            self._add_call(part)
        return delta.content or ""

    def _add_call(self, part: ChoiceDeltaToolCall) -> None:
        # Some servers number no calls, but begin each with its id.
        index = part.index if part.index is not None else len(self.calls) - (0 if part.id or not self.calls else 1)
        call = self.calls.setdefault(index, _PartialCall())
        call.call_id = part.id or call.call_id
        if part.function:
            call.name += part.function.name or ""
            call.given += part.function.arguments or ""

    def _state(self, calls: tuple[ToolCall, ...]) -> tuple[dict[str, JsonValue], ...]:
        """What compatible servers with open reasoning want back inside a tool loop."""
        if not calls or not self.reasoning:
            return ()
        return ({"provider": _PROVIDER, "reasoning_content": "".join(self.reasoning)},)


def _call(index: int, part: _PartialCall) -> ToolCall:
    if not part.name:
        raise ModelOutputInvalid("the model calls a tool without naming it")
    return ToolCall(call_id=part.call_id or f"call-{index}", name=part.name, arguments=arguments(part.given, part.name))


def _usage(usage: CompletionUsage) -> Usage:
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details else 0
    return Usage(input=usage.prompt_tokens or 0, cached=cached, output=usage.completion_tokens or 0)


def _format(output: type[BaseModel]) -> ResponseFormatJSONSchema:
    strict = openai.pydantic_function_tool(output)["function"]
    schema = strict["parameters"]
    return {"type": "json_schema", "json_schema": {"name": output.__name__, "schema": schema, "strict": True}}


def _tool(tool: Tool) -> chat.ChatCompletionFunctionToolParam:
    schema: dict[str, object] = {"type": "object", "properties": {}, **tool.parameters}
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": schema}}


def _turns(request: ModelRequest) -> list[chat.ChatCompletionMessageParam]:
    system: list[chat.ChatCompletionMessageParam] = (
        [{"role": "system", "content": request.system}] if request.system else []
    )
    return [*system, *(turn for message in request.messages for turn in _turn(message))]


def _turn(message: ChatMessage) -> list[chat.ChatCompletionMessageParam]:
    if message.role == "tool":
        return [{"role": "tool", "tool_call_id": r.call_id, "content": _content(r)} for r in message.results]
    if message.role == "user":
        return [{"role": "user", "content": message.text}]
    turn: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    if message.calls:
        turn["tool_calls"] = [_made(call) for call in message.calls]
    for state in message.provider_state:
        if state.get("provider") == _PROVIDER:
            turn["reasoning_content"] = state["reasoning_content"]
    return [cast(chat.ChatCompletionAssistantMessageParam, turn)]


def _content(result: ToolResult) -> str:
    # Chat completions have no field for it.
    return f"ERROR: {result.content}" if result.is_error else result.content


def _made(call: ToolCall) -> chat.ChatCompletionMessageFunctionToolCallParam:
    function: Function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.call_id, "type": "function", "function": function}


@contextmanager
def _translated(deadline: float) -> Iterator[None]:
    """The one place where the SDK's errors, and those of the HTTP client below it, become ours."""
    try:
        yield
    except (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException) as error:
        raise ModelTimeout(f"the provider did not finish within {deadline:g} s") from error
    except openai.APIStatusError as error:
        raise _status(error) from error
    except (openai.APIConnectionError, httpx2.HTTPError, httpx2.StreamError) as error:
        raise ModelUnavailable(f"the connection to the provider failed: {error}") from error
    except (json.JSONDecodeError, openai.APIResponseValidationError) as error:
        raise ModelOutputInvalid(f"the provider's stream breaks the protocol: {error!r}") from error
    except openai.APIError as error:
        raise failure(_IN_STREAM.get(str(error.code or error.type), 500), error.message, {}) from error
    except openai.OpenAIError as error:
        raise ModelRefused(f"the request cannot be sent: {error}") from error


def _status(error: openai.APIStatusError) -> ModelError:
    # A quota that is used up has the status of a rate limit, but no wait helps.
    status = 402 if error.code == "insufficient_quota" else error.status_code
    return failure(status, error.message, error.response.headers)


_IN_STREAM = {
    "rate_limit_exceeded": 429,
    "invalid_request_error": 400,
    "insufficient_quota": 402,
    "context_length_exceeded": 400,
}
"""An error inside a stream comes without a status; its code says what it is, and any other is the server's fault."""
