"""A provider on loopback: answers as it is told, in the wire formats of Anthropic's messages and OpenAI's completions."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Reply:
    """One answer: `events` as a stream, else `body` as JSON. `ending` is how a stream ends: close, cut, stall or drip."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    events: Sequence[str] = ()
    ending: str = "close"


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ProviderServer:
    """Gives the replies in order and keeps what it received."""

    def __init__(self) -> None:
        self.url = ""
        self.replies: list[Reply] = []
        self.received: list[Received] = []
        self._ended = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.received.append(
            Received(request.path, {k.lower(): v for k, v in request.headers.items()}, await request.json())
        )
        reply = self.replies.pop(0)
        if reply.body is not None:
            return web.json_response(reply.body, status=reply.status, headers=reply.headers)
        return await self._stream(request, reply)

    async def _stream(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(
            status=reply.status, headers={"content-type": "text/event-stream", **reply.headers}
        )
        await response.prepare(request)
        for event in reply.events:
            await response.write(event.encode())
        if reply.ending == "cut" and request.transport:
            request.transport.abort()
        if reply.ending == "stall":
            await self._ended.wait()
        while reply.ending == "drip" and not self._ended.is_set():
            await response.write(b": still here\n\n")
            await asyncio.sleep(0.02)
        return response

    def end(self) -> None:
        """Let stalled streams go."""
        self._ended.set()


@asynccontextmanager
async def provider_server() -> AsyncIterator[ProviderServer]:
    """A server on a free port, closed at the end."""
    server = ProviderServer()
    app = web.Application()
    app.router.add_post("/{tail:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        server.end()
        await runner.cleanup()


def anthropic_event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


def anthropic_start(*, cached: int = 0) -> str:
    usage = {
        "input_tokens": 20,
        "output_tokens": 1,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 3,
    }
    message: dict[str, object] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    return anthropic_event("message_start", message={**message, "stop_sequence": None, "usage": usage})


def anthropic_block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[str]:
    return [
        anthropic_event("content_block_start", index=index, content_block=block),
        *(anthropic_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        anthropic_event("content_block_stop", index=index),
    ]


def anthropic_text(*pieces: str, index: int = 0) -> list[str]:
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return anthropic_block(index, {"type": "text", "text": ""}, *deltas)


def anthropic_call(call_id: str, name: str, *pieces: str, index: int = 0) -> list[str]:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return anthropic_block(index, {"type": "tool_use", "id": call_id, "name": name, "input": {}}, *deltas)


def anthropic_end(stop_reason: str = "end_turn", output: int = 9) -> list[str]:
    return [
        anthropic_event(
            "message_delta", delta={"stop_reason": stop_reason, "stop_sequence": None}, usage={"output_tokens": output}
        ),
        anthropic_event("message_stop"),
    ]


def anthropic_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def openai_chunk(
    delta: dict[str, Any] | None = None, *, finish: str | None = None, usage: dict[str, Any] | None = None
) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    chunk = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": usage,
    }
    return f"data: {json.dumps(chunk)}\n\n"


def openai_text(*pieces: str) -> list[str]:
    return [openai_chunk({"role": "assistant", "content": ""}), *(openai_chunk({"content": piece}) for piece in pieces)]


def openai_call(index: int, call_id: str, name: str, *pieces: str) -> list[str]:
    first = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
    return [openai_chunk({"tool_calls": [part]}) for part in (first, *rest)]


def openai_end(finish: str = "stop") -> list[str]:
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 7,
        "total_tokens": 37,
        "prompt_tokens_details": {"cached_tokens": 12},
    }
    return [openai_chunk({}, finish=finish), openai_chunk(usage=usage), "data: [DONE]\n\n"]


def openai_error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": code, "code": code, "param": None}}
