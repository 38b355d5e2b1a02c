"""What all calls have: the owners of what is asked for, and the names that requests use."""

from dataclasses import dataclass
from uuid import UUID

from controlplane.alerts import Alerts
from controlplane.audit import Audit
from controlplane.auth import Tokens
from controlplane.budgets import Budgets
from controlplane.channels import Channels
from controlplane.disconnecting import Disconnecting
from controlplane.employees import EmployeeRecord, Employees
from controlplane.files import Files
from controlplane.followers import Followers
from controlplane.forwarding import Forwarding
from controlplane.gateway import Streams
from controlplane.goals import Goals
from controlplane.lifecycle import Lifecycle
from controlplane.logs import Logs
from controlplane.memories import Memories
from controlplane.messages import Messages
from controlplane.minds import Minds
from controlplane.naming import Naming
from controlplane.pauses import Pauses
from controlplane.receiver import Receiver
from controlplane.reviews import Reviews
from controlplane.routing import Routing
from controlplane.schedules import Schedules
from controlplane.shown import shown_employee
from controlplane.sidecars.keeper import Sidecars
from controlplane.stopping import Stopping
from controlplane.telling import Telling
from controlplane.tenants import Tenants
from controlplane.tokens import IssuedTokens
from controlplane.vitals import Vitals
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc


@dataclass(frozen=True, slots=True)
class Parts:
    """The owners of what this service tells of."""

    employees: Employees
    channels: Channels
    disconnecting: Disconnecting
    routing: Routing
    receiver: Receiver
    messages: Messages
    minds: Minds
    memories: Memories
    followers: Followers
    streams: Streams
    forwarding: Forwarding
    lifecycle: Lifecycle
    logs: Logs
    files: Files
    sidecars: Sidecars
    stopping: Stopping
    schedules: Schedules
    goals: Goals
    reviews: Reviews
    pauses: Pauses
    budgets: Budgets
    telling: Telling
    tenants: Tenants
    tokens: Tokens
    issued_tokens: IssuedTokens
    audit: Audit
    vitals: Vitals
    alerts: Alerts
    model: str
    embedding: str


class Calls(Naming, control_pb2_grpc.ControlPlaneServicer):
    """See control.proto for what each RPC promises."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.employees)
        self._parts = parts
        self.http_address = ""  # known once it is bound

    def _employee(self, record: EmployeeRecord) -> pb.Employee:
        return shown_employee(record, self._parts.lifecycle, self._parts.streams, self._parts.vitals)

    async def _configure(self, employee_id: UUID) -> EmployeeRecord:
        """Tell the employee, if it is attached, what is on record of it; returns that."""
        record = await self._parts.employees.by_id(employee_id)
        self._parts.streams.configure(record)
        return record
