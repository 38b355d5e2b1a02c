"""What a request names, found for the operator who calls: employees by name or id, tenants, and whose rows a list has."""

from uuid import UUID

from controlplane.auth import Operator
from controlplane.employees import DEFAULT_TENANT, EmployeeRecord, Employees, is_id
from controlplane.errors import Forbidden, Unknown
from empla import rpc


def calling_operator() -> Operator:
    """The operator behind the call that is being served."""
    operator: Operator = rpc.caller()
    return operator


class Naming:
    """Finds what is named, and refuses what is another tenant's."""

    def __init__(self, employees: Employees) -> None:
        self._employees = employees

    async def _find(self, reference: str, tenant: str = "") -> EmployeeRecord:
        named, slash, name = reference.rpartition("/")
        tenant = named if slash else tenant
        if not tenant and calling_operator().tenant_id is None and is_id(name):
            return await self._employees.by_id(UUID(name))
        return await self._employees.find(await self._tenant(tenant), name)

    async def _tenant(self, name: str) -> UUID:
        return await self._tenant_of(calling_operator(), name)

    async def _tenant_of(self, operator: Operator, name: str) -> UUID:
        if not name and operator.tenant_id is not None:
            return operator.tenant_id
        try:
            tenant_id = await self._employees.tenant(name or DEFAULT_TENANT)
        except Unknown:
            if operator.tenant_id is None:
                raise
            tenant_id = None  # whether it exists is not this caller's business
        if operator.tenant_id is not None and tenant_id != operator.tenant_id:
            raise Forbidden("the token is another tenant's", reason="OTHER_TENANT")
        assert tenant_id is not None
        return tenant_id

    async def _scope(self, tenant: str) -> UUID | None:
        """Which tenant's rows a list has; None for those of every tenant."""
        return await self._tenant(tenant) if tenant else calling_operator().tenant_id
