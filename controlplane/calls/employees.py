"""Calls about employees: their lifecycle, logs, cycles and beliefs."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from controlplane.calls.arguments import given_id as _id
from controlplane.calls.arguments import page_size as _page_size
from controlplane.calls.calls import Calls
from controlplane.employees import EmployeeRecord
from controlplane.errors import Invalid, NotNow
from controlplane.messages import fitting
from controlplane.profiles import shipped_profile
from empla.v1 import control_pb2 as pb

DEFAULT_DRAIN_SECONDS = 10
MAX_DRAIN_SECONDS = 3600
RESTART_SECONDS = 30.0
LAST_LINES = 10
MAX_SHOWN_LINE = 1000
_NOT_RUNNING = (pb.OBSERVED_STATE_BACKING_OFF, pb.OBSERVED_STATE_CRASH_LOOPING)


class EmployeeCalls(Calls):
    """Create, change, start and stop employees, and look at them."""

    async def CreateEmployee(self, request: pb.CreateEmployeeRequest, context: Any) -> pb.Employee:
        tenant_id = await self._tenant(request.tenant)
        named = request.WhichOneof("source") == "profile_name"
        profile = await asyncio.to_thread(shipped_profile, request.profile_name) if named else request.profile
        profile.when_busy = request.when_busy or profile.when_busy
        record = await self._parts.employees.create(tenant_id, request.name, profile, running=request.start)
        self._parts.lifecycle.look()
        return self._employee(record)

    async def GetEmployee(self, request: pb.GetEmployeeRequest, context: Any) -> pb.Employee:
        record = await self._find(request.employee)
        employee = self._employee(record)
        if employee.observed_state in _NOT_RUNNING and employee.HasField("last_end"):
            tail = self._parts.logs.tail(record.employee_id, LAST_LINES, follow=False)
            employee.last_end.log.extend([line[:MAX_SHOWN_LINE] async for line in tail])
        if bound := await asyncio.to_thread(self._parts.lifecycle.bound_of, record):
            employee.bound.CopyFrom(pb.Bound(kind=bound.kind, memory_bytes=bound.memory_bytes))
        return employee

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
        updated = await self._configure(record.employee_id)
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
        await self._parts.employees.want(record.employee_id, "running", "restart")
        await self._parts.lifecycle.stop(record.employee_id, _drain_seconds(request.drain_seconds))
        self._parts.lifecycle.start_now(record.employee_id)
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


def _after(token: str) -> tuple[str, UUID]:
    """The employee that a page token names."""
    name, _, employee_id = token.partition("/")
    return name, _id(employee_id, "page_token") if token else UUID(int=0)


def _drain_seconds(asked: int) -> float:
    if asked > MAX_DRAIN_SECONDS:
        raise Invalid("the drain is too long", fields={"drain_seconds": f"at most {MAX_DRAIN_SECONDS}"})
    return asked or DEFAULT_DRAIN_SECONDS
