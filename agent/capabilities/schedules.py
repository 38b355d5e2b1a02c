"""The Schedules capability: do something later or again and again, for the person who asks for it in a message."""

from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.capabilities.base import Action, BaseCapability, EffectKey
from agent.capabilities.policy import Risk, Risky
from agent.errors import ActionFailed
from agent.schedules import Schedules, Wanted
from empla.schedules import MAX_EXPRESSION, MAX_INSTRUCTION, MAX_NAME


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CreateSchedule(_Closed):
    """What to do, and when: one of `at`, `every_seconds` and `cron`."""

    name: str = Field(min_length=1, max_length=MAX_NAME, description="Short and new, such as weekly report.")
    instruction: str = Field(
        min_length=1, max_length=MAX_INSTRUCTION, description="What to do each time, without saying when."
    )
    at: str | None = Field(default=None, max_length=MAX_EXPRESSION, description="Once: 2027-03-31T15:00.")
    every_seconds: int | None = Field(default=None, description="At least 60.")
    cron: str | None = Field(
        default=None,
        max_length=MAX_EXPRESSION,
        description="Minute, hour, day, month, weekday: 0 9 * * 1 is Mondays at 9.",
    )
    time_zone: str = Field(default="UTC", max_length=100, description="Of at and cron: Europe/Berlin.")
    catch_up: Literal["latest", "all", "none"] = Field(
        default="latest", description="Which of the runs are done that were missed."
    )

    @model_validator(mode="after")
    def _says_when(self) -> "CreateSchedule":
        if sum(given is not None for given in (self.at, self.every_seconds, self.cron)) != 1:
            raise ValueError("give one of at, every_seconds and cron")
        return self

    @property
    def when(self) -> tuple[str, str]:
        """Kind and expression, see `empla.schedules.timing`."""
        if self.at is not None:
            return "at", self.at
        return ("cron", self.cron) if self.cron is not None else ("every", str(self.every_seconds))


class Created(BaseModel):
    """When it runs first, by the clocks of its time zone."""

    name: str
    next_run_at: str
    time_zone: str


class ListSchedules(_Closed):
    """Nothing to say."""


class Listed(BaseModel):
    """One schedule of this conversation."""

    name: str
    instruction: str
    kind: str
    expression: str
    time_zone: str
    state: str
    next_run_at: str


class Schedule(BaseModel):
    """The schedules, and what time it is, in UTC."""

    now: str
    schedules: list[Listed]


class CancelSchedule(_Closed):
    """Which one."""

    name: str = Field(min_length=1, max_length=MAX_NAME)


class Cancelled(BaseModel):
    """The one that has ended."""

    name: str


class SchedulesCapability(BaseCapability):
    """The schedules of a conversation."""

    name: ClassVar[str] = "schedules"
    actions: ClassVar[tuple[Action, ...]] = (
        Action(
            "create_schedule",
            "Do something later or again and again, and answer here each time. list_schedules says what time it is.",
            CreateSchedule,
            Created,
            repeatable=True,
        ),
        Action(
            "list_schedules",
            "What is scheduled in this conversation, and what time it is.",
            ListSchedules,
            Schedule,
            repeatable=True,
        ),
        Action("cancel_schedule", "End a schedule of this conversation.", CancelSchedule, Cancelled, repeatable=True),
    )

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules

    async def risks(self, action: str, arguments: Any, key: EffectKey) -> tuple[Risky, ...]:
        """Whoever wrote what was read may want it to be done again and again."""
        if action != "create_schedule" or not (await self._schedules.asked(_message_of(key))).read_others:
            return ()
        kind, expression = arguments.when
        what = f"have itself told {kind} {expression}: {arguments.instruction[:200]}"
        return (Risky(Risk.SCHEDULE, f"{what}, after reading text of others"),)

    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        message_id = _message_of(key)
        if action == "create_schedule":
            return await self._create(arguments, message_id, key)
        if action == "list_schedules":
            asked = await self._schedules.asked(message_id)
            rows = await self._schedules.of_conversation(message_id)
            return Schedule(now=asked.now.isoformat(timespec="seconds"), schedules=list(map(_listed, rows)))
        if not await self._schedules.cancel(message_id, arguments.name):
            raise ActionFailed(f"NO_SUCH_SCHEDULE: nothing is scheduled here as {arguments.name!r}")
        return Cancelled(name=arguments.name)

    async def _create(self, arguments: CreateSchedule, message_id: UUID, key: EffectKey) -> BaseModel:
        kind, expression = arguments.when
        wanted = Wanted(
            name=arguments.name,
            kind=kind,
            expression=expression,
            time_zone=arguments.time_zone,
            instruction=arguments.instruction,
            catch_up=arguments.catch_up,
        )
        schedule_id = uuid5(key.unit_id, f"{key.response_index} {key.call_index}")
        next_at = await self._schedules.create(schedule_id, message_id, wanted)
        local = _local(next_at, arguments.time_zone)
        return Created(name=arguments.name, next_run_at=local, time_zone=arguments.time_zone)


def _message_of(key: EffectKey) -> UUID:
    if key.message_id is None:
        raise ActionFailed("NO_MESSAGE: schedules are made for somebody who asks for them in a message")
    return key.message_id


def _listed(row: Any) -> Listed:
    return Listed(
        name=row["name"],
        instruction=row["instruction"],
        kind=row["kind"],
        expression=row["expression"],
        time_zone=row["time_zone"],
        state=row["state"],
        next_run_at="" if row["next_at"] is None else row["next_at"].isoformat(timespec="seconds"),
    )


def _local(moment: datetime, time_zone: str) -> str:
    return moment.astimezone(ZoneInfo(time_zone)).isoformat(timespec="seconds")  # known: it was read for the first run
