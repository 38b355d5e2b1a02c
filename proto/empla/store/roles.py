"""One database role per employee, a member of the group `empla_employee` that row-level security speaks of."""

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit
from uuid import UUID

from empla.store.connect import AnyConnection
from empla.store.scram import verifier

GROUP = "empla_employee"
PREFIX = "empla_e_"
"""How the names of the employees' roles begin."""
CONNECTION_LIMIT = 12
"""Connections one employee may hold, so that one of them cannot use up the server."""
STATEMENT_SECONDS = 30
"""A statement's, unless the employee says otherwise: its own code has given up before."""


def employee_role(employee_id: UUID) -> str:
    """Return the name of the employee's role."""
    return f"{PREFIX}{employee_id.hex}"


async def create_employee_role(connection: AnyConnection, employee_id: UUID, password: str) -> None:
    """Create the employee's role, or give the existing one `password` (printable ASCII).

    `connection` is the owner's. The server sees only a SCRAM verifier. Raises asyncpg's errors.
    """
    role = employee_role(employee_id)
    async with connection.transaction():
        await _wait_for_others(connection)
        if not await _exists(connection, role):
            await connection.execute(f"CREATE ROLE {role} IN ROLE {GROUP}")
        # Creating a role gives the right to administer it, not the right to end its sessions.
        await connection.execute(f"GRANT {role} TO CURRENT_USER WITH INHERIT TRUE")
        await connection.execute(f"ALTER ROLE {role} RESET ALL")  # an employee may set what its sessions begin with
        await connection.execute(
            f"ALTER ROLE {role} LOGIN INHERIT CONNECTION LIMIT {CONNECTION_LIMIT} PASSWORD '{verifier(password)}'"
        )
        # An employee's statements find few rows by their keys, and to plan one costs more than to run it. Left alone,
        # PostgreSQL would plan each of them five times for every connection.
        await connection.execute(f"ALTER ROLE {role} SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"ALTER ROLE {role} SET statement_timeout = '{STATEMENT_SECONDS}s'")


async def close_employee_role(connection: AnyConnection, employee_id: UUID) -> None:
    """Let nobody log in as the employee until `create_employee_role` gives another password; in a transaction."""
    role = employee_role(employee_id)
    await _wait_for_others(connection)
    if await _exists(connection, role):
        await connection.execute(f"ALTER ROLE {role} NOLOGIN PASSWORD NULL")


async def drop_employee_role(connection: AnyConnection, employee_id: UUID) -> None:
    """Drop the employee's role and end its connections; nothing happens when there is none."""
    role = employee_role(employee_id)
    async with connection.transaction():
        await _wait_for_others(connection)
        if not await _exists(connection, role):
            return
        await connection.execute(f"ALTER ROLE {role} NOLOGIN")
        await connection.execute(f"GRANT {role} TO CURRENT_USER WITH INHERIT TRUE")  # an earlier version did not
    # Only now that it is committed does nobody log in again.
    await connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1", role)
    async with connection.transaction():
        await _wait_for_others(connection)
        await connection.execute(f"DROP ROLE IF EXISTS {role}")


def employee_dsn(base_dsn: str, employee_id: UUID, password: str) -> str:
    """Return `base_dsn` with the employee's role and `password` in place of the owner's."""
    url = urlsplit(base_dsn)
    hosts = url.netloc.rpartition("@")[2]
    login = f"{employee_role(employee_id)}:{quote(password, safe='')}"
    query = urlencode([(key, value) for key, value in parse_qsl(url.query) if key not in _CREDENTIALS], safe="/")
    return urlunsplit((url.scheme, f"{login}@{hosts}", url.path, query, ""))


_CREDENTIALS = frozenset({"user", "password", "passfile", "sslcert", "sslkey", "sslpassword"})


async def _wait_for_others(connection: AnyConnection) -> None:
    """Both sides of a race for the same role wait here, so that the second finds what the first left.

    No advisory lock: those an employee may take as well, and keep.
    """
    await connection.execute("LOCK TABLE employees IN SHARE UPDATE EXCLUSIVE MODE")


async def _exists(connection: AnyConnection, role: str) -> bool:
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role))
