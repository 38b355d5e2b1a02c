"""Restoring a backup into an empty home, and an empty database: there is all of it in the end, or nothing that starts.

The rows are one transaction, with all that they have to be told before anybody goes on with them: what the old
installation may have done or sent since the backup was taken is not done or sent again unless a person says so.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, cast

import asyncpg

from controlplane.backup.archive import Content, contents, read_small
from controlplane.backup.checking import Checked, check
from controlplane.backup.errors import Damaged, InUse, NoRoom
from controlplane.backup.manifest import Table
from controlplane.backup.tables import SQL as TABLES
from controlplane.backup.tables import copy_in, go_on_counting, tables_of
from controlplane.backup.trees import read_tree
from controlplane.channels import READ_FROM_TABLE
from controlplane.packages import asked_file, make_directory
from controlplane.settings import Settings
from empla.store.connect import AnyConnection, connect_once, load_queries, translated
from empla.store.embedded import EmbeddedPostgres
from empla.store.migrate import migrate

SQL = load_queries("controlplane.backup", "restoring.sql")

UNFINISHED = "restoring"
"""The file in a home whose restoring has not come to its end."""
_HARMLESS = {"lost+found"}
"""What an empty home may hold: it may be a file system of its own."""


async def restore(settings: Settings, path: Path, *, start: bool, told: Callable[[str], None]) -> Checked:
    """Make a home and a database again of the backup at `path`, which is checked first.

    Employees are stopped, unless those that ran are to `start` again. Raises `BackupError`, `StoreError` and `OSError`.
    """
    told("the archive is checked")
    checked = await asyncio.to_thread(check, path)
    await asyncio.to_thread(_check_room, settings.home, checked)
    if settings.database_url is not None:
        await _check_unused(settings.database_url.get_secret_value())
    async with _marked(settings.home), _database(settings) as dsn:
        await migrate(dsn, up_to=len(checked.header.schema_checksums))
        await _fill(settings, dsn, path, checked, start=start, told=told)
        await migrate(dsn)
    return checked


def refuse_unfinished(home: Path) -> None:
    """Raises `InUse` for a home whose restoring was cut off: nothing may start there."""
    if (home / UNFINISHED).exists():
        raise InUse(f"a restore into {home} was cut off, or still goes on: remove what is in there and restore again")


def _check_room(home: Path, checked: Checked) -> None:
    place = next(place for place in (home, *home.absolute().parents) if place.exists())
    free, needed = shutil.disk_usage(place).free, checked.manifest.unpacked
    if needed > free:
        raise NoRoom(
            f"the backup unpacks to {needed} bytes and {place} has room for {free}: make room, or take another home"
        )


@asynccontextmanager
async def _marked(home: Path) -> AsyncIterator[None]:
    """Claim an empty home; what it is marked with goes away when the block has come to its end."""
    await asyncio.to_thread(_claim, home)
    yield
    await asyncio.to_thread(os.sync)
    await asyncio.to_thread((home / UNFINISHED).unlink)


def _claim(home: Path) -> None:
    refuse_unfinished(home)
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    if found := sorted(entry.name for entry in home.iterdir() if entry.name not in _HARMLESS):
        raise InUse(f"{home} holds {found[0]} already: a backup is restored into an empty home, set EMPLA_HOME to one")
    (home / UNFINISHED).touch(mode=0o600, exist_ok=False)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[str]:
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    async with EmbeddedPostgres(settings.home) as server:
        yield server.dsn


async def _check_unused(dsn: str) -> None:
    """Before anything is made, not even a schema or a home."""
    async with connect_once(dsn, application_name="empla restore") as connection:
        with translated():
            foreign = await connection.fetchval(TABLES.foreign_tables)
            used = not foreign and await connection.fetchval(TABLES.has_schema) and await _is_used(connection)
    if foreign or used:
        raise InUse("the database is in use: a backup is restored into an empty one, set EMPLA_DATABASE_URL to it")


async def _is_used(connection: AnyConnection) -> bool:
    return bool(await connection.fetchval(TABLES.is_used))


async def _fill(
    settings: Settings, dsn: str, path: Path, checked: Checked, *, start: bool, told: Callable[[str], None]
) -> None:
    """Rows and files; the rows last of all, for without them there is nothing that would start."""
    async with connect_once(dsn, application_name="empla restore", command_timeout=None) as connection:
        with translated():
            async with connection.transaction():
                await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # files take their time
                await connection.execute(TABLES.hold_tenants)
                if await _is_used(connection):
                    raise InUse("somebody has begun to use the database: restore into another one")
                await _check_tables(connection, checked.manifest.tables)
                await _of_all(connection, SQL.hold_triggers)
                await _read(settings, connection, path, checked, told)
                await go_on_counting(connection, checked.manifest.sequences)
                await _of_all(connection, SQL.release_triggers)
                told("what may have happened since")
                await _settle(connection, checked, start=start)


async def _check_tables(connection: AnyConnection, tables: list[Table]) -> None:
    known = {table.name: table.columns for table in await tables_of(connection)}
    if {table.name: table.columns for table in tables} != known:
        raise Damaged("the backup does not have the tables of its schema: take another one")


async def _of_all(connection: AnyConnection, statement: str) -> None:
    for table in await tables_of(connection):
        await connection.execute(statement.format(table=f'"{table.name}"'))


async def _read(
    settings: Settings, connection: AnyConnection, path: Path, checked: Checked, told: Callable[[str], None]
) -> None:
    rows = {table.name: table for table in await tables_of(connection)}
    tables = {table.member.name: table for table in checked.manifest.tables}
    trees = {tree.member.name: tree for tree in checked.manifest.trees}
    async with _opened(path) as members:
        while (content := await asyncio.to_thread(next, members, None)) is not None:
            if (table := tables.get(content.name)) is not None:
                told(f"the table {table.name}")
                unpacked = content.unpacked(table.member.unpacked)
                try:
                    await copy_in(connection, rows[table.name], unpacked)
                except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
                    raise Damaged(f"the database refuses the rows of {table.name}: {error}") from error
                await asyncio.to_thread(unpacked.finish)
            elif (tree := trees.get(content.name)) is not None:
                told(f"the files of {checked.manifest.employees.get(tree.employee_id, tree.employee_id)}")
                place = settings.home / tree.kind / str(tree.employee_id)
                await asyncio.to_thread(_make_tree, content, place, tree.member.unpacked)
            elif checked.manifest.packages and content.name == checked.manifest.packages.name:
                await asyncio.to_thread(_make_packages, content, settings.compute_packages)


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[Iterator[Content]]:
    source = await asyncio.to_thread(path.open, "rb")
    try:
        yield contents(source)
    finally:
        source.close()


def _make_tree(content: Content, place: Path, unpacked: int) -> None:
    place.mkdir(mode=0o700, parents=True)
    packed = content.unpacked(unpacked)
    read_tree(cast("BinaryIO", packed), place)
    packed.finish()


def _make_packages(content: Content, place: Path) -> None:
    make_directory(place)
    asked_file(place).write_bytes(read_small(content))


async def _settle(connection: AnyConnection, checked: Checked, *, start: bool) -> None:
    at = f"{checked.header.taken_at:%Y-%m-%d %H:%M} UTC"
    await connection.execute(SQL.fence)
    if not start:
        await connection.execute(SQL.stop)
    await connection.execute(SQL.mark)
    await connection.execute(SQL.begin_sending, READ_FROM_TABLE)
    await connection.execute(SQL.doubt_reviews, f"restored from a backup of {at}: it may have been decided since")
    why = f"restored from a backup of {at}: it may have been sent since"
    await connection.fetchval(SQL.doubt_sent, READ_FROM_TABLE, why)
    await connection.execute(
        SQL.record, str(checked.header.taken_at), {"build": checked.header.build, "started": start}
    )
