"""The page of state diagrams shows what the database allows."""

from pathlib import Path

from empla.store.connect import connect_once
from empla.store.diagrams import page
from tests.conftest import Database

PAGE = Path(__file__).parents[3] / "docs" / "states.md"


async def test_the_page_is_drawn_from_the_table(database: Database) -> None:
    async with connect_once(database.dsn, application_name="tests") as connection:
        assert await page(connection) == PAGE.read_text(), "run make states"
        edges = await connection.fetchval("SELECT count(*) FROM state_edges")
    drawn = [line for line in PAGE.read_text().splitlines() if "-->" in line and "[*]" not in line]
    assert len(drawn) == edges
