"""The one seam to language models: a request with messages, tools and an optional schema; a response with text and calls.

The error tree (all are `ModelError`; `retryable` says whether the same request may succeed later)::

    ModelError
    ├── ModelUnavailable        the provider is overloaded, broke off or cannot be reached   retryable
    │   └── ModelRateLimited    too many requests; `retry_after` in seconds when known       retryable
    ├── ModelTimeout            the deadline passed                                          retryable
    ├── ModelOutputInvalid      the answer does not fit the schema or breaks the protocol    retryable
    │   └── ModelOutputCut      it has more to say than `max_tokens`: ask for less           retryable
    └── ModelRefused            key, model name or request are not accepted                  never
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue


class ModelError(Exception):
    """A model call failed; `retryable` says whether trying again can help.

    `usage` is what the provider counted for it all the same, and bills; None where it has not said.
    """

    retryable = False
    usage: "Usage | None" = None

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelUnavailable(ModelError):
    """The provider is overloaded, broke off in the middle or cannot be reached."""

    retryable = True


class ModelRateLimited(ModelUnavailable):
    """The provider asks to slow down; `retry_after` (seconds) is what it asked for, when it said so."""


class ModelTimeout(ModelError):
    """The call did not end before its deadline."""

    retryable = True


class ModelOutputInvalid(ModelError):
    """The model answered with something that does not fit the schema or the protocol."""

    retryable = True


class ModelOutputCut(ModelOutputInvalid):
    """The answer was cut off at `max_tokens` and so does not fit the schema; the same request would be cut off again."""


class ModelRefused(ModelError):
    """The provider does not accept the key, the model name or the request; trying again cannot help."""


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(value: Any) -> Any:
    """`value` with each NUL and lone surrogate as U+FFFD: what models and actions say is stored; no database takes those."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(key): storable(one) for key, one in value.items()}
    return [storable(one) for one in value] if isinstance(value, list | tuple) else value


class ToolCall(BaseModel):
    """One action the model wants done. `call_id` is the provider's; `name` and `arguments` fit a `Tool`."""

    model_config = ConfigDict(frozen=True)

    call_id: str
    name: str
    arguments: Annotated[dict[str, JsonValue], BeforeValidator(storable)]


class ToolResult(BaseModel):
    """What came of a `ToolCall`, as text that the model reads."""

    model_config = ConfigDict(frozen=True)

    call_id: str
    name: str
    content: str
    is_error: bool = False


class ChatMessage(BaseModel):
    """One turn. A `user` turn has text, an `assistant` turn text and calls, a `tool` turn the results of those calls.

    `provider_state` is what a provider wants back unchanged with its own turn, such as signed reasoning.
    """

    model_config = ConfigDict(frozen=True)

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    provider_state: tuple[dict[str, JsonValue], ...] = ()


class Tool(BaseModel):
    """An action as a model sees it: `name` ([a-z0-9_], at most 64), what it does, and the JSON schema of its arguments."""

    model_config = ConfigDict(frozen=True)

    name: str
    description: str
    parameters: dict[str, JsonValue]

    @cached_property
    def as_json(self) -> str:
        """The tool as text, made once."""
        return self.model_dump_json()


class Usage(BaseModel):
    """Tokens of one call as the provider counted them; `cached` is the part of `input` read from a prompt cache.

    `cost_micros` is in millionths of a US dollar; None where no price is known.
    """

    model_config = ConfigDict(frozen=True)

    input: int = Field(default=0, ge=0)
    cached: int = Field(default=0, ge=0)
    output: int = Field(default=0, ge=0)
    cost_micros: int | None = None


class ModelResponse(BaseModel):
    """What the model said: text, calls to run (empty when it is done), and what it cost."""

    model_config = ConfigDict(frozen=True)

    text: Annotated[str, BeforeValidator(storable)] = ""
    calls: tuple[ToolCall, ...] = ()
    model: str
    usage: Usage = Usage()
    stop_reason: Literal["end", "calls", "length"] = "end"
    provider_state: tuple[dict[str, JsonValue], ...] = ()

    def turn(self) -> ChatMessage:
        """This response as the assistant turn of the next request, with all that its provider wants back."""
        return ChatMessage(role="assistant", text=self.text, calls=self.calls, provider_state=self.provider_state)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRequest:
    """What a model is asked.

    `messages` ends with a user or tool turn. With `output` set, the response's text is JSON that validates as that type.
    `deadline` is in seconds for the whole call, retries excluded; `max_tokens` bounds the response.
    """

    system: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[Tool, ...] = ()
    output: type[BaseModel] | None = None
    max_tokens: int = 4096
    deadline: float = 60.0


TextSink = Callable[[str], None]
"""Takes the response's text piece by piece while it is made; must not block."""


class Model(Protocol):
    """A language model. One object serves many calls at once."""

    @property
    def name(self) -> str:
        """The model's name as shown in traces, such as `anthropic/claude-sonnet-4-5` or `offline`."""
        ...

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        """Answer `request`, feeding text to `on_text` as it comes; raises `ModelError`, never a provider's own error."""
        ...

    async def count(self, request: ModelRequest) -> int:
        """How many input tokens `request` has; exact where the provider can say, else at most 20 % under."""
        ...

    async def aclose(self) -> None:
        """Close connections; the object is not used afterwards."""
        ...
