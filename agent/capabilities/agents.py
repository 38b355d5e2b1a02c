"""The Agents capability: have sub-agents work side by side on tasks that need nothing of each other."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.capabilities.base import Action, BaseCapability, EffectKey
from agent.errors import ActionFailed
from agent.prompts import mark

MAX_TASKS = 8
MAX_SECONDS = 3600

type Outcome = Literal["answered", "out_of_budget", "out_of_time", "failed", "cancelled"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Task(_Closed):
    """One task, and its limits."""

    instruction: str = Field(
        min_length=1, max_length=8000, description="All that is needed to do it: a sub-agent knows nothing else."
    )
    capabilities: list[str] | None = Field(
        default=None, max_length=32, description="What it may use, such as browser; left out: all that you may."
    )
    model_calls: int = Field(default=16, ge=1, le=64)
    tokens: int = Field(default=200_000, ge=1000, le=1_000_000)
    seconds: int = Field(default=600, ge=1, le=MAX_SECONDS)


class Delegate(_Closed):
    """What is to be done side by side."""

    tasks: list[Task] = Field(min_length=1, max_length=MAX_TASKS)


class TaskEnd(BaseModel):
    """How one task ended, and what it took."""

    outcome: Outcome
    reason: str
    model_calls: int
    actions: int
    tokens: int


class Delegated(BaseModel):
    """The ends of the tasks in their order, and what there is of each answer, marked as data."""

    tasks: list[TaskEnd]
    marked: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that is over; `answer` is what there is of it, whatever the outcome."""

    outcome: Outcome
    reason: str
    answer: str
    model_calls: int
    actions: int
    tokens: int


type Team = Callable[[Sequence[Task], EffectKey], Awaitable[Sequence[Ended]]]
"""Works on tasks side by side, as part of the call of this key; returns how they ended, in their order."""

_team: ContextVar[Team | None] = ContextVar("empla_team", default=None)


@contextmanager
def working_with(team: Team) -> Iterator[None]:
    """Whoever delegates within the block delegates to this team."""
    token = _team.set(team)
    try:
        yield
    finally:
        _team.reset(token)


class AgentsCapability(BaseCapability):
    """Sub-agents: each thinks by itself, with the capabilities and under the policy of the employee.

    The action may be repeated: what a sub-agent has done is on record, and is gone on from.
    """

    name: ClassVar[str] = "agents"
    actions: ClassVar[tuple[Action, ...]] = (
        Action(
            "delegate",
            f"Have sub-agents work side by side, each on a task that needs nothing of the others, {MAX_TASKS} at most. The "
            "result is what they answer, when all have ended; what one does not end within its limits comes as it is.",
            Delegate,
            Delegated,
            repeatable=True,
            deadline=MAX_SECONDS,
            moves=True,
        ),
    )

    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        if (team := _team.get()) is None:
            raise ActionFailed("NOBODY_THERE: sub-agents work for somebody who asks for something in a message")
        ends = await team(arguments.tasks, key)
        answers = [
            mark("result", end.answer, task=str(number)) for number, end in enumerate(ends, 1) if end.answer.strip()
        ]
        return Delegated(
            tasks=[
                TaskEnd(
                    outcome=end.outcome,
                    reason=end.reason,
                    model_calls=end.model_calls,
                    actions=end.actions,
                    tokens=end.tokens,
                )
                for end in ends
            ],
            marked="\n".join(answers),
        )
