"""What a call costs, by the prices that somebody set."""

import pytest
from pydantic import ValidationError

from empla.prices import Price, cost_micros

PRICES = {
    "big": Price(input=3, output=15, cached=0.3),
    "big-mini": Price(input=0.25, output=2),
}


@pytest.mark.parametrize(
    ("model", "cached", "cost"),
    [
        ("big", 0, 1000 * 3 + 10 * 15),
        ("big-20260401", 600, 400 * 3 + 600 * 0.3 + 10 * 15),
        ("big-mini-20260401", 600, 1000 * 0.25 + 10 * 2),
        ("small", 0, None),
        ("a-big", 0, None),
    ],
)
def test_tokens_are_priced_by_the_longest_name_that_begins_the_models(model: str, cached: int, cost: float | None):
    assert cost_micros(PRICES, model, tokens=1000, cached=cached, output=10) == cost


@pytest.mark.parametrize("wrong", [{"input": -1}, {"output": float("nan")}, {"unit": 1000}])
def test_a_price_is_refused_that_is_none(wrong: dict[str, float]):
    with pytest.raises(ValidationError):
        Price(**({"input": 1.0, "output": 1.0} | wrong))
