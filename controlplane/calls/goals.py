"""Calls about goals."""

from typing import Any

from controlplane.calls.arguments import given_id as _id
from controlplane.calls.arguments import page_size as _page_size
from controlplane.calls.calls import Calls
from controlplane.decisions import reason_of
from controlplane.naming import calling_operator as _operator
from empla.v1 import control_pb2 as pb


class GoalCalls(Calls):
    """Set, look at and abandon them."""

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
