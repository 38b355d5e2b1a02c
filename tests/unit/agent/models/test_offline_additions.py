"""What is added to a file: an item like those before it, or the answer just given and nothing else."""

import pytest

from tests.unit.agent.models.office import Office

SALES = "Region,Amount\nNorth,3\nSouth,4.5\nNorth,10\n"
TOTALS = "Total Amount by Region in sales.csv:\n- North: 13\n- South: 4.5\n"


@pytest.mark.parametrize("marker", ["- ", "* ", "+ ", "  - ", "- [ ] "])
@pytest.mark.parametrize("verb", ["Add", "Append"])
async def test_an_entry_becomes_an_item_like_the_others(marker: str, verb: str):
    before = f"# Deals\n{marker}Acme: open, 12k\n{marker}Beta: closed, 5k\n"
    at_work = Office(files={"notes.md": before})
    await at_work.ask(f"{verb} Delta: open, 3k to notes.md")
    assert at_work.files["notes.md"] == f"{before}{marker}Delta: open, 3k\n"


async def test_a_numbered_list_goes_on_counting():
    at_work = Office(files={"notes.md": "1. Acme\n2. Beta"})
    await at_work.ask("Add Delta to notes.md")
    assert at_work.files["notes.md"] == "1. Acme\n2. Beta\n3. Delta\n"


@pytest.mark.parametrize(
    ("before", "message", "line"),
    [
        ("- Acme\n", "Append the line Hello to notes.md", "Hello"),
        ("Some text.\n", "Add Delta: open, 3k to notes.md", "Delta: open, 3k"),
        ("- Acme\n", 'Append "numbers" to notes.md', "numbers"),
        ("- Acme\n", "Add - Delta to notes.md", "- Delta"),
    ],
)
async def test_other_lines_stay_as_they_are(before: str, message: str, line: str):
    at_work = Office(files={"notes.md": before})
    await at_work.ask(message)
    assert at_work.files["notes.md"] == f"{before}{line}\n"


@pytest.mark.parametrize(
    "what", ["the numbers", "the totals", "these values", "the result", "them", "the figures", "it"]
)
async def test_what_was_answered_is_appended(what: str):
    at_work = Office(files={"sales.csv": SALES, "notes.md": "# Notes\n"})
    await at_work.ask(f"Calculate the total amount per region in sales.csv, then append {what} to notes.md")
    assert at_work.files["notes.md"] == "# Notes\n" + TOTALS


async def test_the_numbers_of_a_chart_without_what_is_said_of_it():
    at_work = Office(files={"sales.csv": SALES, "notes.md": ""})
    await at_work.ask("Draw the amount per region in sales.csv into a.svg, then append the numbers to notes.md")
    assert at_work.files["notes.md"].endswith("(3 rows):\n- North: 13\n- South: 4.5\n")


async def test_remarks_are_said_but_not_saved():
    for message in (
        "Calculate the total blue amount per region in sales.csv and save the result to totals.md",
        "Save the total blue amount per region in sales.csv to totals.md",
    ):
        at_work = Office(files={"sales.csv": SALES})
        reply = await at_work.ask(message)
        assert at_work.files["totals.md"] == TOTALS
        assert "could not take “blue” into account" in reply.text
        assert "Calculate" not in reply.text


@pytest.mark.parametrize(
    "message",
    [
        "Append the numbers to notes.md",
        "Draw the profit per region in sales.csv into a.svg, then append the numbers to notes.md",
        "Calculate the total amount per country in sales.csv and save the result to notes.md",
        "Save the total amount per country in sales.csv to notes.md",
    ],
)
async def test_what_has_no_result_is_not_written(message: str):
    at_work = Office(files={"sales.csv": SALES, "notes.md": "# Notes\n"})
    reply = await at_work.ask(message)
    assert "did not work" in reply.text
    assert at_work.files["notes.md"] == "# Notes\n"
