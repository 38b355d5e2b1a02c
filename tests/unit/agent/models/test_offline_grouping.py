"""Questions about groups of rows: a number for each, or the one with the most, checked against plain reckoning."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import mean, median

import pytest

from tests.unit.agent.models.office import Office

SALES = (
    "Region,Amount,Rep,Year\nNorth,3,ann,2024\nSouth,11,bob,2023\nNorth,10,bob,2024\nEast,n/a,cy,2024\nWest,7,cy,2023\n"
)


def table(seed: int) -> tuple[str, dict[str, list[int]]]:
    """A table with several rows for each of some regions, and its numbers by region."""
    chance = random.Random(seed)
    groups: dict[str, list[int]] = defaultdict(list)
    for region in ("Aland", "Borduria", "Cordonia", "Dawsbergen"):
        groups[region] = chance.sample(range(1, 1000), chance.randrange(2, 7))
    rows = [f"{region},{value}" for region, values in groups.items() for value in values]
    chance.shuffle(rows)
    return "Region,Amount\n" + "\n".join(rows) + "\n", dict(groups)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("wording", "reduce"),
    [
        ("What is the highest amount per region in a.csv?", max),
        ("What is the maximum amount for each region in a.csv?", max),
        ("What is the lowest amount per region in a.csv?", min),
        ("What is the median amount by region in a.csv?", median),
        ("What is the total amount per region in a.csv?", sum),
        ("What is the average amount for every region in a.csv?", mean),
    ],
)
async def test_a_number_for_each_group(seed: int, wording: str, reduce: Callable[[Sequence[int]], float]):
    text, groups = table(seed)
    reply = await Office(files={"a.csv": text}).ask(wording)
    lines = dict(line[2:].split(": ") for line in reply.text.splitlines() if line.startswith("- "))
    assert {name: float(value.replace(",", "")) for name, value in lines.items()} == {
        name: pytest.approx(reduce(values), abs=0.006) for name, values in groups.items()
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("wording", "reduce", "choose"),
    [
        ("Which region in a.csv has the highest total amount?", sum, max),
        ("Which region in a.csv sold the most?", sum, max),
        ("Which region in a.csv sold the least?", sum, min),
        ("Which region has the lowest average amount in a.csv?", mean, min),
        ("Which region has the highest median amount in a.csv?", median, max),
        ("Which region has the most rows in a.csv?", len, max),
    ],
)
async def test_the_group_with_the_most(
    seed: int, wording: str, reduce: Callable[[Sequence[int]], float], choose: Callable[..., float]
):
    text, groups = table(seed)
    reply = await Office(files={"a.csv": text}).ask(wording)
    edge = choose(map(reduce, groups.values()))
    best = {name for name, values in groups.items() if reduce(values) == edge}
    told = reply.text.partition(" ha")[0]
    assert {name for name in groups if name in told} == best


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Which region in sales.csv had the largest single amount?", "South has the highest amount"),
        ("Who sold the most in sales.csv?", "bob has the highest total Amount by Rep in sales.csv: 21"),
        ("What are the top 2 regions by amount in sales.csv?", "1. North: 13\n2. South: 11"),
        ("Which region has the second highest total amount in sales.csv?", "2. South: 11"),
        (
            "What is the total amount per country in sales.csv?",
            "no column “country” to go by; its columns are Region, Amount",
        ),
        ("What is the lowest amount for each Customer in sales.csv?", "no column “Customer” to go by"),
        ("What is the total amount in sales.csv?", "1 row has no number in amount."),
        (
            "What is the total amount per region in sales.csv?",
            "Total Amount by Region in sales.csv: 1 row has no number in",
        ),
    ],
)
async def test_what_is_said(question: str, said: str):
    reply = await Office(files={"sales.csv": SALES}).ask(question)
    assert said in reply.text


async def test_things_listed_once_are_compared_by_themselves():
    reply = await Office(files={"a.csv": "deal,value\nAcme,3\nBeta,9\n"}).ask(
        "Which deal in a.csv has the highest value?"
    )
    assert reply.text.startswith("Beta has the highest value of the 2 deals")


async def test_currencies_are_not_put_together():
    reply = await Office(files={"a.csv": "Region,Amount\nA,$3\nA,€4\nB,$1\n"}).ask("Total amount per region in a.csv?")
    assert "several currencies" in reply.text
