"""Taking a backup: the database as it is at one moment, then every workspace as it is when its turn comes.

In this order, so that no file is missing of what the database says was done. A workspace may hold what is newer.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Literal, cast
from uuid import UUID

from controlplane.backup.archive import Writer, writing
from controlplane.backup.errors import NothingThere
from controlplane.backup.manifest import FORMAT, HEADER, Header, Manifest, Member, Table, Tree
from controlplane.backup.tables import SQL, copy_out, last_numbers, schema_of, tables_of
from controlplane.backup.trees import write_tree
from controlplane.employees import is_id
from controlplane.launchers.volumes import Volumes
from controlplane.packages import asked_file
from controlplane.settings import Settings
from empla.store.connect import AnyConnection, connect_once, translated
from empla.store.embedded import EmbeddedPostgres, dsn_of_running, has_data

type Told = Callable[[str], None]
"""Hears what is being done, in a few words."""


@dataclass(slots=True)
class _Taken:
    """What is in the archive so far."""

    header: Member
    tables: list[Table] = field(default_factory=list)
    sequences: dict[str, int] = field(default_factory=dict)
    employees: dict[UUID, str] = field(default_factory=dict)
    trees: list[Tree] = field(default_factory=list)
    packages: Member | None = None

    def manifest(self) -> Manifest:
        return Manifest(
            header=self.header,
            tables=self.tables,
            sequences=self.sequences,
            trees=self.trees,
            packages=self.packages,
            employees=self.employees,
        )


async def take(settings: Settings, out: BinaryIO, spare: Path, *, browsers: bool, told: Told) -> Manifest:
    """Write a backup to `out`; members are made in the directory `spare`, which needs room for the largest of them.

    Raises `BackupError`, `StoreError`, `LaunchFailed` when a volume cannot be read, and `OSError`.
    """
    async with writing(out, spare) as writer:
        async with _database(settings) as dsn:
            taken = await _take_database(dsn, writer, told)
        taken.trees = await _take_trees(settings, writer, taken.employees, told, browsers=browsers)
        taken.packages = await asyncio.to_thread(_take_packages, writer, settings.compute_packages)
        manifest = taken.manifest()
        await asyncio.to_thread(writer.end, manifest)
    return manifest


async def _take_trees(
    settings: Settings, writer: Writer, employees: dict[UUID, str], told: Told, *, browsers: bool
) -> list[Tree]:
    volumes, trees = Volumes(settings.volumes, None, None), []
    for employee_id in await asyncio.to_thread(_places, settings.workspaces):
        told(f"the files of {employees.get(employee_id, employee_id)}")
        async with volumes.readable(str(employee_id), settings.workspaces / str(employee_id)) as place:
            trees.append(await _take_tree(writer, "workspaces", employee_id, place))
    for employee_id in await asyncio.to_thread(_places, settings.browsers) if browsers else ():
        told(f"the browser of {employees.get(employee_id, employee_id)}")
        place = settings.browsers / str(employee_id)
        try:
            trees.append(await _take_tree(writer, "browsers", employee_id, place))
        except FileNotFoundError:
            if await asyncio.to_thread(place.exists):
                raise
            # It was removed meanwhile, with its employee.
    return trees


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[str]:
    """The server's, or the embedded one that `empla up` runs, or the same one started for the block."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
    elif (running := await asyncio.to_thread(dsn_of_running, settings.home)) is not None:
        yield running
    elif await asyncio.to_thread(has_data, settings.home):
        async with EmbeddedPostgres(settings.home) as server:
            yield server.dsn
    else:
        raise NothingThere(f"there is no database in {settings.home}: set EMPLA_HOME to the one that `empla up` uses")


async def _take_database(dsn: str, writer: Writer, told: Told) -> _Taken:
    async with connect_once(dsn, application_name="empla backup", command_timeout=None) as connection:
        with translated():
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                # Whoever takes the archive may be slow, and between two tables the transaction is idle.
                await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                taken = _Taken(await _add_header(connection, writer))
                taken.employees = {row["employee_id"]: row["name"] for row in await connection.fetch(SQL.employees)}
                for table in await tables_of(connection):
                    told(f"the table {table.name}")
                    async with writer.packing(f"database/{table.name}.copy.gz") as packing:
                        rows = await copy_out(connection, table, packing)
                    taken.tables.append(Table(name=table.name, columns=table.columns, rows=rows, member=packing.member))
                taken.sequences = await last_numbers(connection)
                return taken


async def _add_header(connection: AnyConnection, writer: Writer) -> Member:
    if not await connection.fetchval(SQL.has_schema):
        raise NothingThere("the database is empty: `empla up` has never used it")
    header = Header(
        format=FORMAT,
        build=await asyncio.to_thread(version, "empla"),
        taken_at=datetime.now(UTC),
        schema_checksums=await schema_of(connection),
    )
    return await asyncio.to_thread(writer.add, HEADER, header.model_dump_json(indent=1).encode())


async def _take_tree(writer: Writer, kind: Literal["workspaces", "browsers"], employee_id: UUID, place: Path) -> Tree:
    async with writer.packing(f"{kind}/{employee_id}.tar.gz") as packing:
        counted = await asyncio.to_thread(write_tree, place, cast("BinaryIO", packing), writer.spare)
    return Tree(
        kind=kind,
        employee_id=employee_id,
        entries=counted.entries,
        left_out=counted.left_out,
        changed=counted.changed,
        member=packing.member,
    )


def _take_packages(writer: Writer, place: Path) -> Member | None:
    try:
        return writer.add("compute/requirements.txt", asked_file(place).read_bytes())
    except FileNotFoundError:
        return None


def _places(directory: Path) -> list[UUID]:
    """The employees who have something in a directory of theirs; what else is in there is not theirs."""
    try:
        return sorted(UUID(place.name) for place in directory.iterdir() if is_id(place.name) and place.is_dir())
    except FileNotFoundError:
        return []
