"""Migrations run once, in order, whole or not at all, however many processes begin."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from empla.store.connect import connect_once
from empla.store.errors import MigrationFailed, StoreUnavailable
from empla.store.migrate import MIGRATIONS, migrate, read_migrations
from tests.conftest import Database

FIRST = "0001_first.sql"
IN_LINE = (
    "SELECT count(*) FROM pg_locks WHERE relation = 'runs'::regclass AND mode = 'AccessExclusiveLock' AND NOT granted"
)


@pytest.fixture
async def empty(database: Database) -> Database:
    """A database in which nothing of ours has run."""
    async with connect_once(database.superuser_dsn, application_name="tests") as connection:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner")
        await connection.execute("CREATE EXTENSION vector")  # as the template has it
    return database


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / FIRST).write_text("CREATE TABLE runs (n int); INSERT INTO runs VALUES (1);")
    return tmp_path


async def ask(database: Database, query: str) -> object:
    async with connect_once(database.dsn, application_name="tests") as connection:
        return await connection.fetchval(query)


async def test_a_server_without_pgvector_is_told_what_to_install(empty: Database) -> None:
    async with connect_once(empty.superuser_dsn, application_name="tests") as connection:
        await connection.execute("DROP EXTENSION vector")
    with pytest.raises(MigrationFailed, match=r"needs the extension pgvector.*CREATE EXTENSION vector"):
        await migrate(empty.dsn)


async def test_our_own_migrations(empty: Database) -> None:
    names = sorted(path.stem for path in MIGRATIONS.glob("*.sql"))
    assert await migrate(empty.dsn) == names
    assert await migrate(empty.dsn) == []


async def test_each_runs_once_however_many_begin(empty: Database, directory: Path) -> None:
    (directory / "0002_second.sql").write_text("SELECT pg_sleep(0.1); INSERT INTO runs VALUES (2);")
    ran = await asyncio.gather(*(migrate(empty.dsn, directory) for _ in range(8)))
    assert sorted(name for names in ran for name in names) == ["0001_first", "0002_second"]
    assert await ask(empty, "SELECT array_agg(n ORDER BY n) FROM runs") == [1, 2]


async def test_new_file_runs_later(empty: Database, directory: Path) -> None:
    await migrate(empty.dsn, directory)
    (directory / "0002_second.sql").write_text("INSERT INTO runs VALUES (2);")
    assert await migrate(empty.dsn, directory) == ["0002_second"]


async def test_changed_file_is_refused(empty: Database, directory: Path) -> None:
    await migrate(empty.dsn, directory)
    (directory / FIRST).write_text("CREATE TABLE runs (n bigint);")
    with pytest.raises(MigrationFailed, match="0001_first was changed"):
        await migrate(empty.dsn, directory)


async def test_only_the_first_ones_are_run_where_that_is_wanted(empty: Database, directory: Path) -> None:
    (directory / "0002_second.sql").write_text("INSERT INTO runs VALUES (2);")
    assert await migrate(empty.dsn, directory, up_to=1) == ["0001_first"]
    assert await migrate(empty.dsn, directory) == ["0002_second"]


async def test_a_table_in_use_is_waited_for_and_others_get_it_meanwhile(empty: Database, directory: Path) -> None:
    await migrate(empty.dsn, directory)
    (directory / "0002_second.sql").write_text("ALTER TABLE runs ADD COLUMN said text;")
    async with (
        connect_once(empty.dsn, application_name="tests") as reader,
        connect_once(empty.dsn, application_name="tests") as other,
    ):
        async with reader.transaction():
            await reader.fetch("SELECT * FROM runs")  # and goes on to hold the table
            migrating = asyncio.create_task(migrate(empty.dsn, directory))
            async with asyncio.timeout(60):
                while not await other.fetchval(IN_LINE):
                    await asyncio.sleep(0.01)
                await other.execute(
                    "INSERT INTO runs VALUES (2)"
                )  # stands in line behind the migration, which gives way
            assert not migrating.done()
        assert await migrating == ["0002_second"]
    assert await ask(empty, "SELECT count(said) + count(*) FROM runs") == 2


async def test_a_table_that_is_always_in_use_ends_it(
    empty: Database, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty.dsn, directory)
    (directory / "0002_second.sql").write_text("ALTER TABLE runs ADD COLUMN said text;")
    monkeypatch.setattr("empla.store.migrate._TRIES", 2)
    async with connect_once(empty.dsn, application_name="tests") as reader, reader.transaction():
        await reader.fetch("SELECT * FROM runs")
        with pytest.raises(MigrationFailed, match=r"0002_second found a table in use.*pg_stat_activity"):
            await migrate(empty.dsn, directory)


async def test_failure_leaves_nothing_and_says_where(empty: Database, directory: Path) -> None:
    (directory / "0002_second.sql").write_text("INSERT INTO runs VALUES (2);\n\nINSERT INTO nowhere VALUES (1);")
    with pytest.raises(MigrationFailed, match=r"0002_second failed in line 3: .*nowhere"):
        await migrate(empty.dsn, directory)
    assert await ask(empty, "SELECT array_agg(n) FROM runs") == [1]
    assert await ask(empty, "SELECT max(version) FROM schema_migrations") == 1


async def test_file_that_commits_is_refused(empty: Database, directory: Path) -> None:
    (directory / "0002_second.sql").write_text("INSERT INTO runs VALUES (2); COMMIT;")
    with pytest.raises(MigrationFailed, match="ends its transaction"):
        await migrate(empty.dsn, directory)


async def test_database_of_a_newer_program_is_refused(empty: Database, directory: Path, tmp_path: Path) -> None:
    (directory / "0002_second.sql").write_text("SELECT 1;")
    await migrate(empty.dsn, directory)
    (directory / "0002_second.sql").unlink()
    with pytest.raises(MigrationFailed, match="newer"):
        await migrate(empty.dsn, directory)


async def test_employee_cannot_rewrite_history(database: Database) -> None:
    async with connect_once(database.dsn, application_name="tests") as connection:
        assert not await connection.fetchval(
            "SELECT has_table_privilege('empla_employee', 'schema_migrations', 'INSERT, UPDATE, DELETE, TRUNCATE')"
        )


@pytest.mark.parametrize("names", [[], ["0002_second.sql"], ["0001_a.sql", "0003_c.sql"], ["first.sql"]])
def test_gaps_and_strange_names_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationFailed):
        read_migrations(tmp_path)


async def test_no_server(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await migrate(f"postgresql://empla:x@/empla?host={tmp_path}", directory)


async def test_wrong_password_is_not_called_unavailable(empty: Database, directory: Path) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await migrate(empty.dsn.replace("@", "x@"), directory)
