"""A model that tries again: exponential back-off with full jitter, and the wait a provider asked for."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

from agent.models.interface import (
    Model,
    ModelError,
    ModelOutputCut,
    ModelRequest,
    ModelResponse,
    ModelTimeout,
    TextSink,
)

ATTEMPTS = 3
FIRST_WAIT = 0.5
LONGEST_WAIT = 20.0
"""Seconds. A provider that asks for a longer pause is not waited for: the caller's own retry can do that."""

_SHORTEST_ATTEMPT = 0.05


class RetryingModel:
    """Wraps `model` and repeats calls that failed with a retryable error, at most `attempts` times in all.

    The request's deadline covers all attempts and the waits between them. A call that has already given text to
    `on_text` is not repeated, so that nobody reads the beginning of an answer twice: its error is raised. Nor is one whose
    answer was cut off, for it would be again.
    """

    def __init__(
        self, model: Model, *, attempts: int = ATTEMPTS, jitter: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._model = model
        self._attempts = attempts
        self._jitter = jitter

    @property
    def name(self) -> str:
        """The name of the wrapped model."""
        return self._model.name

    def over(self, wrap: Callable[[Model], Model]) -> "RetryingModel":
        """As this one, with each attempt made through what `wrap` makes of the model."""
        return RetryingModel(wrap(self._model), attempts=self._attempts, jitter=self._jitter)

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        """Answer `request`; raises the last attempt's `ModelError`."""
        clock = asyncio.get_running_loop().time
        end = clock() + request.deadline
        for attempt in range(1, self._attempts + 1):
            sink = _Sink(on_text)
            try:
                left = max(_SHORTEST_ATTEMPT, end - clock())
                return await self._model.generate(replace(request, deadline=left), sink if on_text else None)
            except ModelError as error:
                wait = self._wait(error, attempt)
                if sink.fed or attempt == self._attempts or wait is None or clock() + wait >= end:
                    raise
                await asyncio.sleep(wait)
        raise ModelTimeout("no attempt was allowed")

    async def count(self, request: ModelRequest) -> int:
        """What the wrapped model counts; not repeated."""
        return await self._model.count(request)

    async def aclose(self) -> None:
        """Close the wrapped model."""
        await self._model.aclose()

    def _wait(self, error: ModelError, attempt: int) -> float | None:
        """Seconds before the next attempt, or None when there must not be one."""
        if not error.retryable or isinstance(error, ModelOutputCut) or (error.retry_after or 0) > LONGEST_WAIT:
            return None
        backoff = self._jitter(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)))
        return max(backoff, error.retry_after or 0)


class _Sink:
    """Passes text on and remembers that it did."""

    def __init__(self, on_text: TextSink | None) -> None:
        self._on_text = on_text
        self.fed = False

    def __call__(self, text: str) -> None:
        self.fed = True
        if self._on_text:
            self._on_text(text)
