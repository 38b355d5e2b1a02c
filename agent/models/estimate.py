"""Token counts where the provider cannot be asked."""

import json
import re
from functools import lru_cache

from pydantic import BaseModel

from agent.models.interface import ChatMessage, ModelRequest

_PIECES = re.compile(r"[A-Za-z]+|[0-9]+|\s+|[^\sA-Za-z0-9]")

_CHARACTERS_PER_WORD_PIECE = 5
"""Common English words are one token; long or rare ones break about every five letters."""

_DIGITS_PER_TOKEN = 3
_TURN_OVERHEAD = 4
"""Role and separators of one turn, as OpenAI's chat format counts them."""


_LONGEST_SPLIT = 8_000
"""Characters: of a longer text only the bytes are counted, as splitting it would hold up the event loop."""

_BYTES_PER_TOKEN = 3


def estimate_text(text: str) -> int:
    """About how many tokens `text` has, on the high side for current tokenizers."""
    if len(text) > _LONGEST_SPLIT:
        return len(text.encode()) // _BYTES_PER_TOKEN
    return sum(_tokens(piece) for piece in _PIECES.findall(text))


def estimate_request(request: ModelRequest) -> int:
    """About how many input tokens `request` has, tools and schema included."""
    schema = _schema(request.output) if request.output else ""
    turns = sum(_turn(message) for message in request.messages)
    return (
        turns
        + sum(map(_recurring, (request.system, schema, *(tool.as_json for tool in request.tools))))
        + _TURN_OVERHEAD
    )


# The same instructions, tools and schemas come with every request of an employee.
_recurring = lru_cache(256)(estimate_text)


@lru_cache(64)
def _schema(output: type[BaseModel]) -> str:
    return json.dumps(output.model_json_schema())


def _turn(message: ChatMessage) -> int:
    calls = "".join(call.name + json.dumps(call.arguments) for call in message.calls)
    results = "".join(result.content for result in message.results)
    return estimate_text(message.text + calls + results) + _TURN_OVERHEAD


def _tokens(piece: str) -> int:
    if piece.isspace():
        return piece.count("\n") + len(piece) // 8
    if piece.isdigit() and piece.isascii():
        return -(-len(piece) // _DIGITS_PER_TOKEN)
    if piece.isascii():
        return -(-len(piece) // _CHARACTERS_PER_WORD_PIECE)
    return 2 if ord(piece[0]) > 0xFFFF else 1
