"""An employee's role: it logs in with its own password, into its own database, and can do nothing else by itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from controlplane import planes
from empla.store import migrate as migrate_module
from empla.store.connect import Connection, Pool, connect_once
from empla.store.ids import new_id
from empla.store.roles import create_employee_role, drop_employee_role, employee_dsn, employee_role
from empla.store.scram import new_password, verifier
from tests.conftest import Database

EMPLOYEE = UUID("0190a3b8-0000-7000-8000-0000000000ab")


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Pool]:
    async with database.connect() as pool:
        yield pool


@pytest.fixture
async def employee(owner: Pool) -> AsyncIterator[UUID]:
    employee_id = new_id()
    yield employee_id
    async with owner.acquire() as connection:
        await drop_employee_role(connection, employee_id)


async def create(owner: Pool, employee_id: UUID, password: str) -> None:
    async with owner.acquire() as connection:
        await create_employee_role(connection, employee_id, password)


async def test_logs_in_as_itself(database: Database, owner: Pool, employee: UUID) -> None:
    password = new_password()
    await create(owner, employee, password)
    dsn = employee_dsn(database.dsn, employee, password)
    async with connect_once(dsn, application_name="tests") as connection:
        assert await connection.fetchval("SELECT current_user") == employee_role(employee)
        assert await connection.fetchval("SELECT pg_has_role('empla_employee', 'USAGE')")


async def test_has_no_power_of_its_own(owner: Pool, employee: UUID) -> None:
    await create(owner, employee, "secret")
    role = await owner.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", employee_role(employee))
    assert role is not None
    assert (role["rolcanlogin"], role["rolinherit"], role["rolconnlimit"]) == (True, True, 12)
    powers = ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls")
    assert not any(role[power] for power in powers)


async def test_creating_again_changes_the_password(database: Database, owner: Pool, employee: UUID) -> None:
    for password in ("old", "new"):
        await create(owner, employee, password)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(employee_dsn(database.dsn, employee, "old"))
    async with connect_once(employee_dsn(database.dsn, employee, "new"), application_name="tests"):
        pass


@pytest.mark.parametrize("other", ["empla_employee", "postgres"])
async def test_cannot_become_another(database: Database, owner: Pool, employee: UUID, other: str) -> None:
    await create(owner, employee, "secret")
    dsn = employee_dsn(database.dsn, employee, "secret")
    async with connect_once(dsn, application_name="tests") as connection:
        await _refused(connection, f"CREATE ROLE more IN ROLE {other}")
        await _refused(connection, f"ALTER ROLE {other} LOGIN")
        await _refused(connection, "SET SESSION AUTHORIZATION empla")
        await _refused(connection, "CREATE TABLE mine ()")
        await _refused(connection, "CREATE TEMPORARY TABLE mine ()")
        await _refused(connection, "COPY (SELECT 1) TO PROGRAM 'true'")
        await _refused(connection, "SELECT pg_read_file('/etc/passwd')")


async def _refused(connection: Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)


@pytest.mark.parametrize("name", ["postgres", "template1"])
async def test_cannot_enter_another_database(database: Database, owner: Pool, employee: UUID, name: str) -> None:
    await create(owner, employee, "secret")
    dsn = employee_dsn(database.dsn, employee, "secret")
    own = await owner.fetchval("SELECT current_database()")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(dsn.replace(f"/{own}?", f"/{name}?"))


async def test_dropping_ends_its_connections(database: Database, owner: Pool, employee: UUID) -> None:
    await create(owner, employee, "secret")
    connection = await asyncpg.connect(employee_dsn(database.dsn, employee, "secret"))
    for _ in range(2):
        async with owner.acquire() as administrator:
            await drop_employee_role(administrator, employee)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await connection.execute("SELECT 1")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(employee_dsn(database.dsn, employee, "secret"))


async def test_no_advisory_lock_of_an_employee_holds_others_up(
    database: Database, owner: Pool, employee: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take any, and know which: roles can be listed."""
    other = new_id()
    monkeypatch.setattr(migrate_module, "_LOCK_TIMEOUT", 2)
    monkeypatch.setattr(planes, "ANSWER_SECONDS", 2)
    await create(owner, employee, "secret")
    async with connect_once(employee_dsn(database.dsn, employee, "secret"), application_name="tests") as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", migrate_module._LOCK)
        for name in ("empla_control_planes", employee_role(other)):
            await connection.execute("SELECT pg_advisory_lock(hashtext($1))", name)
        async with asyncio.timeout(30):
            await create(owner, other, "secret")
            async with owner.acquire() as administrator:
                await drop_employee_role(administrator, other)
            await migrate_module.migrate(database.dsn)
            one = planes.Planes(database.dsn, "one", "unix:/one", home="home")
            async with one.present():
                assert one.leads


async def test_a_launch_begins_with_no_settings_of_the_one_before(
    database: Database, owner: Pool, employee: UUID
) -> None:
    await create(owner, employee, "secret")
    async with connect_once(employee_dsn(database.dsn, employee, "secret"), application_name="tests") as connection:
        await connection.execute("ALTER ROLE CURRENT_USER SET default_transaction_read_only = on")
    await create(owner, employee, "secret")
    async with connect_once(employee_dsn(database.dsn, employee, "secret"), application_name="tests") as connection:
        assert await connection.fetchval("SHOW default_transaction_read_only") == "off"
        assert await connection.fetchval("SHOW statement_timeout") == "30s"


async def test_clear_password_never_reaches_the_server(database: Database, employee: UUID) -> None:
    password = new_password()
    seen: list[str] = []
    async with connect_once(database.dsn, application_name="tests") as connection:
        connection.add_query_logger(lambda query: seen.append(query.query))
        await create_employee_role(connection, employee, password)
    statements = "\n".join(seen)
    assert "SCRAM-SHA-256$4096:" in statements
    assert password not in statements


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("postgresql://empla:x@/empla?host=/run/a&port=5432", "postgresql://{0}:p%2Fw@/empla?host=/run/a&port=5432"),
        ("postgres://empla@db.example:6432/e", "postgres://{0}:p%2Fw@db.example:6432/e"),
        (
            "postgresql://a:b@one,two:5433/e?sslmode=verify-full",
            "postgresql://{0}:p%2Fw@one,two:5433/e?sslmode=verify-full",
        ),
        ("postgresql://host/e?user=empla&password=x", "postgresql://{0}:p%2Fw@host/e"),
    ],
)
def test_dsn_of_an_employee(base: str, expected: str) -> None:
    assert employee_dsn(base, EMPLOYEE, "p/w") == expected.format("empla_e_0190a3b80000700080000000000000ab")


@pytest.mark.parametrize("password", ["", "grüße", "a\nb"])
def test_password_that_could_be_read_in_two_ways_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="ASCII"):
        verifier(password)


def test_passwords_differ(tmp_path: Path) -> None:
    assert len({new_password() for _ in range(100)}) == 100
    assert verifier("same") != verifier("same")
