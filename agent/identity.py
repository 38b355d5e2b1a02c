"""Who this process is: one launch of one employee."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Identity:
    """An employee, its tenant, and the epoch of this launch, which every write names."""

    employee_id: UUID
    tenant_id: UUID
    epoch: int
