"""The rows of the database: copied out of one snapshot, and into a database that has the same schema and no rows yet.

The schema is not in a backup. It comes from the migrations of this program, so no archive can bring statements of its
own, and the rows of an older one go on to be migrated as they would have been.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from graphlib import TopologicalSorter

from controlplane.backup.archive import Packing, Unpacked
from controlplane.backup.errors import Damaged, Newer, NotUpToDate
from controlplane.backup.manifest import Header
from empla.store.connect import AnyConnection, load_queries
from empla.store.migrate import read_migrations

SQL = load_queries("controlplane.backup", "tables.sql")

WITHOUT_ROWS = frozenset(
    {
        "schema_migrations",
        "state_edges",
        "sidecars",
        "control_planes",
        "control_lease",
        "employee_presence",
        "alert_notices",
    }
)
"""What the migrations fill, what tells of processes on the machine of the backup, and what is told of once."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Rows:
    """A table whose rows are in a backup, with its columns."""

    name: str
    columns: list[str]


async def tables_of(connection: AnyConnection) -> list[Rows]:
    """The tables, each after those that its rows refer to."""
    found = {row["name"]: row["columns"] for row in await connection.fetch(SQL.tables)}
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(found, ()))
    for row in await connection.fetch(SQL.references):
        order.add(row["from"], row["to"])
    return [Rows(name, found[name]) for name in order.static_order() if name not in WITHOUT_ROWS]


async def copy_out(connection: AnyConnection, table: Rows, packing: Packing) -> int:
    """Write a table's rows; returns how many. Raises `NoRoom`."""
    rows, waiting = 0, bytearray()

    async def take(data: bytes) -> None:
        nonlocal rows
        rows += data.count(b"\n")  # COPY writes those of a text as \n
        waiting.extend(data)
        if len(waiting) >= _PIECE:
            await asyncio.to_thread(packing.write, bytes(waiting))
            waiting.clear()

    await connection.copy_from_table(
        table.name, schema_name="public", columns=table.columns, output=take, format="text"
    )
    await asyncio.to_thread(packing.write, bytes(waiting))
    return rows


async def copy_in(connection: AnyConnection, table: Rows, unpacked: Unpacked) -> None:
    """Read a table's rows; raises `Damaged`, and asyncpg's errors for rows that the table refuses."""

    async def pieces() -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(unpacked.read, _PIECE):
            yield piece

    await connection.copy_to_table(
        table.name, schema_name="public", columns=table.columns, source=pieces(), format="text"
    )


def check_rows(table: Rows, unpacked: Unpacked) -> int:
    """Count the rows of a packed table; raises `Damaged` when they do not have its columns, one tab between two."""
    rows = tabs = 0
    last = b"\n"
    while piece := unpacked.read(_PIECE):
        rows, tabs, last = rows + piece.count(b"\n"), tabs + piece.count(b"\t"), piece[-1:]
    if last != b"\n" or tabs != rows * (len(table.columns) - 1):
        raise Damaged(f"the rows of {table.name} are not complete")
    return rows


async def last_numbers(connection: AnyConnection) -> dict[str, int]:
    """The last number of each numbered column."""
    numbers = {}
    for row in await connection.fetch(SQL.sequences):
        last = await connection.fetchval(f"SELECT last_value FROM {row['sequence']}")  # noqa: S608 - PostgreSQL quotes it
        numbers[f"{row['table']}.{row['column']}"] = last
    return numbers


async def go_on_counting(connection: AnyConnection, numbers: dict[str, int]) -> None:
    """Have each numbered column go on after the numbers that were used."""
    for row in await connection.fetch(SQL.sequences):
        last = numbers.get(f"{row['table']}.{row['column']}")
        if last is not None:
            await connection.execute("SELECT setval($1::text::regclass, $2)", row["sequence"], last)


async def schema_of(connection: AnyConnection) -> list[tuple[str, str]]:
    """The migrations that a database has; raises `Newer` and `NotUpToDate` unless they are those of this program."""
    has = [(row["name"], row["checksum"]) for row in await connection.fetch(SQL.checksums)]
    known = [(one.name, one.checksum) for one in await asyncio.to_thread(read_migrations)]
    if has == known:
        return has
    if len(has) < len(known):
        raise NotUpToDate(f"the database has {len(has)} of {len(known)} migrations: start this version of empla first")
    raise Newer("the database is of a newer version of empla than this command: use that version's")


def check_schema(header: Header) -> None:
    """Raises `Newer` when a backup's rows need a schema that this program does not know."""
    known = [(one.name, one.checksum) for one in read_migrations()]
    if header.schema_checksums != known[: len(header.schema_checksums)]:
        raise Newer(
            f"the backup was taken by empla {header.build}, whose database this version does not know: "
            "restore it with that version or a later one"
        )
