"""A model that answers by script: the shipped twin for tests, demos and benchmarks."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from agent.models.estimate import estimate_request, estimate_text
from agent.models.interface import ModelError, ModelRequest, ModelResponse, ModelTimeout, TextSink, Usage
from agent.models.offline.classify import classify
from agent.models.wire import emptiest, fitting
from agent.prompts import blocks
from empla.classification import Classification

Step = ModelResponse | ModelError | str
"""What one call comes to: a response, an error to raise, or just the text of a response."""

Script = Iterable[Step] | Callable[[ModelRequest], Step]


class ScriptExhausted(ModelError):
    """The model was called more often than its script has steps."""


class ScriptedModel:
    """Follows `script` call by call and keeps every request in `requests`.

    `script` is a sequence of steps (used up one per call) or a function from request to step; without one the model
    echoes the last message. `delay` is the time of each call in seconds; the request's deadline still holds.
    """

    name = "scripted"

    def __init__(self, script: Script | None = None, *, delay: float = 0.0) -> None:
        self._next = _follow(echo if script is None else script)
        self._delay = delay
        self.requests: list[ModelRequest] = []

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        """The script's next step; raises it when it is an error, and `ModelTimeout` when the delay is over the deadline."""
        self.requests.append(request)
        await self._wait(request.deadline)
        step = self._next(request)
        if isinstance(step, ModelError):
            raise step
        return _deliver(request, _response(step, request), on_text)

    async def count(self, request: ModelRequest) -> int:
        """An estimate of the request's tokens."""
        return estimate_request(request)

    async def aclose(self) -> None:
        """Nothing to close."""

    async def _wait(self, deadline: float) -> None:
        if self._delay > deadline:
            await asyncio.sleep(deadline)
            raise ModelTimeout(f"the scripted model takes {self._delay} s, the deadline is {deadline} s")
        if self._delay:
            await asyncio.sleep(self._delay)


def echo(request: ModelRequest) -> Step:
    """The default script: a classification by rules, the emptiest value of any other schema, else the last message."""
    text = _said(request)
    if request.output is not None:
        return classify(text).model_dump_json() if request.output is Classification else emptiest(request.output)
    return f"You said: {text}"


def _said(request: ModelRequest) -> str:
    turns = [message.text for message in request.messages if message.role == "user"]
    marked = blocks(turns[-1]) if turns else []
    return marked[-1].text if marked else "".join(turns[-1:])


def _follow(script: Script) -> Callable[[ModelRequest], Step]:
    if callable(script):
        return script
    steps: Iterator[Step] = iter(script)

    def following(_: ModelRequest) -> Step:
        return next(steps, None) or ScriptExhausted("the script has no step for this call")

    return following


def _response(step: ModelResponse | str, request: ModelRequest) -> ModelResponse:
    if isinstance(step, ModelResponse):
        return step
    usage = Usage(input=estimate_request(request), output=estimate_text(step), cost_micros=0)
    return ModelResponse(text=step, model=ScriptedModel.name, usage=usage)


def _deliver(request: ModelRequest, response: ModelResponse, on_text: TextSink | None) -> ModelResponse:
    if request.output and not response.calls:
        text = fitting(response.text, request.output, cut=response.stop_reason == "length")
        response = response.model_copy(update={"text": text})
    if on_text and response.text:
        on_text(response.text)
    return response
