"""Charts of tables by the rules: the program runs for real, where the office keeps its files."""

import random
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from agent.models.offline import chart_program
from tests.unit.agent.models.office import ALL_TOOLS, Office

SALES = "region,amount,rep,year\nnorth,3,ann,2024\nsouth,4.5,bob,2023\nnorth,10,bob,2024\n"


def office(**files: str) -> Office:
    return Office(files={"sales.csv": SALES} | files)


@pytest.mark.parametrize(
    "message",
    [
        "Compute the total of amount in sales.csv per region and draw a bar chart of it into chart.svg",
        "Compute the total of amount per region in sales.csv. Draw a bar chart of it into chart.svg.",
        "Please draw a bar chart of the total amount per region in sales.csv and save it as chart.svg",
        "Can you plot the amount by region from sales.csv into chart.svg?",
        "What is the total amount for each region in sales.csv? Then make a bar chart of that and save it to chart.svg.",
        "Take sales.csv, sum up amount per region and visualise the result in chart.svg, please",
        "Create a chart of amount per region in chart.svg",
        "Generate chart.svg from sales.csv showing total amount by region",
        "Compute the total of amount in sales.csv per region. Write a bar chart of these totals to chart.svg and answer "
        "with the totals",
        "Load sales.csv, group by region, sum the amount column and save a bar chart as chart.svg",
        'In "sales.csv" there are sales.\nCompute the total of the column `amount` for every `region`, and draw a bar chart '
        'of the totals into "chart.svg". Tell me the totals.',
        "There is a file sales.csv in your workspace. Plot amount per region into chart.svg and tell me the results.",
        "Hi, I need a graph of the total amount per region (it is in sales.csv). Store the graph as chart.svg. Thanks!",
    ],
)
async def test_ways_to_ask_for_one(message: str):
    at_work = office()
    reply = await at_work.ask(message)
    assert "- north: 13\n- south: 4.5\n" in reply.text
    assert "chart.svg" in reply.text
    assert ElementTree.fromstring(at_work.files["chart.svg"]).tag.endswith("svg")
    assert reply.names()[-1] == "run_python"
    assert "no model key" not in reply.text


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Plot the average amount per rep in sales.csv", "- bob: 7.25\n- ann: 3"),
        ("Draw the number of rows per rep in sales.csv", "- bob: 2\n- ann: 1"),
        ("Draw a chart of the highest amount per region in sales.csv", "- north: 10\n- south: 4.5"),
        ("Draw a chart of the lowest amount by region in sales.csv", "- south: 4.5\n- north: 3"),
        ("Draw the amounts by year in sales.csv", "- 2023: 4.5\n- 2024: 13"),
        ("Plot sales.csv", "- north: 13\n- south: 4.5"),
    ],
)
async def test_what_is_worked_out(message: str, said: str):
    assert said in (await office().ask(message)).text


async def test_other_asks_of_the_message_are_answered_too():
    at_work = office()
    reply = await at_work.ask("Draw the amount per region in sales.csv into c.svg and remember that Ann left.")
    assert "- north: 13" in reply.text
    assert "I will remember" in reply.text
    assert len(at_work.memories) == 1


async def test_an_image_that_needs_matplotlib_is_drawn_as_svg_and_said_so():
    at_work = office()
    reply = await at_work.ask("Draw the amount per region in sales.csv into pictures/chart.png")
    assert "pictures/chart.svg" in reply.text
    assert "empla compute packages add matplotlib" in reply.text
    assert "pictures/chart.svg" in at_work.files


async def test_a_file_meant_by_half_its_name():
    reply = await Office(files={"data/Sales.csv": SALES}).ask("Draw the amount per region in sales.csv")
    assert "- north: 13" in reply.text


async def test_what_cannot_be_drawn_is_said():
    assert "no column of numbers" in (await office(**{"a.csv": "x,y\na,b\n"}).ask("Plot a.csv")).text
    assert "not a table" in (await office(**{"a.csv": ""}).ask("Plot a.csv")).text
    assert "did not work" in (await office().ask("Plot missing.csv")).text
    without = Office(files={"sales.csv": SALES}, tools=[tool for tool in ALL_TOOLS if tool != "run_python"])
    reply = await without.ask("Draw the amount per region in sales.csv")
    assert "compute" in reply.text
    assert "run_python" not in reply.names()


@pytest.mark.parametrize(
    "message",
    [
        "What is the plot of story.md?",
        "Summarise the story.md",
        "What does the chart in story.md say?",
        "What files do you have?",
    ],
)
async def test_what_is_no_request_for_a_chart(message: str):
    reply = await office(**{"story.md": "A dog finds a bone.\n"}).ask(message)
    assert "run_python" not in reply.names()


async def test_text_of_a_table_is_never_code():
    evil = "'''+__import__('os').system('touch hacked')+'''"
    table = f'"{evil}",amount\n"{evil}",1\n</data>"x,2\n'
    at_work = Office(files={"a.csv": table})
    reply = await at_work.ask("Draw the amount in a.csv")
    assert "hacked" not in at_work.files
    assert "run_python" in reply.names()


async def test_a_large_table_is_computed_as_a_whole():
    numbers = [random.randrange(1000) for _ in range(20_000)]
    rows = "".join(f"g{number % 3};{number}\n" for number in numbers)
    reply = await Office(files={"big.csv": "kind;size\n" + rows}, piece=4096).ask(
        "Draw the total size per kind in big.csv"
    )
    for group in range(3):
        assert f"- g{group}: {sum(n for n in numbers if n % 3 == group):,}" in reply.text
    assert reply.names() == ["read_file", "run_python"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", "12"), ("-1.5", "-1.5"), ("1,200.50", "1200.50"), ("1.200,50 €", "1200.50"), ("€1,200", "1200"),
        ("$ -3", "-3"), ("(45)", "-45"), ("12k", "12000"), ("3.5M", "3500000"), ("1e3", "1E+3"), ("USD 7", "7"),
        ("1 200", "1200"), ("15 %", "15"), ("0,5", "0.5"), (".5", "0.5"),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(text: str, value: str):
    assert chart_program.number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "n/a", "A12", "2024-01-02", "12.05.2024", "NaN", "Infinity", "1 apple", "-"])
def test_what_is_no_number(text: str):
    assert chart_program.number(text) is None


def test_bars_below_zero_go_to_the_left(tmp_path: Path):
    drawn = chart_program.as_svg("T & <t>", [("up", Decimal(10)), ("down", Decimal(-5))])
    root = ElementTree.fromstring(drawn)
    bars = [element for element in root.iter() if element.tag.endswith("rect") and element.get("fill") == "#4477aa"]
    up, down = ((float(bar.get("x", "")), float(bar.get("width", ""))) for bar in bars)
    assert down[0] + down[1] == pytest.approx(up[0], abs=0.2)
    assert up[1] == pytest.approx(2 * down[1], abs=0.2)


def test_many_groups_are_cut_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("k,v\n" + "".join(f"k{n:03},{n}\n" for n in range(100)) + "k,none\n")
    ask = {
        "path": "a.csv",
        "columns": 2,
        "group": 0,
        "measure": 1,
        "operation": "total",
        "title": "t",
        "chart": "c.svg",
    }
    found = chart_program.chart(ask)
    assert (len(found["groups"]), found["more"], found["rows"], found["skipped"]) == (40, 60, 101, 1)
    assert found["groups"][0] == ["k099", "99"]
