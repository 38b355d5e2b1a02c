"""A model whose health the employee tells."""

from agent.models.interface import Model, ModelError, ModelRequest, ModelResponse, TextSink
from agent.moments import in_words, tell_health


class WatchedModel:
    """Wraps `model`, which the employee's health calls `part`: it is away when a call fails, all attempts of it included."""

    def __init__(self, model: Model, part: str) -> None:
        self._model, self._part = model, part

    @property
    def name(self) -> str:
        """The name of the wrapped model."""
        return self._model.name

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        """Answer `request`; raises what the wrapped model does."""
        try:
            response = await self._model.generate(request, on_text)
        except ModelError as error:
            if error.retryable:
                tell_health(self._part, in_words(error))
            raise
        tell_health(self._part)
        return response

    async def count(self, request: ModelRequest) -> int:
        """What the wrapped model counts."""
        return await self._model.count(request)

    async def aclose(self) -> None:
        """Close the wrapped model."""
        await self._model.aclose()
