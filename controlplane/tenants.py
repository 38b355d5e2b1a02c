"""Tenants as operators make and see them."""

from typing import Any
from uuid import UUID

from controlplane import audit
from controlplane.employees import NAME
from controlplane.errors import AlreadyThere, Invalid
from empla.store.connect import Pool, load_queries, translated
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb

SQL = load_queries("controlplane", "tenants.sql")


class Tenants:
    """The table `tenants`; each change is audited."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, name: str) -> pb.Tenant:
        """A new tenant; raises `Invalid` and `AlreadyThere`."""
        if not NAME.fullmatch(name):
            raise Invalid(f"{name[:100]!r} is no name", fields={"name": "a-z, 0-9 and -, 1 to 63 characters"})
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(SQL.create, new_id(), name)
                if row is None:
                    raise AlreadyThere(f"there is a tenant {name!r} already", fields={"name": "in use"})
                await audit.record(connection, row["tenant_id"], "tenant.create", row["tenant_id"], {"name": name})
        return _tenant(row)

    async def page(self, tenant_id: UUID | None, *, size: int, after: str) -> tuple[list[pb.Tenant], str]:
        """That tenant (None: all) by name, and the token of the next page; '' when this was the last."""
        if "\0" in after:
            raise Invalid("that is no page", fields={"page_token": "taken from the answer before"})
        with translated():
            rows = await self._pool.fetch(SQL.page, tenant_id, after, size)
        return list(map(_tenant, rows)), rows[-1]["name"] if len(rows) == size else ""


def _tenant(row: Any) -> pb.Tenant:
    tenant = pb.Tenant(tenant_id=str(row["tenant_id"]), name=row["name"], paused=row["paused"])
    tenant.created_at.FromDatetime(row["created_at"])
    return tenant
