"""Who may do what: operator tokens by hash, with a scope and perhaps a tenant."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from controlplane.errors import Forbidden, Unauthenticated
from empla import rpc
from empla.store.connect import Pool, load_queries, translated
from empla.store.ids import new_id
from empla.v1 import control_pb2

SQL = load_queries("controlplane", "auth.sql")
SCOPES = {"read": control_pb2.SCOPE_READ, "operate": control_pb2.SCOPE_OPERATE, "admin": control_pb2.SCOPE_ADMIN}


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever holds a token. `tenant_id` None: every tenant."""

    name: str
    scope: control_pb2.Scope.ValueType
    tenant_id: UUID | None


def new_secret() -> str:
    """256 random bits, as text that fits into a header."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> bytes:
    """SHA-256: the secrets have 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).digest()


class Tokens:
    """Operator tokens in the table `operator_tokens`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ensure(self, name: str, secret: str, scope: str) -> None:
        """Make `secret` the one token of this name that is every tenant's; one that was it before is revoked."""
        with translated():
            await self._pool.execute(SQL.ensure_token, new_id(), name, hashed(secret), scope)

    async def authenticate(self, secret: str) -> Operator:
        """Whose token `secret` is; raises `Unauthenticated`. The look-up by hash leaks nothing of the secret by its time."""
        with translated():
            row = await self._pool.fetchrow(SQL.token, hashed(secret))
        if row is None:
            raise Unauthenticated("the token is wrong, expired or revoked", reason="TOKEN_INVALID")
        return Operator(row["name"], SCOPES[row["scope"]], row["tenant_id"])

    async def authenticate_call(self, method: str, metadata: Any) -> Operator:
        """The operator behind an RPC, whose scope allows the method; raises `Unauthenticated` and `Forbidden`."""
        operator = await self.authenticate(rpc.bearer(metadata))
        needed = required_scope(method)
        if not 0 < needed <= operator.scope:
            raise Forbidden(f"this needs the scope {control_pb2.Scope.Name(needed)}", reason="SCOPE_TOO_LOW")
        return operator


def required_scope(method: str) -> control_pb2.Scope.ValueType:
    """The scope that control.proto names for `/service/Method`; a method without one is nobody's."""
    _, service, name = method.split("/")
    found = control_pb2.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods_by_name.get(name)
    if found is None:
        return control_pb2.SCOPE_UNSPECIFIED
    scope: control_pb2.Scope.ValueType = found.GetOptions().Extensions[control_pb2.scope]
    return scope
