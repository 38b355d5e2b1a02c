"""What a chart is asked to be beyond a bar per group: served, or said plainly not to be."""

import random
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from statistics import median

import pytest

from agent.models.offline import chart_program
from tests.unit.agent.models.office import Office

SALES = "Region,Amount,Rep,Year\nNorth,3,ann,2024\nSouth,4.5,bob,2023\nNorth,10,bob,2024\nEast,n/a,cy,2024\nWest,7,cy,2023\n"
COLUMNS = "its columns are Region, Amount, Rep and Year"


def office(**files: str) -> Office:
    return Office(files={"sales.csv": SALES, "costs.csv": "Region,Cost\nNorth,1\n", "notes.md": "# Notes\n"} | files)


@pytest.mark.parametrize("target", ["/tmp/x.svg", "../x.svg", "~/x.svg", "charts/../../x.svg"])
async def test_a_chart_outside_of_the_workspace_is_refused_before_anything_runs(target: str):
    at_work = office()
    before = dict(at_work.files)
    reply = await at_work.ask(f"Draw the total amount per region in sales.csv into {target}")
    assert reply.text == f"I cannot reach {target}: that lies outside my workspace."
    assert (reply.calls, at_work.files) == ([], before)


@pytest.mark.parametrize("path", ["/tmp/x.svg", "../x.svg", "a/../../x.svg"])
def test_the_program_writes_nowhere_else_either(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="outside"):
        chart_program.draw(path, "t", [("a", Decimal(1))])


@pytest.mark.parametrize("target", ["sales.csv", "notes.md", "chart.gif"])
async def test_what_no_chart_can_go_into_is_said(target: str):
    at_work = office()
    before = dict(at_work.files)
    reply = await at_work.ask(f"Draw the amount per region in sales.csv and save it as {target}")
    assert reply.text.startswith("I drew nothing")
    assert target in reply.text
    assert at_work.files == before


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Total the profit per region in sales.csv and draw it into c.svg", f"no column “profit”; {COLUMNS}"),
        ("Draw the profit per region in sales.csv into c.svg", f"no column “profit”; {COLUMNS}"),
        ("Plot the Revenue in sales.csv", f"no column “Revenue”; {COLUMNS}"),
        ("Draw the amount per country in sales.csv into c.svg", f"no column “country”; {COLUMNS}"),
        ("Draw a bar chart of the amount by customer in sales.csv", f"no column “customer”; {COLUMNS}"),
        (
            "Draw the total rep per region in sales.csv",
            "the column Rep of sales.csv has no numbers; those of numbers are",
        ),
        ("Draw the amount per region in sales.csv, only Antarctica", "the value “Antarctica”"),
        ("Draw the amount per region in sales.csv except Mars", "the value “Mars”"),
        ("Draw the amount over 5 per region in sales.csv", "range of numbers or days"),
        ("Draw the amount by amount in sales.csv", "cannot be both"),
        ("Draw the amount per region for each rep in sales.csv", "not by region and rep at once"),
        ("Plot a.csv per x", "a.csv has no column of numbers"),
        ("Plot b.csv", "mixes the currencies"),
    ],
)
async def test_what_the_table_does_not_have_is_never_replaced(message: str, said: str):
    at_work = office(**{"a.csv": "x,y\na,b\n", "b.csv": "x,y\na,$1\nb,€2\n"})
    reply = await at_work.ask(message)
    assert said in reply.text
    assert "I drew nothing" in reply.text
    assert "run_python" not in reply.names()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Draw the median amount per region in sales.csv", "- West: 7\n- North: 6.5\n- South: 4.5\n\n"),
        ("Draw the amount per region in sales.csv, only North and South", "(3 rows):\n- North: 13\n- South: 4.5\n\n"),
        ("Draw the amount per region in sales.csv without North", "\n- West: 7\n- South: 4.5\n\n"),
        ("Draw the amount per region in sales.csv for bob", "(2 rows):\n- North: 10\n- South: 4.5\n\n"),
        ("Draw the amount per region in sales.csv in 2023", "(2 rows):\n- West: 7\n- South: 4.5\n\n"),
        ("Draw the top 2 regions by total amount in sales.csv", "the 2 highest in sales.csv"),
        ("Draw the top two regions by total amount in sales.csv", "\n- North: 13\n- West: 7\n\n"),
        ("Draw the 2 smallest of the total amounts per region in sales.csv", "\n- West: 7\n- South: 4.5\n\n"),
        ("Draw a pie chart of amount per region in sales.csv", "I draw bars only, so it is no pie chart."),
        ("Draw a line chart of amount per year in sales.csv", "I draw bars only, so it is no line chart."),
        ("Draw the amount per region in sales.csv and costs.csv", "I drew sales.csv only, not costs.csv"),
        ("Draw the amount per region in sales.csv into a.svg and b.svg", "none into b.svg"),
        ("Plot region vs amount from sales.csv", "Total of Amount per Region"),
        ("Draw the amount per region and rep in sales.csv", "not by Rep as well"),
        ("Draw the total and average amount per region in sales.csv", "the average only, not the total"),
        ("Draw the amount per region in sales.csv in red", "could not take “red” into account"),
        ("Draw the amount per region in sales.csv", "(5 rows): 1 of them has no number in Amount and is left out."),
        ("Draw the amount per region in sales.csv", "Total of Amount per Region"),
    ],
)
async def test_what_is_served_and_what_is_said(message: str, said: str):
    assert said in (await office().ask(message)).text


async def test_a_named_column_of_few_numbers_is_used():
    table = "region,amount\nnorth,12k\n" + "south,n/a\n" * 4
    reply = await Office(files={"a.csv": table}).ask("Draw the amount per region in a.csv")
    assert "- north: 12,000" in reply.text
    assert "4 of them have no number in amount and are left out" in reply.text


@pytest.mark.parametrize("seed", range(4))
async def test_medians_and_tops_of_random_tables(seed: int):
    chance = random.Random(seed)
    groups: dict[str, list[int]] = defaultdict(list)
    for number in range(60):
        groups[f"Area{number % 7}"].append(chance.randrange(1, 10_000))
    rows = [f"{name},{value}" for name, values in groups.items() for value in values]
    chance.shuffle(rows)
    at_work = Office(files={"a.csv": "Place,Size\n" + "\n".join(rows) + "\n"})
    reply = await at_work.ask("Draw the median size per place in a.csv")
    assert all(
        f"- {name}: {Decimal(str(median(values))):,f}\n".replace(".0\n", "\n") in reply.text
        for name, values in groups.items()
    )
    best = sorted(groups, key=lambda name: -sum(groups[name]))[:3]
    reply = await at_work.ask("Draw the top 3 places by total size in a.csv")
    assert [line[2 : line.index(":")] for line in reply.text.splitlines() if line.startswith("- ")] == best
