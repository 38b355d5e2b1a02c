"""Calls about schedules."""

from typing import Any

from controlplane.calls.arguments import given_id as _id
from controlplane.calls.arguments import page_size as _page_size
from controlplane.calls.calls import Calls
from controlplane.naming import calling_operator as _operator
from empla.v1 import control_pb2 as pb


class ScheduleCalls(Calls):
    """Make, look at, pause and delete them."""

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
