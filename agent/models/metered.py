"""What models cost: each response, and each error that is billed, with its price, and all that an attempt was given."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from agent.models.interface import Model, ModelError, ModelRequest, ModelResponse, TextSink, Usage
from empla.prices import Price, cost_micros

_spent: ContextVar[list[ModelResponse] | None] = ContextVar("empla_spent", default=None)
spent_for: ContextVar[UUID | None] = ContextVar("empla_spent_for", default=None)
"""The message that models are asked for."""


@contextmanager
def metering(message_id: UUID | None = None) -> Iterator[list[ModelResponse]]:
    """Collect the responses that metered models give, for this message, within the block and the tasks that it begins."""
    spent: list[ModelResponse] = []
    tokens = _spent.set(spent), spent_for.set(message_id)
    try:
        yield spent
    finally:
        _spent.reset(tokens[0])
        spent_for.reset(tokens[1])


def taken(spent: Sequence[ModelResponse]) -> tuple[str, int, int, int]:
    """What responses took together: the models' names, tokens in and out, and millionths of a US dollar."""
    usage = [response.usage for response in spent]
    return (
        ", ".join(sorted({response.model for response in spent})),
        sum(one.input for one in usage),
        sum(one.output for one in usage),
        sum(one.cost_micros or 0 for one in usage),
    )


class MeteredModel:
    """Wraps `model`: its responses, and errors that cost something, are priced by the model's name and counted."""

    def __init__(self, model: Model, prices: Mapping[str, Price]) -> None:
        self._model, self._prices = model, prices

    @property
    def name(self) -> str:
        """The name of the wrapped model."""
        return self._model.name

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        """Answer `request`; raises what the wrapped model does."""
        try:
            response = await self._model.generate(request, on_text)
        except ModelError as error:
            if error.usage is not None:
                error.usage = self._counted(ModelResponse(model=self.name, usage=error.usage)).usage
            raise
        return self._counted(response)

    def _counted(self, response: ModelResponse) -> ModelResponse:
        response = response.model_copy(update={"usage": self._priced(response)})
        if (spent := _spent.get()) is not None:
            spent.append(response)
        return response

    def _priced(self, response: ModelResponse) -> Usage:
        usage = response.usage
        if usage.cost_micros is not None:
            return usage
        cost = cost_micros(self._prices, response.model, tokens=usage.input, cached=usage.cached, output=usage.output)
        return usage.model_copy(update={"cost_micros": cost})

    async def count(self, request: ModelRequest) -> int:
        """What the wrapped model counts."""
        return await self._model.count(request)

    async def aclose(self) -> None:
        """Close the wrapped model."""
        await self._model.aclose()
