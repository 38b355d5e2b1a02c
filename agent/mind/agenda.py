"""What an employee wants and is about to do: its goals and plans, read once and kept warm until something changes them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from agent.errors import Superseded
from agent.identity import Identity
from agent.kept import Kept
from agent.mind.goals import Goal, GoalState, Judgement, Kind, Measure, assessed
from agent.mind.intentions import Intention, PlanStep, chosen
from agent.mind.planning import Outlook, Plan
from agent.mind.revision import Belief, Key
from agent.moments import GoalReached, IntentionEnded, IntentionStarted, tell
from empla.store.connect import AnyConnection, Pool, load_queries, translated

SQL = load_queries("agent.mind", "agenda.sql")
OPEN = ("planned", "running")
MAX_LATELY = 10
"""Plans that ended, of which the next is told."""


type Change = tuple[Goal, Goal]
"""A goal before and after it was assessed."""


@dataclass(frozen=True, slots=True)
class EndedStep:
    """A step that was begun and has ended, and what came out of it, or why it failed."""

    intention_id: UUID
    step: int
    name: str
    message_id: UUID | None
    failed: bool
    outcome: str


@dataclass(frozen=True, slots=True)
class _Held:
    goals: dict[UUID, Goal]
    intentions: list[Intention]
    planned_at: datetime | None
    wanted: str
    forgets: int


class Agenda:
    """The goals and intentions of one employee. All writes go into a transaction of the caller's, and raise `Superseded`."""

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity
        self._kept = Kept(self._read)
        self._news: list[Callable[[], None]] = []

    def took(self, *, committed: bool = True) -> None:
        """A transaction with writes has ended: tell hooks of what was committed, and read it anew."""
        news, self._news = self._news, []
        if committed:
            for one in news:
                one()
        self.reread()

    def reread(self) -> None:
        """The tables may have changed: read them anew before they are next used."""
        self._kept.reread()

    async def goals(self) -> dict[UUID, Goal]:
        """The goals that are worked on, the first first."""
        return (await self._kept.get()).goals

    async def ended_steps(self) -> list[EndedStep]:
        """Steps that have ended since they were begun; asks nobody while none is under way."""
        held = await self._kept.get()
        if not any(step.state in ("ready", "running", "failed") for one in held.intentions for step in one.steps):
            return []
        self.reread()  # whether one waits for a person changes without anybody telling
        with translated():
            rows = await self._pool.fetch(SQL.ended_steps, self._identity.employee_id)
        return [EndedStep(**row) for row in rows]

    async def why_plan(self, now: datetime, every: timedelta, again: timedelta) -> str:
        """Why there has to be a plan now; '' when there need not be one.

        It is made `every` so often, and when something asks for it, but then not before the last one is `again` old.
        """
        held = await self._kept.get()
        if not held.goals:
            return ""
        if held.planned_at is None:
            return held.wanted or "nothing has been planned yet"
        if held.wanted and now - held.planned_at >= min(again, every):
            return held.wanted
        return "the last plan is old" if now - held.planned_at >= every else ""

    async def startable(self, at_once: int) -> bool:
        """Whether `begin` would begin a step."""
        held = await self._kept.get()
        return any(one.next_steps() for one in chosen(held.intentions, held.goals, at_once))

    async def outlook(self, why: str, beliefs: Sequence[Belief]) -> Outlook:
        """What a plan is made by."""
        held, employee_id = await self._kept.get(), self._identity.employee_id
        with translated():
            lately = await self._pool.fetch(SQL.ended_intentions, employee_id, MAX_LATELY)
            counts = await self._pool.fetch(SQL.ended_within_a_day, employee_id)
        return Outlook(
            why=why,
            goals=list(held.goals.values()),
            beliefs=beliefs,
            open=[one for one in held.intentions if one.state in OPEN],
            lately=list(map(_intention, lately)),
            failed={row["goal_id"]: row["failed"] for row in counts},
            ended={row["goal_id"]: row["ended"] for row in counts},
            now=datetime.now(UTC),
            forgets=held.forgets,
        )

    async def still_stands(self, connection: AnyConnection, forgets: int) -> bool:
        """Hold this launch until the transaction ends; whether nothing was forgotten since there were so many `forgets`."""
        await self.hold(connection)
        planning = await connection.fetchrow(SQL.planning, self._identity.employee_id)
        if forgets == (planning["forgets"] if planning else 0):
            return True
        self.reread()
        return False

    async def hold(self, connection: AnyConnection) -> None:
        """Hold this launch until the transaction ends, which is the first lock of everybody. Raises `Superseded`."""
        identity = self._identity
        if await connection.fetchval(SQL.fence, identity.employee_id, identity.epoch) is None:
            raise Superseded("a newer launch owns this employee")

    async def settle(self, connection: AnyConnection, ended: Sequence[EndedStep]) -> list[str]:
        """Keep what came out of steps, and what that means for their plans; returns what asks for a new plan."""
        if not ended:
            return []
        await self.hold(connection)
        self.reread()  # as it is now that nothing can be forgotten meanwhile, and the steps too
        held = await self._kept.get(connection)
        ended = [EndedStep(**row) for row in await connection.fetch(SQL.ended_steps, self._identity.employee_id)]
        open_ones, asks = {one.intention_id: one for one in held.intentions if one.state in OPEN}, []
        for step in ended:
            await connection.execute(
                SQL.end_step, step.intention_id, step.step, "failed" if step.failed else "done", step.outcome
            )
        for intention_id in dict.fromkeys(step.intention_id for step in ended):
            intention = open_ones.get(intention_id)
            if intention is not None and (ask := await self._settled(connection, intention, ended)):
                asks.append(ask)
        return asks

    async def _settled(self, connection: AnyConnection, intention: Intention, ended: Iterable[EndedStep]) -> str:
        own = {step.step: step for step in ended if step.intention_id == intention.intention_id}
        if failed := next((step for step in own.values() if step.failed), None):
            reason = f"step {failed.step}, {failed.name!r}, failed: {failed.outcome}"
            await self._end(connection, intention, "failed", reason)
            return f"the plan {intention.title!r} failed: {reason}"
        if all(one.state == "done" or one.step in own for one in intention.steps):
            await self._end(connection, intention, "done", "")
            return f"the plan {intention.title!r} is carried out"
        return ""

    async def assess(
        self,
        connection: AnyConnection,
        cycle_id: UUID,
        believed: Mapping[Key, Belief],
        judged: Mapping[UUID, Judgement] | None = None,
    ) -> list[Change]:
        """Keep how far goals are by what is believed and judged; what was planned for one that has ended is given up.

        Returns the goals that moved, as they were and as they are.
        """
        held = await self._kept.get(connection)
        moved = assessed(held.goals, believed, judged or {}, datetime.now(UTC))
        if moved and not await self.still_stands(connection, held.forgets):
            return []
        for goal in moved:
            await connection.execute(SQL.assess, goal.goal_id, goal.progress, goal.state, goal.reason, cycle_id)
            if goal.state is GoalState.ACHIEVED:
                self._news.append(partial(tell, GoalReached, goal_id=goal.goal_id, goal=goal.text))
            if goal.state is not GoalState.ACTIVE:
                for one in held.intentions:
                    if one.goal_id == goal.goal_id and one.state in OPEN:
                        await self._end(connection, one, "abandoned", f"its goal is {goal.state}")
        return [(held.goals[goal.goal_id], goal) for goal in moved]

    async def intend(self, connection: AnyConnection, cycle_id: UUID, plan: Plan, why: str) -> list[Intention]:
        """Keep a plan that was made because of `why`: what is given up and what is made, but for goals ended meanwhile."""
        identity, kept = self._identity, []
        await self.hold(connection)
        for intention, reason in plan.given_up:
            await self._end(connection, intention, "abandoned", reason)
        for one in plan.made:
            about = (one.intention_id, one.goal_id, cycle_id, one.title, one.why)
            if not await connection.fetchval(SQL.intend, *about):
                continue
            kept.append(one)
            for step in one.steps:
                what = (step.name, step.instruction, list(step.after))
                await connection.execute(
                    SQL.add_step, one.intention_id, step.step, identity.tenant_id, identity.employee_id, *what
                )
        us = (identity.employee_id, identity.tenant_id)
        await connection.execute(SQL.note_planned, *us, why, plan.answered)
        return kept

    async def want_plan(self, connection: AnyConnection, why: str) -> None:
        """Note why there has to be another plan; it lasts until there is one."""
        await self.hold(connection)
        await connection.execute(SQL.want_plan, self._identity.employee_id, self._identity.tenant_id, why)

    async def begin(self, connection: AnyConnection, at_once: int) -> list[Intention]:
        """Have the next steps begun of the plans to go on with; returns these."""
        held = await self._kept.get(connection)
        begun: list[Intention] = []
        for one in chosen(held.intentions, held.goals, at_once):
            if not (steps := one.next_steps()):
                continue
            if not begun and not await self.still_stands(connection, held.forgets):
                return []
            await connection.execute(SQL.run, one.intention_id)
            if one.state == "planned":
                self._news.append(partial(tell, IntentionStarted, **_named(one)))
            await connection.execute(SQL.ready, one.intention_id, [step.step for step in steps])
            begun.append(one)
        return begun

    async def _end(self, connection: AnyConnection, intention: Intention, state: str, reason: str) -> None:
        if not await connection.fetchval(SQL.end_intention, intention.intention_id, state, reason):
            return  # in this transaction already, or by an operator
        await connection.execute(SQL.skip_steps, intention.intention_id)
        self._news.append(partial(tell, IntentionEnded, **_named(intention), outcome=state, why=reason))

    async def _read(self, connection: AnyConnection | None) -> _Held:
        if connection is None:
            with translated():
                async with self._pool.acquire() as own, own.transaction(isolation="repeatable_read"):
                    return await self._read(own)
        employee_id = self._identity.employee_id
        planning = await connection.fetchrow(SQL.planning, employee_id)
        return _Held(
            {row["goal_id"]: _goal(row) for row in await connection.fetch(SQL.goals, employee_id)},
            list(map(_intention, await connection.fetch(SQL.open_intentions, employee_id))),
            planning["planned_at"] if planning else None,
            planning["wanted"] if planning else "",
            planning["forgets"] if planning else 0,
        )


def _named(intention: Intention) -> dict[str, Any]:
    return {name: getattr(intention, name) for name in ("intention_id", "title", "goal_id")}


def _goal(row: Any) -> Goal:
    measure = None
    if row["subject"] is not None:
        measure = Measure(**{name: row[name] for name in ("subject", "predicate", "start", "target")})
    plain = ("goal_id", "text", "priority", "deadline", "progress", "reason", "created_at")
    return Goal(
        kind=Kind(row["kind"]),
        state=GoalState(row["state"]),
        measure=measure,
        **{name: row[name] for name in plain},
    )


def _intention(row: Any) -> Intention:
    steps = tuple(PlanStep(**{**step, "after": tuple(step["after"])}) for step in row["steps"])
    plain = ("intention_id", "goal_id", "title", "why", "state", "reason", "created_at")
    return Intention(steps=steps, **{name: row[name] for name in plain})
