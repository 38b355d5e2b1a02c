"""The database of a benchmark: the embedded server, on a disk, as durable as in production."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from agent.identity import Identity
from controlplane.auth import hashed
from controlplane.channels import Channels
from controlplane.employees import SQL as EMPLOYEES_SQL
from controlplane.employees import Employees
from controlplane.profiles import shipped_profile
from empla.store.connect import Pool, connect_once
from empla.store.embedded import EmbeddedPostgres
from empla.store.ids import new_id
from empla.store.roles import create_employee_role, employee_dsn

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A directory for all state, on the disk of /var/tmp (memory would make fsync cost nothing), gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="empla-bench-", dir="/var/tmp"))
    home.chmod(0o711)
    try:
        yield home
    finally:
        shutil.rmtree(home)


async def durability(dsn: str) -> dict[str, str]:
    """The settings that make a commit durable, as the server has them; raises RuntimeError unless all are on."""
    async with connect_once(dsn, application_name="bench") as connection:
        found = {name: str(await connection.fetchval(f"SHOW {name}")) for name in DURABILITY}
    if set(found.values()) != {"on"}:
        raise RuntimeError(f"the server does not write durably: {found}")
    return found


async def create_database(server: EmbeddedPostgres, name: str) -> str:
    """Another database of the same server; returns the DSN of its owner."""
    async with connect_once(_of(server.superuser_dsn, "postgres"), application_name="bench") as connection:
        await connection.execute(f"CREATE DATABASE {name} OWNER empla")
    return _of(server.dsn, name)


def superuser_dsn(server: EmbeddedPostgres, name: str) -> str:
    """Where the superuser reaches a database of the server."""
    return _of(server.superuser_dsn, name)


async def hire(pool: Pool, dsn: str, name: str, tenant: str = "default") -> tuple[Identity, str]:
    """An employee on record and launched, though no process runs; returns it with the DSN of its own role."""
    employees = Employees(pool)
    tenant_id = await employees.ensure_tenant(tenant)
    record = await employees.create(tenant_id, name, shipped_profile("sales-ae"), running=False)
    async with pool.acquire() as connection:
        await create_employee_role(connection, record.employee_id, "password")
    epoch = await pool.fetchval(EMPLOYEES_SQL.launch, record.employee_id, hashed("secret"), "bench")
    return Identity(record.employee_id, tenant_id, epoch), employee_dsn(dsn, record.employee_id, "password")


async def store_messages(pool: Pool, identity: Identity, count: int) -> list[tuple[UUID, UUID]]:
    """Many received messages at once, each in a conversation of its own; returns (message, conversation)."""
    channel_id = await Channels(pool).api(identity.tenant_id)
    ids = [(new_id(), new_id()) for _ in range(count)]
    await pool.execute(
        _STORE, [m for m, _ in ids], [c for _, c in ids], identity.tenant_id, identity.employee_id, channel_id
    )
    return ids


_STORE = """
WITH item AS (SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS i (message_id, conversation_id)
), conversation AS (
  INSERT INTO conversations (conversation_id, tenant_id, employee_id, channel_id, external_id)
  SELECT conversation_id, $3, $4, $5, conversation_id::text FROM item
), message AS (
  INSERT INTO inbound_messages (message_id, tenant_id, employee_id, channel_id, conversation_id, event_id, sender)
  SELECT message_id, $3, $4, $5, conversation_id, message_id::text, 'ada@example.com' FROM item
)
INSERT INTO message_bodies (message_id, tenant_id, employee_id, body)
SELECT message_id, $3, $4, 'How many open deals do the notes list?' FROM item
"""


def _of(dsn: str, database: str) -> str:
    return urlsplit(dsn)._replace(path=f"/{database}").geturl()
