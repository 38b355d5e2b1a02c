"""The procedures of one employee: read once and kept warm, told with messages that they fit, learnt from repeated work."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from agent.errors import Superseded
from agent.identity import Identity
from agent.kept import Kept
from agent.meaning import Asked
from agent.mind.know_how import Procedure, Run, Step, common, counted, repeats, words_of
from agent.mind.requests import Requests
from agent.mind.wording import MAX_WORDED, Repeated, Worded, worded
from agent.models.interface import Model, ModelError
from empla.memories import LEARNT_FROM
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.store.ids import new_id

SQL = load_queries("agent.mind", "procedures.sql")
MAX_PROCEDURES = 100
MAX_TOLD = 2
"""With one message."""
MAX_NOTED = 200
"""Runs that are noted at once."""
MAX_LOOSE = 500
MAX_SOURCES = 50
MAX_ASKED = 2_000
"""Characters of a message that say what it asks for."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the runs since the last one come to; nothing of it is written yet.

    `counts` are the procedures with their new runs, `work` is what repeats, with the words found for it. `away`: the
    model that was to find them could not be asked.
    """

    counts: tuple[tuple[Procedure, tuple[Run, ...]], ...] = ()
    work: tuple[Repeated, ...] = ()
    worded: Worded = field(default_factory=Worded)
    away: bool = False


class Procedures:
    """What is known of how to do things."""

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity
        self._known = Kept(self._read)
        self.requests = Requests(pool, identity)

    def reread(self) -> None:
        """The table may have changed otherwise: read it anew before it is next used."""
        self._known.reread()
        self.requests.reread()

    async def fitting(self, text: str) -> list[Procedure]:
        """At most two promoted procedures for what `text` asks for, by its words, the best first."""
        known = await self._known.get()
        promoted = [one for one in known.values() if one.state == "promoted"]
        if not promoted:
            return []
        words = words_of(text[:MAX_ASKED])
        ranked = sorted(promoted, key=lambda one: (one.fit(words), one.successes / one.runs), reverse=True)
        return [one for one in ranked if one.fit(words)][:MAX_TOLD]

    async def meant(self, asked: Asked) -> list[Procedure]:
        """At most two promoted procedures for what a message means, the best first."""
        known, near = await self._known.get(), self.requests.like(asked)
        promoted = [one for one in known.values() if one.state == "promoted" and one.procedure_id in near]
        return sorted(promoted, key=lambda one: near[one.procedure_id], reverse=True)[:MAX_TOLD]

    async def note_runs(self) -> int:
        """Note how the messages that are over were done; how many parts of them are new. Raises `Superseded`."""
        with translated():
            noted: int | None = await self._pool.fetchval(
                SQL.note_runs, self._identity.employee_id, self._identity.epoch, LEARNT_FROM, MAX_NOTED
            )
        return _owned(noted)

    async def lesson(self, model: Model | None) -> Lesson:
        """What there is to learn from the runs that count for nothing yet. It asks the model once, or not at all."""
        known = await self._known.get()
        of, loose = counted(known.values(), await self._loose())
        counts = tuple((known[procedure_id].after(runs), tuple(runs)) for procedure_id, runs in of.items())
        work = tuple([Repeated(runs, await self._example(runs)) for runs in repeats(loose)[:MAX_WORDED]])
        if not work or model is None:
            return Lesson(counts)
        try:
            return Lesson(counts, work, await worded(model, work, list(known.values())))
        except ModelError as error:
            if error.retryable:
                return Lesson(counts, away=True)
            return Lesson(counts, work, Worded(refused=(f"{type(error).__name__}: {error}"[:500],)))

    async def write(self, connection: AnyConnection, lesson: Lesson) -> list[Procedure]:
        """Write a lesson within the caller's transaction, but for what was forgotten meanwhile; what was learnt or changed.

        Raises `Superseded`. `reread` is to follow, whatever came of the transaction.
        """
        groups = [*(runs for _, runs in lesson.counts), *(one.runs for one in lesson.work)]
        there = await self._held(connection, [run.unit_id for runs in groups for run in runs])
        changed = []
        for procedure, runs in lesson.counts:
            if all(run.unit_id in there for run in runs) and await self._count(connection, procedure, runs):
                changed.append(procedure)
        for place, one in enumerate(lesson.work):
            still = [run for run in one.runs if run.unit_id in there]
            if place in lesson.worded.found and len(still) == len(one.runs):
                changed.append(await self._learn(connection, *lesson.worded.found[place], still))
            else:
                await self._tried(connection, still)
        return changed

    async def _read(self, connection: AnyConnection | None) -> Mapping[UUID, Procedure]:
        with translated():
            rows = await (connection or self._pool).fetch(SQL.procedures, self._identity.employee_id)
        return {row["procedure_id"]: _procedure(row) for row in rows}

    async def _loose(self) -> list[Run]:
        with translated():
            rows = await self._pool.fetch(SQL.loose_runs, self._identity.employee_id, MAX_LOOSE)
        return [Run(**dict(row) | {"actions": tuple(row["actions"]), "told": frozenset(row["told"])}) for row in rows]

    async def _example(self, runs: Sequence[Run]) -> str:
        """What the last run did that went well."""
        run = next(run for run in reversed(runs) if run.succeeded)
        with translated():
            calls = await self._pool.fetch(SQL.calls_of, run.message_id, self._identity.employee_id, run.unit_id)
        return "\n".join(f"- {call['action']} {json.dumps(call['arguments'])[:300]}" for call in calls)

    async def _held(self, connection: AnyConnection, units: list[UUID]) -> set[UUID]:
        rows = await connection.fetch(SQL.hold_runs, self._identity.employee_id, units)
        return {row["unit_id"] for row in rows}

    async def _count(self, connection: AnyConnection, one: Procedure, runs: Sequence[Run]) -> bool:
        us, units = (self._identity.employee_id, self._identity.epoch), [run.unit_id for run in runs]
        there: bool | None = await connection.fetchval(
            SQL.count_runs, *us, one.procedure_id, units, one.runs, one.successes, one.state
        )
        return _owned(there)

    async def _learn(
        self, connection: AnyConnection, trigger: str, steps: tuple[Step, ...], runs: Sequence[Run]
    ) -> Procedure:
        us, units = (self._identity.employee_id, self._identity.epoch), [run.unit_id for run in runs]
        words, actions = common(runs), runs[0].actions
        learnt = Procedure(new_id(), trigger, steps, actions, words, 0, 0, "learnt").after(runs)
        learnt_in = sorted({run.message_id for run in runs[-MAX_SOURCES:]})
        told = (trigger, [asdict(step) for step in steps], list(actions), sorted(words))
        _owned(
            await connection.fetchval(
                SQL.learn,
                *us,
                learnt.procedure_id,
                units,
                *told,
                learnt.runs,
                learnt.successes,
                learnt.state,
                learnt_in,
            )
        )
        await connection.execute(SQL.drop_procedures, *us, MAX_PROCEDURES)
        return learnt

    async def _tried(self, connection: AnyConnection, runs: Sequence[Run]) -> None:
        us, units = (self._identity.employee_id, self._identity.epoch), [run.unit_id for run in runs]
        _owned(await connection.fetchval(SQL.tried, *us, units))


def _owned[T](answer: T | None) -> T:
    """What a fenced statement answered; raises `Superseded` when it did not."""
    if answer is None:
        raise Superseded("a newer launch owns this employee")
    return answer


def _procedure(row: Any) -> Procedure:
    steps = tuple(Step(**step) for step in row["steps"])
    return Procedure(
        row["procedure_id"],
        row["trigger"],
        steps,
        tuple(row["actions"]),
        frozenset(row["words"]),
        row["runs"],
        row["successes"],
        row["state"],
    )
