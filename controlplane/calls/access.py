"""Calls about who may do what: tenants, tokens, and the log of what was changed."""

from typing import Any

from controlplane.auth import Operator
from controlplane.calls.arguments import given_id as _id
from controlplane.calls.arguments import page_size as _page_size
from controlplane.calls.calls import Calls
from controlplane.errors import Forbidden
from controlplane.naming import calling_operator as _operator
from empla.v1 import control_pb2 as pb


class AccessCalls(Calls):
    """Make and list tenants and tokens, revoke tokens, and read the audit log."""

    async def CreateTenant(self, request: pb.CreateTenantRequest, context: Any) -> pb.Tenant:
        _of_every_tenant(_operator())
        return await self._parts.tenants.create(request.name)

    async def ListTenants(self, request: pb.ListTenantsRequest, context: Any) -> pb.ListTenantsResponse:
        tenants, following = await self._parts.tenants.page(
            _operator().tenant_id, size=_page_size(request.page_size), after=request.page_token
        )
        return pb.ListTenantsResponse(tenants=tenants, next_page_token=following)

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Any) -> pb.CreateTokenResponse:
        if request.every_tenant:
            _of_every_tenant(_operator())
        tenant_id = None if request.every_tenant else await self._tenant(request.tenant)
        token, secret = await self._parts.issued_tokens.create(request, tenant_id, _operator())
        return pb.CreateTokenResponse(token=token, secret=secret)

    async def ListTokens(self, request: pb.ListTokensRequest, context: Any) -> pb.ListTokensResponse:
        tokens, following = await self._parts.issued_tokens.page(
            await self._scope(request.tenant),
            ended=request.include_ended,
            size=_page_size(request.page_size),
            after=_id(request.page_token, "page_token") if request.page_token else None,
        )
        return pb.ListTokensResponse(tokens=tokens, next_page_token=following)

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Any) -> pb.Token:
        token = await self._parts.issued_tokens.revoke(token_id := _id(request.token_id, "token_id"), _operator())
        self._parts.tokens.end(token_id)
        return token

    async def ListAudit(self, request: pb.ListAuditRequest, context: Any) -> pb.ListAuditResponse:
        entries, following = await self._parts.audit.page(
            await self._scope(request.tenant), size=_page_size(request.page_size), token=request.page_token
        )
        return pb.ListAuditResponse(entries=entries, next_page_token=following)


def _of_every_tenant(operator: Operator) -> None:
    if operator.tenant_id is not None:
        raise Forbidden("this needs a token that is of every tenant", reason="TENANT_TOO_NARROW")
