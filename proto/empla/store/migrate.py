"""Brings the schema up to date: every file of `migrations/` runs once, in order, in a transaction of its own.

Any number of processes may do this at once: they take turns under a lock that ends with the transaction, so it works
behind poolers too. A file that has run must not change; a schema change is a new file.

It may run while others write. Whoever waits for a table's lock has everybody else wait behind it, so a migration gives up
after a moment, lets the others by, and begins anew.
"""

import asyncio
import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from empla.store.connect import Connection, connect_once, translated
from empla.store.errors import MigrationFailed

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = 0x656D706C61  # "empla"
_LOCK_TIMEOUT = 120
_TABLE_LOCK_MS = 500
"""How long a migration holds up everybody else who wants a table that somebody has in use."""
_TRIES = 60
_PAUSE = 0.5
_FILE = re.compile(r"(?P<version>\d{4})_[a-z0-9_]+\.sql")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name without the suffix, and what it runs."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """Read the migrations of `directory` in order; raises `MigrationFailed` unless numbered from 0001 without gaps."""
    migrations = [_read(path) for path in sorted(directory.glob("*.sql"))]
    if not migrations:
        raise MigrationFailed(f"there are no migrations in {directory}")
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationFailed(f"the migrations in {directory} are not numbered 0001, 0002, … without gaps")
    return migrations


async def migrate(dsn: str, directory: Path = MIGRATIONS, *, up_to: int | None = None) -> list[str]:
    """Apply what is missing, of the first `up_to` if not of all, and return the names of the migrations this call ran.

    `dsn` is the owner's. Raises `MigrationFailed`, and `StoreUnavailable` when the server cannot be reached.
    """
    migrations = (await asyncio.to_thread(read_migrations, directory))[:up_to]
    async with connect_once(dsn, application_name="empla migrate", command_timeout=None) as connection:
        with translated():
            await _refuse_newer(connection, migrations)
            return [migration.name for migration in migrations if await _apply_patiently(connection, migration)]


def _read(path: Path) -> Migration:
    match = _FILE.fullmatch(path.name)
    if match is None:
        raise MigrationFailed(f"{path} is not named like 0001_what_it_does.sql")
    return Migration(int(match["version"]), path.stem, path.read_text(encoding="utf-8"))


async def _refuse_newer(connection: Connection, migrations: list[Migration]) -> None:
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return
    newest = await connection.fetchval("SELECT max(version) FROM schema_migrations")
    if newest is not None and newest > len(migrations):
        raise MigrationFailed(
            f"the database has migration {newest:04}, this program knows {len(migrations):04}: run a newer version"
        )


async def _apply_patiently(connection: Connection, migration: Migration) -> bool:
    """Run `migration` unless it has run, as soon as its tables can be had; tell whether this call ran it."""
    for _ in range(_TRIES):
        try:
            return await _apply(connection, migration)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            _log.info("%s waits for a table that is in use: %s", migration.name, error)
            await asyncio.sleep(_PAUSE)
    raise MigrationFailed(
        f"{migration.name} found a table in use each of {_TRIES} times: end what holds it (see pg_stat_activity), a backup "
        "that is being taken for one, and start again"
    )


async def _apply(connection: Connection, migration: Migration) -> bool:
    """Run `migration` unless it has run; tell whether this call ran it."""
    async with connection.transaction():
        await _take_turn(connection)
        applied = await connection.fetchval(
            "SELECT checksum FROM schema_migrations WHERE version = $1", migration.version
        )
        if applied is None:
            await _run(connection, migration)
        elif applied != migration.checksum:
            raise MigrationFailed(f"{migration.name} was changed after it ran: restore it and add a new file instead")
    if applied is None:
        _log.info("applied migration %s", migration.name)
    return applied is None


async def _take_turn(connection: Connection) -> None:
    await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}s'")
    try:
        if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        else:  # by now there may be employees, who may take advisory locks as well, and keep them
            await connection.execute("LOCK TABLE schema_migrations IN SHARE UPDATE EXCLUSIVE MODE")
    except asyncpg.LockNotAvailableError as error:
        raise MigrationFailed(f"another process has been migrating for more than {_LOCK_TIMEOUT} s") from error
    await connection.execute(f"SET LOCAL lock_timeout = '{_TABLE_LOCK_MS}ms'")
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL,"
        " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )


async def _run(connection: Connection, migration: Migration) -> None:
    transaction = await connection.fetchval("SELECT pg_current_xact_id()::text")
    try:
        await connection.execute(migration.sql)
    except (asyncpg.PostgresConnectionError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        raise
    except asyncpg.PostgresError as error:
        raise MigrationFailed(f"{migration.name} failed{_position(migration.sql, error)}: {error}") from error
    if await connection.fetchval("SELECT pg_current_xact_id_if_assigned()::text") != transaction:
        raise MigrationFailed(f"{migration.name} ends its transaction: leave BEGIN, COMMIT and ROLLBACK out of it")
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
        migration.version,
        migration.name,
        migration.checksum,
    )


def _position(sql: str, error: asyncpg.PostgresError) -> str:
    """Return " in line N" where the server said where the error is."""
    position = getattr(error, "position", None)
    return f" in line {sql.count('\n', 0, int(position) - 1) + 1}" if position else ""
