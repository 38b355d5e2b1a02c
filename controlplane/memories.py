"""What employees remember, as operators search it and have it forgotten."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from controlplane import audit
from controlplane.employees import EmployeeRecord
from controlplane.errors import Invalid, Unknown
from controlplane.goals import PROFILE, hold_launch
from controlplane.messages import fitting
from empla.memories import KINDS, LEARNT_FROM
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.v1 import control_pb2 as pb

SQL = load_queries("controlplane", "memories.sql")
DEFAULT_FOUND, MAX_FOUND = 20, 200
MAX_QUERY = 2_000
MAX_FORGOTTEN = 1_000
"""With one call, so that the answer and the record can name each."""
LOOK_SECONDS = 300.0
"""To read all that an employee was ever told, while nobody waits for it."""
BLANK = "something was forgotten"


class Memories:
    """The memories of all employees."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def search(self, employee_id: UUID, query: str, limit: int, kind: str = "") -> list[pb.Memory]:
        """At most `limit` (0: 20) memories of a kind ('': any) that share words with `query`, the best first.

        Without a query the newest; as many as fit into one answer. Raises `Invalid`.
        """
        if limit > MAX_FOUND:
            raise Invalid("that is too many", fields={"limit": f"at most {MAX_FOUND}"})
        if kind not in ("", *KINDS):
            raise Invalid("there is no such kind of memory", fields={"kind": f"one of {', '.join(KINDS)}"})
        if not _searchable(query):
            raise Invalid("that is no query", fields={"query": f"at most {MAX_QUERY} characters, none of them NUL"})
        with translated():
            rows = await self._pool.fetch(SQL.search, employee_id, query.strip(), limit or DEFAULT_FOUND, kind)
        return fitting(_memories(rows))

    async def forget_asked(self, employee: EmployeeRecord, subject: str, message_id: UUID) -> pb.ForgetResponse:
        """Forget what somebody asked the employee in a message to forget. Raises `Invalid` and `Unknown`."""
        with translated():
            sender = await self._pool.fetchval(SQL.sender_of, message_id, employee.employee_id)
        if sender is None:
            raise Unknown(f"{employee.name} has no message {message_id}")
        actor = f"{employee.name}, asked by {sender}"
        return await self.forget(employee, pb.ForgetRequest(subject=subject), actor)

    async def forget(self, employee: EmployeeRecord, request: pb.ForgetRequest, actor: str) -> pb.ForgetResponse:
        """Remove at most 1,000 memories, and beliefs, for good, on the record; which ones. Raises `Invalid` and `Unknown`.

        What happened goes as well. Plans, goals and schedules that have ended, and the records of cycles, read `BLANK`
        instead; plans that have not are given up. Messages stay on record, and are shown to the employee no more.
        """
        by = request.WhichOneof("what") or ""
        value = getattr(request, by).strip() if by else ""
        if not value or not _searchable(value):
            wanted = f"a person, a conversation, a subject or a memory's id; at most {MAX_QUERY} characters, no NUL"
            raise Invalid("say what to forget", fields={by or "what": wanted})
        with translated():
            async with self._pool.acquire() as connection:
                moment = await connection.fetchval(SQL.moment)
                old = await _look(connection, employee.employee_id, by, value)
            async with self._pool.acquire() as connection, connection.transaction():
                await hold_launch(connection, employee.employee_id)
                await connection.execute(SQL.one_at_a_time, employee.employee_id)
                new = await _look(connection, employee.employee_id, by, value, moment)
                about = _About(old.messages + new.messages, old.events + new.events, old.cycles + new.cycles)
                marked = await connection.fetch(SQL.forget_messages, about.messages)
                sender = value if by == "person" else None
                await connection.execute(SQL.forget_events, employee.employee_id, sender, about.events)
                await connection.execute(SQL.hold_beliefs, employee.employee_id)
                believed = await connection.fetch(SQL.forget_beliefs, employee.employee_id, by, value)
                rows = await connection.fetch(SQL.matching, employee.employee_id, by, value, MAX_FORGOTTEN)
                learnt = await _unlearn(connection, employee.employee_id, by, value, rows)
                sources = [row["source"] for row in (*rows, *learnt) if row.get("source")]
                await connection.execute(SQL.blank_cycles, employee.employee_id, about.cycles, BLANK, sources)
                kept = await _blank(connection, employee.employee_id, by, value)
                await connection.execute(SQL.forget, employee.employee_id, [row["memory_id"] for row in rows])
                answer = pb.ForgetResponse(
                    memory_ids=[
                        str(row["memory_id"]) for row in (*rows, *learnt, *believed) if row["memory_id"] is not None
                    ],
                    belief_ids=[str(row["belief_id"]) for row in believed if row["belief_id"] is not None],
                    more=len(rows) == MAX_FORGOTTEN,
                    messages=len(marked),
                    kept=kept,
                )
                conversations = list({row["conversation_id"] for row in marked})
                words = await connection.fetchval(SQL.words_of, by, value)
                told = words, sender, list(answer.memory_ids), conversations, bool(believed)
                await connection.execute(SQL.forget_contexts, employee.employee_id, *told)
                await connection.execute(SQL.change_conversations, conversations)
                gone = {"memory_ids": list(answer.memory_ids), "belief_ids": list(answer.belief_ids)}
                if by != "memory_id" or any(gone.values()):  # plans and records may have changed without a memory
                    detail = {"by": by, "messages": len(marked), **gone}
                    of = employee.tenant_id, "memory.forget", employee.employee_id
                    await audit.record(connection, *of, detail, actor=actor)
        if by == "memory_id" and not any(gone.values()):
            raise Unknown(f"{employee.name} has no memory {value[:100]}")
        return answer


class _About(NamedTuple):
    """Ids of what is to be forgotten, of the tables that grow with every message."""

    messages: list[UUID]
    events: list[int]
    cycles: list[UUID]


async def _look(
    connection: AnyConnection, employee_id: UUID, by: str, value: str, since: datetime | None = None
) -> _About:
    """Look through everything, which takes its time and wants no locks held, or what had not ended by `since`."""
    rows = [
        await connection.fetch(statement, employee_id, by, value, since, timeout=LOOK_SECONDS)
        for statement in (SQL.messages_about, SQL.events_about, SQL.cycles_about)
    ]
    return _About(*([row[0] for row in found] for found in rows))


async def _unlearn(
    connection: AnyConnection, employee_id: UUID, by: str, value: str, episodes: Iterable[Any]
) -> list[Any]:
    """Remove what was made of what is forgotten: facts that rest on it, procedures, notes; which."""
    sources = [row["source"] for row in episodes]
    await connection.execute(SQL.forget_runs, employee_id, value if by == "memory_id" else None, LEARNT_FROM)
    return [
        *await connection.fetch(SQL.forget_facts, employee_id, by, value, sources),
        *await connection.fetch(SQL.forget_procedures, employee_id, by, value),
        *await connection.fetch(SQL.forget_notes, employee_id, by, value),
    ]


async def _blank(connection: AnyConnection, employee_id: UUID, by: str, value: str) -> list[str]:
    """Have goals, plans and schedules that say it say `BLANK` instead; what says it all the same, and why."""
    words = await connection.fetchval(SQL.words_of, by, value)
    goals = await connection.fetch(SQL.blank_goals, employee_id, words, BLANK)
    await connection.execute(SQL.blank_changes, employee_id, words, BLANK)
    plans = [row["intention_id"] for row in await connection.fetch(SQL.plans_about, employee_id, words)]
    given_up = await connection.fetchval(SQL.give_up_plans, plans, BLANK)
    for blank in (SQL.blank_plans, SQL.blank_steps):
        await connection.execute(blank, plans, BLANK)
    await connection.execute(SQL.blank_planning, employee_id, words, BLANK, given_up > 0)
    schedules = await connection.fetch(SQL.blank_schedules, employee_id, words, BLANK)
    return [
        *(f"the goal {row['goal_id']}, {_why_kept(row)}" for row in goals),
        *(f"the schedule {row['schedule_id']}, which is {row['state']}: end it first" for row in schedules),
        *(["the profile: change it"] if await connection.fetchval(SQL.profile_says, employee_id, words) else []),
    ]


def _why_kept(goal: Any) -> str:
    if goal["origin"] == PROFILE:
        return "which the profile names: take it out there"
    return "which is worked on: drop it first"


def _searchable(text: str) -> bool:
    return len(text) <= MAX_QUERY and "\0" not in text


def _memories(rows: Iterable[Any]) -> Iterable[pb.Memory]:
    for row in rows:
        memory = pb.Memory(
            memory_id=str(row["memory_id"]),
            kind=row["kind"],
            content=row["content"],
            source=row["source"],
            importance=row["importance"],
            score=row["score"],
            uses=row["uses"],
            successes=row["successes"] or 0,
            state=row["state"],
        )
        if row["ends_at"] is not None:
            memory.ends_at.FromDatetime(row["ends_at"])
        memory.created_at.FromDatetime(row["created_at"])
        yield memory
