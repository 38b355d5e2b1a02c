"""A model that is asked only while the employee may work and there is room in its budgets."""

from collections.abc import Mapping
from uuid import UUID

from agent.budget import Budget
from agent.models.estimate import estimate_request
from agent.models.interface import Model, ModelError, ModelRequest, ModelResponse, TextSink, Usage
from agent.models.metered import spent_for
from empla.prices import Price, cost_micros

MARGIN = 1.25
"""An estimate of tokens is at most 20 % under what the provider counts."""


class BudgetedModel:
    """Wraps `model`, whose responses have their price: none is asked for that might cost more than is left."""

    def __init__(self, model: Model, prices: Mapping[str, Price], budget: Budget) -> None:
        self._model, self._prices, self._budget = model, prices, budget
        self._has_price = cost_micros(prices, model.name, tokens=0, cached=0, output=0) is not None

    @property
    def name(self) -> str:
        """The name of the wrapped model."""
        return self._model.name

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        """Answer `request`; raises what the wrapped model and `Budget.hold` do, and `Paused`.

        A call that fails costs what its error says, if anything. What becomes of one that is cut short nobody knows: the
        most that it can cost stays held for the time that it could have taken.
        """
        self._budget.pause.check()
        if not self._budget.limits(priced=self._has_price):
            response = await self._model.generate(request, on_text)
        else:
            response = await self._held(request, on_text)
        if response.usage.cost_micros is None:
            self._budget.note_unpriced(response.model)
        return response

    async def _held(self, request: ModelRequest, on_text: TextSink | None) -> ModelResponse:
        read = round(estimate_request(request) * MARGIN)
        most = cost_micros(self._prices, self.name, tokens=read, cached=0, output=request.max_tokens) or 0
        hold = await self._budget.hold(spent_for.get(), most, read + request.max_tokens, seconds=request.deadline)
        try:
            response = await self._model.generate(request, on_text)
        except ModelError as error:
            await self._settle(hold, error.usage or Usage())
            raise
        await self._settle(hold, response.usage)
        return response

    async def _settle(self, hold: UUID, usage: Usage) -> None:
        await self._budget.settle(hold, usage.cost_micros or 0, usage.input + usage.output)

    async def count(self, request: ModelRequest) -> int:
        """What the wrapped model counts."""
        return await self._model.count(request)

    async def aclose(self) -> None:
        """Close the wrapped model."""
        await self._model.aclose()
