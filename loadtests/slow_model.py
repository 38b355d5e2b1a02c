"""A model that takes its time, behind the chat completions API: what a real provider costs, without one."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from agent.models.offline.classify import classify

SECONDS = (1.0, 2.0)
"""How long a call takes: evenly spread between these."""


class SlowModel:
    """Answers each call after a delay, and knows how long it kept each event waiting in all."""

    def __init__(self) -> None:
        self.url = ""
        self.waited: dict[str, float] = {}
        self._random = random.Random(7)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """One call; the last word of the user's text is the event's id."""
        asked = await request.json()
        text = str(asked["messages"][-1]["content"])
        delay = self._random.uniform(*SECONDS)
        event_id = _event_in(text)
        self.waited[event_id] = self.waited.get(event_id, 0.0) + delay
        await asyncio.sleep(delay)
        answer = classify(text).model_dump_json() if "response_format" in asked else f"Noted: {event_id}"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in (_chunk({"role": "assistant", "content": answer}), _chunk({}, "stop")):
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def serving_slow_model(port: int) -> AsyncIterator[SlowModel]:
    """The model on loopback."""
    model = SlowModel()
    application = web.Application()
    application.router.add_post("/v1/chat/completions", model.complete)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield model
    finally:
        await runner.cleanup()


def _event_in(text: str) -> str:
    """The id that the load puts into each text as `event:<id>`."""
    return text.rpartition("event:")[2].split("<")[0].split()[0] if "event:" in text else ""


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "slow", "choices": [choice]}
