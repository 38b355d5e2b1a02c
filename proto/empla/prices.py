"""What models cost: the prices that whoever runs empla has agreed with their providers."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

MOST_DOLLARS = 1_000_000
"""Of a budget."""


class Price(BaseModel):
    """US dollars for a million tokens, which is millionths of a dollar for one.

    `cached` is for input that was read from a prompt cache; without it that costs what other input does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)


def cost_micros(prices: Mapping[str, Price], model: str, *, tokens: int, cached: int, output: int) -> int | None:
    """What a call costs in millionths of a US dollar; None for a model without a price.

    `tokens` are all of the input, `cached` those of them read from a prompt cache. A name in `prices`, such as
    `anthropic/claude-sonnet`, stands for all models whose names begin with it, the longest for each.
    """
    name = max((name for name in prices if model.startswith(name)), key=len, default=None)
    if name is None:
        return None
    price = prices[name]
    again = price.input if price.cached is None else price.cached
    return round((tokens - cached) * price.input + cached * again + output * price.output)
