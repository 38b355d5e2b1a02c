"""Who may do what: operator tokens by hash, with a scope and perhaps a tenant."""

import asyncio
import hashlib
import logging
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from controlplane.attempts import Attempts
from controlplane.errors import Forbidden, Unauthenticated
from empla import rpc
from empla.store.connect import Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id
from empla.v1 import control_pb2

log = logging.getLogger(__name__)

SQL = load_queries("controlplane", "auth.sql")
SCOPES = {"read": control_pb2.SCOPE_READ, "operate": control_pb2.SCOPE_OPERATE, "admin": control_pb2.SCOPE_ADMIN}
LOOK_SECONDS = 2.0
"""Between two looks for tokens that another control plane has revoked."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever holds a token. `tenant_id` None: every tenant; `ends_at` is on the event loop's clock, None: never."""

    name: str
    scope: control_pb2.Scope.ValueType
    tenant_id: UUID | None
    token_id: UUID | None = None
    ends_at: float | None = None


def new_secret() -> str:
    """256 random bits, as text that fits into a header."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> bytes:
    """SHA-256: the secrets have 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).digest()


class Tokens:
    """Operator tokens in the table `operator_tokens`."""

    def __init__(self, pool: Pool, attempts: Attempts | None = None) -> None:
        self._pool = pool
        self._attempts = attempts or Attempts()
        self._open: defaultdict[UUID, set[asyncio.Timeout]] = defaultdict(set)

    async def ensure(self, name: str, secret: str, scope: str) -> None:
        """Make `secret` the one token of this name that is every tenant's; one that was it before is revoked.

        Raises `Unauthenticated` when it was revoked itself: that no start undoes.
        """
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(SQL.hold_tokens)
                await connection.execute(SQL.replace_token, name, hashed(secret))
                if not await connection.fetchval(SQL.ensure_token, new_id(), name, hashed(secret), scope):
                    raise Unauthenticated(  # in the transaction, so that the token that is valid stays so
                        f"the token of the {name} was revoked: remove its file, and the next start makes another",
                        reason="TOKEN_INVALID",
                    )

    async def authenticate(self, secret: str) -> Operator:
        """Whose token `secret` is; raises `Unauthenticated`, or `Exhausted` when its sender had too many wrong ones.

        The look-up by hash leaks nothing of the secret by its time.
        """
        with translated():
            row = await self._pool.fetchrow(SQL.token, hashed(secret))
        if row is None:
            raise self._attempts.refusal(_invalid())
        ends_at = None if row["seconds"] is None else asyncio.get_running_loop().time() + row["seconds"]
        return Operator(row["name"], SCOPES[row["scope"]], row["tenant_id"], row["token_id"], ends_at)

    async def authenticate_call(self, method: str, metadata: Any) -> Operator:
        """The operator behind an RPC, whose scope allows the method; raises `Unauthenticated` and `Forbidden`."""
        operator = await self.authenticate(rpc.bearer(metadata))
        needed = required_scope(method)
        if not 0 < needed <= operator.scope:
            scope = control_pb2.Scope.Name(needed).removeprefix("SCOPE_").lower()
            raise Forbidden(f"this needs the scope {scope}", reason="SCOPE_TOO_LOW")
        return operator

    @asynccontextmanager
    async def while_valid(self, operator: Operator) -> AsyncIterator[None]:
        """Let the block run as long as the operator's token is valid, no longer; raises `Unauthenticated` then."""
        assert operator.token_id is not None
        limit = asyncio.timeout_at(operator.ends_at)
        try:
            async with limit:
                self._open[operator.token_id].add(limit)
                try:
                    yield
                finally:
                    self._closed(operator.token_id, limit)
        except TimeoutError as error:
            if limit.expired():
                raise _invalid() from error
            raise

    def _closed(self, token_id: UUID, limit: asyncio.Timeout) -> None:
        self._open[token_id].discard(limit)
        if not self._open[token_id]:
            del self._open[token_id]

    def end(self, token_id: UUID) -> None:
        """End what runs with a token that is revoked; the caller itself, if it is one of them, may still answer."""
        for limit in self._open.get(token_id, ()):
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """End what runs with tokens that were revoked elsewhere; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                with translated():
                    revoked = await self._pool.fetch(SQL.revoked, list(self._open)) if self._open else []
            except StoreUnavailable as error:
                log.warning("the database is away, revoked tokens are looked for later: %s", error)
                continue
            except Exception:
                log.exception("revoked tokens are looked for later")
                continue
            for row in revoked:
                self.end(row["token_id"])


def _invalid() -> Unauthenticated:
    return Unauthenticated("the token is wrong, expired or revoked", reason="TOKEN_INVALID")


def required_scope(method: str) -> control_pb2.Scope.ValueType:
    """The scope that control.proto names for `/service/Method`; a method without one is nobody's."""
    _, service, name = method.split("/")
    found = control_pb2.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods_by_name.get(name)
    if found is None:
        return control_pb2.SCOPE_UNSPECIFIED
    scope: control_pb2.Scope.ValueType = found.GetOptions().Extensions[control_pb2.scope]
    return scope
