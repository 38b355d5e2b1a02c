"""A request that goes through for each RPC with which an operator changes something, and what it is about."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from google.protobuf import descriptor_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from controlplane.auth import hashed, new_secret, required_scope
from controlplane.control import ControlPlane
from empla.store.connect import Pool
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc
from tests.factories import add_channel, add_goal
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.seats import Seat, seat

CONTROL = "empla.v1.ControlPlane"
READING = {"ListTenants", "ListTokens", "ListAudit"}
"""What only an admin may see, and changes nothing."""
MESSAGES = {"SendMessage", "Converse"}
"""A message is the record of itself."""


@dataclass
class Stage:
    """An employee with one of everything; and another one, of which nobody needs anything."""

    plane: Plane
    seat: Seat
    ids: dict[str, str]

    @property
    def employee(self) -> str:
        return str(self.seat.employee_id)


async def staged(plane: Plane) -> Stage:
    ada = await seat(plane)
    employee_id, tenant_id = ada.employee_id, await plane.running.employees.tenant("default")
    sent = await plane.stub.SendMessage(pb.SendMessageRequest(employee="ada", text="hello"), timeout=30)
    every = pb.Schedule(employee="ada", name="hourly", instruction="look", every_seconds=3600)
    schedule = await plane.stub.CreateSchedule(pb.CreateScheduleRequest(schedule=every), timeout=30)
    review_id, memory_id = new_id(), new_id()
    await plane.pool.execute(
        "INSERT INTO reviews (review_id, tenant_id, employee_id, kind) VALUES ($1, $2, $3, 'needs_manual_intervention')",
        review_id, tenant_id, employee_id,
    )  # fmt: skip
    await plane.pool.execute(
        "INSERT INTO memories (memory_id, tenant_id, employee_id, kind, content) VALUES ($1, $2, $3, 'semantic', 'x')",
        memory_id, tenant_id, employee_id,
    )  # fmt: skip
    token_id, _ = await issued(plane.pool, "of-default", "read", tenant_id)
    channel_id, rule_id = await add_channel(plane.pool, tenant_id, employee_id), new_id()
    await plane.pool.execute(
        "INSERT INTO routing_rules (rule_id, tenant_id, channel_id, position, employee_id) VALUES ($1, $2, $3, 9, $4)",
        rule_id, tenant_id, channel_id, employee_id,
    )  # fmt: skip
    ids = {
        "employee": str(employee_id),
        "message_id": sent.message_id,
        "schedule_id": schedule.schedule_id,
        "review_id": str(review_id),
        "memory_id": str(memory_id),
        "goal_id": str(await add_goal(plane.pool, tenant_id, employee_id)),
        "channel_id": str(channel_id),
        "rule_id": str(rule_id),
        "token_id": str(token_id),
        "sidecar_id": (await ada.acquire()).sidecar_id,
    }
    return Stage(plane, ada, ids)


async def issued(
    pool: Pool,
    name: str,
    scope: str,
    tenant_id: UUID | None = None,
    *,
    valid_seconds: float = 3600,
    revoked: bool = False,
) -> tuple[UUID, str]:
    """A token as the table may have it, and its secret."""
    token_id, secret = new_id(), new_secret()
    await pool.execute(
        "INSERT INTO operator_tokens (token_id, tenant_id, name, secret_hash, scope, expires_at, revoked_at) "
        "VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 second', CASE WHEN $7 THEN now() END)",
        token_id, tenant_id, name, hashed(secret), scope, valid_seconds, revoked,
    )  # fmt: skip
    return token_id, secret


DEEDS: dict[str, Callable[[Stage], Message]] = {
    "CreateTenant": lambda _: pb.CreateTenantRequest(name="acme"),
    "CreateToken": lambda _: pb.CreateTokenRequest(name="bo", scope=pb.SCOPE_READ),
    "RevokeToken": lambda stage: pb.RevokeTokenRequest(token_id=stage.ids["token_id"]),
    "CreateEmployee": lambda _: pb.CreateEmployeeRequest(name="bo", profile_name="sales-ae"),
    "CreateChannel": lambda _: pb.CreateChannelRequest(name="door", employee="ada"),
    "WriteFile": lambda _: pb.WriteFileRequest(employee="ada", path="notes.txt", data=b"hello", end=True),
    "RemoveFile": lambda _: pb.RemoveFileRequest(employee="ada", path="notes.txt"),
    "CreateSchedule": lambda _: pb.CreateScheduleRequest(
        schedule=pb.Schedule(employee="ada", name="daily", instruction="look", every_seconds=86_400)
    ),
    "UpdateSchedule": lambda stage: pb.UpdateScheduleRequest(schedule_id=stage.ids["schedule_id"], paused=True),
    "DeleteSchedule": lambda stage: pb.DeleteScheduleRequest(schedule_id=stage.ids["schedule_id"]),
    "SetGoal": lambda _: pb.SetGoalRequest(goal=pb.Goal(employee="ada", text="Know every customer.")),
    "AbandonGoal": lambda stage: pb.AbandonGoalRequest(goal_id=stage.ids["goal_id"]),
    "CancelMessage": lambda stage: pb.CancelMessageRequest(message_id=stage.ids["message_id"]),
    "ResolveReview": lambda stage: pb.ResolveReviewRequest(review_id=stage.ids["review_id"], reject=pb.Reject()),
    "Forget": lambda stage: pb.ForgetRequest(employee="ada", memory_id=stage.ids["memory_id"]),
    "StopSidecar": lambda stage: pb.StopSidecarRequest(sidecar_id=stage.ids["sidecar_id"]),
    "SetBudget": lambda _: pb.SetBudgetRequest(tenant="default", day_dollars=5),
    "Pause": lambda _: pb.PauseRequest(employee="ada", reason="a fire drill"),
    "Resume": lambda _: pb.ResumeRequest(employee="ada"),
    "UpdateEmployee": lambda _: pb.UpdateEmployeeRequest(employee="ada", autonomy=pb.AUTONOMY_SHADOW),
    "StartEmployee": lambda _: pb.StartEmployeeRequest(employee="ada"),
    "RestartEmployee": lambda _: pb.RestartEmployeeRequest(employee="ada", drain_seconds=1),
    "StopEmployee": lambda _: pb.StopEmployeeRequest(employee="ada", drain_seconds=1),
    "CreateRoutingRule": lambda stage: pb.CreateRoutingRuleRequest(
        rule=pb.RoutingRule(channel_id=stage.ids["channel_id"], employee="ada")
    ),
    "DeleteRoutingRule": lambda stage: pb.DeleteRoutingRuleRequest(rule_id=stage.ids["rule_id"]),
    "DeleteChannel": lambda stage: pb.DeleteChannelRequest(channel_id=stage.ids["channel_id"]),
    "DeleteEmployee": lambda _: pb.DeleteEmployeeRequest(employee="ada", force=True),
}
"""In an order in which all of them go through."""


def name_of(method: Any) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def is_served(method: Any) -> bool:
    """Whether this build serves a method of the ControlPlane."""
    left_out = control_pb2_grpc.ControlPlaneServicer
    return getattr(ControlPlane, method.name) is not getattr(left_out, method.name)


def changes(method: Any) -> bool:
    """Whether an operator's RPC is one that changes something and is not its own record."""
    return required_scope(name_of(method)) > pb.SCOPE_READ and method.name not in READING | MESSAGES


async def call(channel: Any, method: Any, request: Message | None, token: str | None) -> Message | None:
    """The answer to an RPC, or the first of them; raises `AioRpcError`."""
    shape = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(shape)
    kind = f"{'stream' if shape.client_streaming else 'unary'}_{'stream' if shape.server_streaming else 'unary'}"
    asked, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    make = getattr(channel, kind)(
        name_of(method), request_serializer=asked.SerializeToString, response_deserializer=answer.FromString
    )
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    request = asked() if request is None else request
    begun = make(iter([request]) if shape.client_streaming else request, metadata=metadata, timeout=60)
    if not shape.server_streaming:
        found: Message = await begun
        return found
    async for first in begun:
        begun.cancel()
        return first  # type: ignore[no-any-return]
    return None


async def everything(pool: Pool) -> dict[str, tuple[Any, ...]]:
    """What tells whether any row of any table has been written."""
    names = await pool.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' "
        "AND relname NOT IN ('control_planes', 'control_lease', 'employee_presence')"  # which say every second who is there
    )
    about = "SELECT count(*), max(xmin::text::bigint), sum(hashtext(t::text)) FROM {} t"
    return {name: tuple(await pool.fetchrow(about.format(name)) or ()) for (name,) in names}
