"""The ControlPlane service: what operators and programs ask for, each answered from the tables or by their owners.

RPCs that this build does not serve are left to the generated base class and answer UNIMPLEMENTED.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.auth import Operator
from controlplane.channels import Channels
from controlplane.decisions import decision_of, reason_of
from controlplane.employees import EmployeeRecord, Employees
from controlplane.errors import Invalid, NotNow
from controlplane.followers import Followers
from controlplane.gateway import Streams, configuration
from controlplane.goals import Goals
from controlplane.lifecycle import Lifecycle
from controlplane.logs import Logs
from controlplane.memories import Memories
from controlplane.messages import Messages, Room, fitting
from controlplane.minds import Minds
from controlplane.naming import Naming
from controlplane.naming import calling_operator as _operator
from controlplane.profiles import shipped_profile
from controlplane.receiver import Arrival, Receiver, Stored
from controlplane.reviews import Reviews
from controlplane.schedules import Schedules
from controlplane.shown import glance, shown_channel, shown_employee
from controlplane.sidecars.keeper import Sidecars
from controlplane.stopping import Stopping
from controlplane.telling import Telling
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc, gateway_pb2

DEFAULT_PAGE = 50
MAX_PAGE = 500
MAX_WAIT_MS = 600_000
MAX_KEY = 200
DEFAULT_DRAIN_SECONDS = 10
MAX_DRAIN_SECONDS = 3600
RESTART_SECONDS = 30.0
OVERVIEW_MESSAGES = 20


@dataclass(frozen=True, slots=True)
class Parts:
    """The owners of what this service tells of."""

    employees: Employees
    channels: Channels
    receiver: Receiver
    messages: Messages
    minds: Minds
    memories: Memories
    followers: Followers
    streams: Streams
    lifecycle: Lifecycle
    logs: Logs
    sidecars: Sidecars
    stopping: Stopping
    schedules: Schedules
    goals: Goals
    model: str
    embedding: str


class ControlPlane(Naming, control_pb2_grpc.ControlPlaneServicer):
    """See the module, and control.proto for what each RPC promises."""

    def __init__(self, parts: Parts, reviews: Reviews) -> None:
        super().__init__(parts.employees)
        self._parts, self._reviews = parts, reviews
        self.http_address = ""  # known once it is bound
        self._telling = Telling(parts.messages, parts.followers)

    # Employees

    async def CreateEmployee(self, request: pb.CreateEmployeeRequest, context: Any) -> pb.Employee:
        tenant_id = await self._tenant(request.tenant)
        named = request.WhichOneof("source") == "profile_name"
        profile = await asyncio.to_thread(shipped_profile, request.profile_name) if named else request.profile
        profile.when_busy = request.when_busy or profile.when_busy
        record = await self._parts.employees.create(tenant_id, request.name, profile, running=request.start)
        self._parts.lifecycle.look()
        return self._employee(record)

    async def GetEmployee(self, request: pb.GetEmployeeRequest, context: Any) -> pb.Employee:
        return self._employee(await self._find(request.employee))

    async def ListEmployees(self, request: pb.ListEmployeesRequest, context: Any) -> pb.ListEmployeesResponse:
        size = _page_size(request.page_size)
        scope = await self._scope(request.tenant)
        records = await self._parts.employees.list_of(scope, after=_after(request.page_token), limit=size)
        page = fitting(map(self._employee, records))
        more = len(page) < len(records) or len(records) == size
        following = f"{page[-1].name}/{page[-1].employee_id}" if more else ""
        return pb.ListEmployeesResponse(employees=page, next_page_token=following)

    async def UpdateEmployee(self, request: pb.UpdateEmployeeRequest, context: Any) -> pb.Employee:
        record = await self._find(request.employee)
        profile = request.profile if request.HasField("profile") else None
        await self._parts.employees.update(record.employee_id, profile, request.autonomy, request.when_busy)
        updated = await self._parts.employees.by_id(record.employee_id)
        if stream := self._parts.streams.get(record.employee_id):
            changed = gateway_pb2.ConfigurationChanged(configuration=configuration(updated))
            stream.send(gateway_pb2.ControlFrame(configuration_changed=changed))
        if profile is not None:
            self._parts.streams.wake(record.employee_id, "goals")
        return self._employee(updated)

    async def DeleteEmployee(self, request: pb.DeleteEmployeeRequest, context: Any) -> pb.DeleteEmployeeResponse:
        record = await self._find(request.employee)
        for message_id in await self._parts.employees.delete(record.employee_id, force=request.force):
            self._parts.followers.changed(message_id)
        await self._parts.lifecycle.stop(record.employee_id, DEFAULT_DRAIN_SECONDS)
        await self._parts.employees.drop_role(record.employee_id)
        return pb.DeleteEmployeeResponse()

    async def StartEmployee(self, request: pb.StartEmployeeRequest, context: Any) -> pb.Employee:
        record = await self._find(request.employee)
        await self._parts.employees.want(record.employee_id, "running")
        self._parts.lifecycle.start_now(record.employee_id)
        return self._employee(await self._parts.employees.by_id(record.employee_id))

    async def StopEmployee(self, request: pb.StopEmployeeRequest, context: Any) -> pb.Employee:
        record = await self._find(request.employee)
        await self._parts.employees.want(record.employee_id, "stopped")
        await self._parts.lifecycle.stop(record.employee_id, _drain_seconds(request.drain_seconds))
        return self._employee(await self._parts.employees.by_id(record.employee_id))

    async def RestartEmployee(self, request: pb.RestartEmployeeRequest, context: Any) -> pb.Employee:
        record = await self._find(request.employee)
        await self._parts.employees.want(record.employee_id, "running")
        await self._parts.lifecycle.stop(record.employee_id, _drain_seconds(request.drain_seconds))
        self._parts.lifecycle.look()
        return await self._attached(record)

    async def TailLogs(self, request: pb.TailLogsRequest, context: Any) -> AsyncIterator[pb.LogLine]:
        record = await self._find(request.employee)
        async for line in self._parts.logs.tail(record.employee_id, request.lines, follow=request.follow):
            yield pb.LogLine(text=line)

    async def ListCycles(self, request: pb.ListCyclesRequest, context: Any) -> pb.ListCyclesResponse:
        record = await self._find(request.employee)
        before = _id(request.page_token, "page_token") if request.page_token else None
        cycles, following = await self._parts.minds.cycles(
            record.employee_id, size=_page_size(request.page_size), before=before
        )
        return pb.ListCyclesResponse(cycles=cycles, next_page_token=following)

    async def ListBeliefs(self, request: pb.ListBeliefsRequest, context: Any) -> pb.ListBeliefsResponse:
        record = await self._find(request.employee)
        beliefs, following = await self._parts.minds.beliefs(
            record.employee_id, size=_page_size(request.page_size), token=request.page_token
        )
        return pb.ListBeliefsResponse(beliefs=beliefs, next_page_token=following)

    # Messages

    async def SendMessage(self, request: pb.SendMessageRequest, context: Any) -> pb.Message:
        if request.wait_ms > MAX_WAIT_MS:
            raise Invalid("the wait is too long", fields={"wait_ms": f"at most {MAX_WAIT_MS}"})
        record = await self._find(request.employee)
        stored = await self._store(record, request)
        end = time.monotonic() + (0 if await self._lies_idle(record, stored) else request.wait_ms / 1000)
        with self._parts.followers.follow(stored.message_id, stored.employee_id) as follower:
            async for _ in self._telling.until_settled(stored.message_id, follower, end):
                pass
        return await self._parts.messages.get(stored.message_id, None)

    async def _lies_idle(self, record: EmployeeRecord, stored: Stored) -> bool:
        """Whether nobody is at work on a message before its employee is started: the sender shall know that now."""
        stopped = (
            self._parts.lifecycle.observed(record) == pb.OBSERVED_STATE_STOPPED and record.desired_state == "stopped"
        )
        return stopped and (await self._parts.messages.standing(stored.message_id)).state == "received"

    async def Converse(self, request: pb.ConverseRequest, context: Any) -> AsyncIterator[pb.ConverseEvent]:
        record, message_id = await self._find(request.employee), new_id()
        with self._parts.followers.follow(message_id, record.employee_id) as follower:
            stored = await self._store(record, request, message_id)
            yield pb.ConverseEvent(
                accepted=pb.Accepted(
                    message_id=str(stored.message_id), conversation=stored.conversation, duplicate=stored.duplicate
                )
            )
            if stored.message_id == message_id:
                async for event in self._telling.whole(stored.message_id, follower):
                    yield event
                return
        with self._parts.followers.follow(stored.message_id, stored.employee_id) as follower:
            async for event in self._telling.whole(stored.message_id, follower):
                yield event

    async def GetMessage(self, request: pb.GetMessageRequest, context: Any) -> pb.Message:
        return await self._parts.messages.get(_id(request.message_id, "message_id"), _operator().tenant_id)

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Any) -> pb.ListMessagesResponse:
        employee = (await self._find(request.employee)).employee_id if request.employee else None
        messages, following = await self._parts.messages.page(
            _operator().tenant_id,
            employee,
            state=request.state,
            size=_page_size(request.page_size),
            token=request.page_token,
        )
        return pb.ListMessagesResponse(messages=messages, next_page_token=following)

    async def CancelMessage(self, request: pb.CancelMessageRequest, context: Any) -> pb.Message:
        message_id, operator = _id(request.message_id, "message_id"), _operator()
        await self._parts.stopping.cancel(message_id, operator, reason_of(request.reason, "reason"))
        return await self._parts.messages.get(message_id, operator.tenant_id)

    # Memories

    async def SearchMemory(self, request: pb.SearchMemoryRequest, context: Any) -> pb.SearchMemoryResponse:
        employee = await self._find(request.employee)
        found = await self._parts.memories.search(employee.employee_id, request.query, request.limit, request.kind)
        return pb.SearchMemoryResponse(memories=found)

    async def Forget(self, request: pb.ForgetRequest, context: Any) -> pb.ForgetResponse:
        employee = await self._find(request.employee)
        answer = await self._parts.memories.forget(employee, request, _operator())
        # What it holds in memory is read anew, goals and plans too; when it is not attached, with its next Welcome.
        self._parts.streams.wake(employee.employee_id, "forgotten")
        return answer

    # Sidecars, reviews, channels, overview

    async def ListSidecars(self, request: pb.ListSidecarsRequest, context: Any) -> pb.ListSidecarsResponse:
        employee = (await self._find(request.employee)).employee_id if request.employee else None
        found = await self._parts.sidecars.list_of(_operator().tenant_id, employee)
        return pb.ListSidecarsResponse(sidecars=found)

    async def StopSidecar(self, request: pb.StopSidecarRequest, context: Any) -> pb.StopSidecarResponse:
        await self._parts.sidecars.stop(_id(request.sidecar_id, "sidecar_id"), _operator().tenant_id)
        return pb.StopSidecarResponse()

    async def ListReviews(self, request: pb.ListReviewsRequest, context: Any) -> pb.ListReviewsResponse:
        employee = (await self._find(request.employee)).employee_id if request.employee else None
        reviews, following = await self._parts.messages.reviews(
            _operator().tenant_id,
            employee,
            ended=request.include_ended,
            size=_page_size(request.page_size),
            token=request.page_token,
        )
        return pb.ListReviewsResponse(reviews=reviews, next_page_token=following)

    async def GetReview(self, request: pb.GetReviewRequest, context: Any) -> pb.Review:
        return await self._parts.messages.review(_id(request.review_id, "review_id"), _operator().tenant_id)

    async def ResolveReview(self, request: pb.ResolveReviewRequest, context: Any) -> pb.Review:
        review_id, operator = _id(request.review_id, "review_id"), _operator()
        await self._reviews.resolve(review_id, decision_of(request), operator)
        return await self._parts.messages.review(review_id, operator.tenant_id)

    async def CreateChannel(self, request: pb.CreateChannelRequest, context: Any) -> pb.CreateChannelResponse:
        if request.kind not in ("", "webhook"):
            raise Invalid("this build has webhooks only", fields={"kind": "webhook"})
        tenant_id = await self._tenant(request.tenant)
        record = await self._find(request.employee, request.tenant) if request.employee else None
        if record is not None and record.tenant_id != tenant_id:
            raise Invalid("the employee is another tenant's", fields={"employee": "of the channel's tenant"})
        channel = await self._parts.channels.create_webhook(
            tenant_id=tenant_id,
            name=request.name,
            employee_id=record.employee_id if record is not None else None,
            callback_url=request.callback_url,
            secret=request.secret,
        )
        return pb.CreateChannelResponse(channel=shown_channel(channel), secret=channel.secret.decode())

    async def ListChannels(self, request: pb.ListChannelsRequest, context: Any) -> pb.ListChannelsResponse:
        tenant_id = await self._tenant(request.tenant)
        return pb.ListChannelsResponse(channels=map(shown_channel, await self._parts.channels.list_of(tenant_id)))

    # Schedules

    async def CreateSchedule(self, request: pb.CreateScheduleRequest, context: Any) -> pb.Schedule:
        record = await self._find(request.schedule.employee)
        channel_id = await self._parts.channels.api(record.tenant_id)
        return await self._parts.schedules.create(record.employee_id, channel_id, request.schedule, _operator())

    async def GetSchedule(self, request: pb.GetScheduleRequest, context: Any) -> pb.Schedule:
        return await self._parts.schedules.get(_id(request.schedule_id, "schedule_id"), _operator())

    async def ListSchedules(self, request: pb.ListSchedulesRequest, context: Any) -> pb.ListSchedulesResponse:
        schedules, following = await self._parts.schedules.page(
            _operator(),
            (await self._find(request.employee)).employee_id if request.employee else None,
            ended=request.include_ended,
            size=_page_size(request.page_size),
            after=_id(request.page_token, "page_token") if request.page_token else None,
        )
        return pb.ListSchedulesResponse(schedules=schedules, next_page_token=following)

    async def UpdateSchedule(self, request: pb.UpdateScheduleRequest, context: Any) -> pb.Schedule:
        schedule_id = _id(request.schedule_id, "schedule_id")
        return await self._parts.schedules.pause(schedule_id, _operator(), paused=request.paused)

    async def DeleteSchedule(self, request: pb.DeleteScheduleRequest, context: Any) -> pb.DeleteScheduleResponse:
        await self._parts.schedules.delete(_id(request.schedule_id, "schedule_id"), _operator())
        return pb.DeleteScheduleResponse()

    # Goals

    async def SetGoal(self, request: pb.SetGoalRequest, context: Any) -> pb.Goal:
        record = await self._find(request.goal.employee)
        goal = await self._parts.goals.set(record.employee_id, request.goal, _operator())
        self._parts.streams.wake(record.employee_id, "goals")
        return goal

    async def GetGoal(self, request: pb.GetGoalRequest, context: Any) -> pb.Goal:
        return await self._parts.goals.get(_id(request.goal_id, "goal_id"), _operator())

    async def ListGoals(self, request: pb.ListGoalsRequest, context: Any) -> pb.ListGoalsResponse:
        goals, following = await self._parts.goals.page(
            _operator(),
            (await self._find(request.employee)).employee_id if request.employee else None,
            ended=request.include_ended,
            size=_page_size(request.page_size),
            after=_id(request.page_token, "page_token") if request.page_token else None,
        )
        return pb.ListGoalsResponse(goals=goals, next_page_token=following)

    async def AbandonGoal(self, request: pb.AbandonGoalRequest, context: Any) -> pb.Goal:
        goal_id, operator, reason = _id(request.goal_id, "goal_id"), _operator(), reason_of(request.reason, "reason")
        self._parts.streams.wake(await self._parts.goals.abandon(goal_id, operator, reason), "goals")
        return await self._parts.goals.get(goal_id, operator)

    async def GetOverview(self, request: pb.GetOverviewRequest, context: Any) -> pb.Overview:
        return await self.overview(_operator(), request.tenant)

    async def overview(self, operator: Operator, tenant: str = "") -> pb.Overview:
        """One look at everything that `operator` may see; the status page shows it."""
        scope = operator.tenant_id if not tenant else await self._tenant_of(operator, tenant)
        counts = await self._parts.messages.counts(scope)
        last, _ = await self._parts.messages.page(scope, None, size=OVERVIEW_MESSAGES)
        records = await self._parts.employees.list_of(scope, limit=MAX_PAGE)
        room = Room()
        now = Timestamp()
        now.GetCurrentTime()
        return pb.Overview(
            build=await asyncio.to_thread(version, "empla"),
            model=self._parts.model,
            embedding=self._parts.embedding,
            http_address=self.http_address,
            now=now,
            last_messages=fitting(last, room),
            employees=fitting(map(glance, map(self._employee, records)), room),
            latency=await self._parts.messages.latency(scope),
            open_reviews=counts["open_reviews"],
            live_messages=counts["live_messages"],
            queued_outbox=counts["queued_outbox"],
        )

    # What they share

    async def _store(
        self,
        record: EmployeeRecord,
        request: pb.SendMessageRequest | pb.ConverseRequest,
        message_id: UUID | None = None,
    ) -> Stored:
        if len(request.idempotency_key) > MAX_KEY:
            raise Invalid("the key is too long", fields={"idempotency_key": f"at most {MAX_KEY} characters"})
        arrival = Arrival(
            tenant_id=record.tenant_id,
            channel_id=await self._parts.channels.api(record.tenant_id),
            employee_id=record.employee_id,
            event_id=request.idempotency_key or new_id().hex,
            sender=request.sender or _operator().name,
            text=request.text,
            conversation=request.conversation,
        )
        return await self._parts.receiver.store(arrival, message_id)

    async def _attached(self, record: EmployeeRecord) -> pb.Employee:
        end = time.monotonic() + RESTART_SECONDS
        while time.monotonic() < end:
            now = await self._parts.employees.by_id(record.employee_id)
            if self._parts.lifecycle.observed(now) == pb.OBSERVED_STATE_ATTACHED and now.epoch > record.epoch:
                return self._employee(now)
            await asyncio.sleep(0.05)
        raise NotNow(
            f"{record.name} has not attached within {RESTART_SECONDS:g} s; its log says why", reason="NOT_ATTACHED"
        )

    def _employee(self, record: EmployeeRecord) -> pb.Employee:
        return shown_employee(record, self._parts.lifecycle, self._parts.streams)


def _id(text: str, field: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is no id", fields={field: "a UUID"}) from error


def _after(token: str) -> tuple[str, UUID]:
    """The employee that a page token names."""
    name, _, employee_id = token.partition("/")
    return name, _id(employee_id, "page_token") if token else UUID(int=0)


def _page_size(asked: int) -> int:
    return min(asked or DEFAULT_PAGE, MAX_PAGE)


def _drain_seconds(asked: int) -> float:
    if asked > MAX_DRAIN_SECONDS:
        raise Invalid("the drain is too long", fields={"drain_seconds": f"at most {MAX_DRAIN_SECONDS}"})
    return asked or DEFAULT_DRAIN_SECONDS
