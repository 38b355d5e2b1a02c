"""Operator tokens as operators make, see and revoke them; see `controlplane.auth` for how they are checked."""

from typing import Any
from uuid import UUID

import asyncpg

from controlplane import audit
from controlplane.auth import SCOPES, Operator, hashed, new_secret
from controlplane.budgets import BUDGET
from controlplane.errors import AlreadyThere, Invalid, Unknown
from controlplane.goals import PROFILE
from empla.store.connect import Pool, load_queries, translated
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb

SQL = load_queries("controlplane", "tokens.sql")
MAX_NAME = 100
MAX_DAYS = 36_500
RESERVED = (audit.ITSELF, PROFILE, BUDGET)
PREFIX = "empla_"
"""By which people, and programs that look for secrets, recognise a token."""
_SCOPE_NAMES = {value: name for name, value in SCOPES.items()}


class IssuedTokens:
    """The table `operator_tokens`; each change is audited."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self, request: pb.CreateTokenRequest, tenant_id: UUID | None, operator: Operator
    ) -> tuple[pb.Token, str]:
        """A new token of a tenant (None: of every one) and its secret, which nobody is told again.

        It ends with the operator's own at the latest. Raises `Invalid`, and `AlreadyThere` when a token has the name.
        """
        _check(request)
        token_id, secret, scope = new_id(), PREFIX + new_secret(), _SCOPE_NAMES[request.scope]
        values = (token_id, tenant_id, request.name, hashed(secret), scope, request.valid_days, operator.token_id)
        try:
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    await connection.execute(SQL.create, *values)
                    detail = {"name": request.name, "scope": scope}
                    await audit.record(connection, tenant_id, "token.create", token_id, detail)
        except asyncpg.UniqueViolationError as error:
            raise AlreadyThere(
                f"there is a token {request.name!r} already: revoke it first, or take another name",
                fields={"name": "in use"},
            ) from error
        return await self._get(token_id, None), secret

    async def page(
        self, tenant_id: UUID | None, *, ended: bool, size: int, after: UUID | None
    ) -> tuple[list[pb.Token], str]:
        """Tokens of a tenant (None: all), the oldest first, and the token of the next page; '' when this was the last."""
        with translated():
            rows = await self._pool.fetch(SQL.page, tenant_id, after, ended, size)
        return list(map(_token, rows)), str(rows[-1]["token_id"]) if len(rows) == size else ""

    async def revoke(self, token_id: UUID, operator: Operator) -> pb.Token:
        """Make a token of the operator's tenant invalid; again is the same as once. Raises `Unknown`."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(SQL.one, token_id, operator.tenant_id)
                if row is None:
                    raise _unknown(token_id)
                if await connection.fetchval(SQL.revoke, token_id):
                    await audit.record(connection, row["tenant_id"], "token.revoke", token_id, {"name": row["name"]})
        return await self._get(token_id, operator.tenant_id)

    async def _get(self, token_id: UUID, tenant_id: UUID | None) -> pb.Token:
        with translated():
            row = await self._pool.fetchrow(SQL.one, token_id, tenant_id)
        if row is None:
            raise _unknown(token_id)
        return _token(row)


def _check(request: pb.CreateTokenRequest) -> None:
    wrong = {}
    if not (1 <= len(request.name) <= MAX_NAME and request.name.isprintable() and request.name.strip() == request.name):
        wrong["name"] = f"1 to {MAX_NAME} printable characters, no space before or after"
    if request.name in RESERVED:
        wrong["name"] = f"none of {', '.join(RESERVED)}, which the audit log calls others"
    if request.scope not in _SCOPE_NAMES:
        wrong["scope"] = f"one of {', '.join(SCOPES)}"
    if request.valid_days > MAX_DAYS:
        wrong["valid_days"] = f"at most {MAX_DAYS}"
    if wrong:
        raise Invalid("; ".join(f"{name}: {why}" for name, why in wrong.items()), fields=wrong)


def _unknown(token_id: UUID) -> Unknown:
    return Unknown(f"there is no token {token_id}", reason="TOKEN_UNKNOWN")


def _token(row: Any) -> pb.Token:
    token = pb.Token(token_id=str(row["token_id"]), tenant=row["tenant"], name=row["name"], scope=SCOPES[row["scope"]])
    for name in ("created_at", "expires_at", "revoked_at"):
        if row[name] is not None:
            getattr(token, name).FromDatetime(row[name])
    return token
