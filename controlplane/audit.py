"""The audit log: who changed what, written in the transaction that changes it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from google.protobuf.json_format import ParseDict

from controlplane.auth import Operator
from controlplane.errors import Invalid
from controlplane.messages import fitting
from empla import rpc
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.v1 import control_pb2 as pb

SQL = load_queries("controlplane", "audit.sql")
ITSELF = "empla"
"""The actor of what the control plane does by itself."""
_MAX_ENTRY_ID = (1 << 63) - 1


async def record(
    connection: AnyConnection,
    tenant_id: UUID | None,
    action: str,
    subject: UUID,
    detail: Mapping[str, Any] | None = None,
    *,
    actor: str = "",
) -> None:
    """Write down that `action` is done to `subject`, by `actor` or else the operator whose call is being served."""
    operator = _calling()
    by = actor or (operator.name if operator is not None else ITSELF)
    token_id = operator.token_id if operator is not None else None
    await connection.execute(SQL.record, tenant_id, by, token_id, action, str(subject), dict(detail or {}))


def _calling() -> Operator | None:
    try:
        caller = rpc.caller()
    except LookupError:
        return None
    return caller if isinstance(caller, Operator) else None


class Audit:
    """The table `audit_log`, as operators read it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, tenant_id: UUID | None, *, size: int, token: str) -> tuple[list[pb.AuditEntry], str]:
        """Entries of a tenant (None: all), the newest first, and the token of the next page; '' when this was the last."""
        with translated():
            rows = await self._pool.fetch(SQL.page, tenant_id, _before(token), size)
        page = fitting(map(_entry, rows))
        more = len(page) < len(rows) or len(rows) == size
        return page, str(rows[len(page) - 1]["entry_id"]) if more else ""


def _before(token: str) -> int | None:
    if not token:
        return None
    if not (token.isascii() and token.isdigit() and len(token) < 20 and int(token) <= _MAX_ENTRY_ID):
        raise Invalid("that is no page", fields={"page_token": "taken from the answer before"})
    return int(token)


def _entry(row: Any) -> pb.AuditEntry:
    entry = pb.AuditEntry(
        tenant=row["tenant"],
        actor=row["actor"],
        token_id=str(row["token_id"] or ""),
        action=row["action"],
        subject=row["subject"],
    )
    entry.occurred_at.FromDatetime(row["occurred_at"])
    ParseDict(row["detail"], entry.detail)
    return entry
