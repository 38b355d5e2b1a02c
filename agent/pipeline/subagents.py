"""Sub-agents: loops of their own within one call of a worker, side by side, over the capabilities that they share with it.

Each is told its task and nothing else, has limits of its own, and a row that has its outcome once. What it says and does is
on record as a worker's is, under an id that follows from the call and the number of the task, so that after any death of the
process each goes on where it was. What only the worker can do for one of them is done by the worker: it waits for a person,
goes on in the background, fails and is stopped; before that, the others come to their ends or to the same point.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid5

from pydantic import JsonValue

from agent.capabilities.agents import AgentsCapability, Ended, Outcome, Task
from agent.capabilities.base import CapabilityRegistry, EffectKey
from agent.capabilities.narrowed import NarrowedRegistry
from agent.errors import ActionFailed, ApprovalNeeded, Cancelled, StepFailed, Superseded
from agent.identity import Identity
from agent.models.interface import ChatMessage, ModelError, ModelResponse, storable
from agent.pipeline.asking import Waits
from agent.pipeline.background import Pace, Pauses
from agent.pipeline.retrying import wait_before_retry
from agent.pipeline.step import Work
from agent.pipeline.stopping import go_on_unless_stopped
from agent.pipeline.toolloop import Means, ToolLoop
from agent.prompts import mark
from empla import telemetry
from empla.store.connect import Pool, load_queries, translated
from empla.store.errors import StoreUnavailable

log = logging.getLogger(__name__)

SQL = load_queries("agent.pipeline", "subagents.sql")
AT_ONCE = 4
"""Sub-agents of one call that work at a time; the others wait for their turn."""
MAX_OF_A_WORKER = 32
MODEL_RETRIES = 3
MAX_ANSWER_CHARACTERS = 7_500
MAX_TOLD_CHARACTERS = 300

_STANDING = """You work on one task of a larger piece of work, for yourself: nobody else reads what you answer, nobody can
answer questions. Answer with the result alone, as short as it can be, and say what you could not find or do."""
_LAST = "This is your last response: make no calls, answer with what you have, and say what is missing."

# What stops them all is told before what one of them waits for; while one can go on in the background, nobody is asked yet.
_GRAVEST_FIRST: tuple[type[Exception], ...] = (Superseded, Cancelled, StoreUnavailable, Exception, Pauses, Waits)


@dataclass(frozen=True, slots=True)
class SubAgents:
    """The sub-agents of one call of a worker; `led`: text of others was read before their tasks were written."""

    means: Means
    registry: CapabilityRegistry
    work: Work
    worker_id: UUID
    step: str
    pace: Pace
    clock: Callable[[], float]
    led: bool

    async def __call__(self, tasks: Sequence[Task], key: EffectKey) -> list[Ended]:
        """Work on the tasks, side by side.

        Raises `ActionFailed` for tasks that cannot be begun; and once the others have come to their ends or may not go on,
        what stopped one of them: `Waits`, `Pauses`, or what fails the step.
        """
        allowed = [self._allowed(number, task) for number, task in enumerate(tasks, 1)]
        rows, room = await self._begun(tasks, key), asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(self._bounded(task, names, row, room))
                for task, names, row in zip(tasks, allowed, rows, strict=True)
            ]
        came = [one.result() for one in running]
        if errors := sorted((one for one in came if isinstance(one, Exception)), key=_gravity):
            raise errors[0]
        return [one for one in came if isinstance(one, Ended)]

    def _allowed(self, number: int, task: Task) -> frozenset[str]:
        mine = self.registry.granted - {AgentsCapability.name}
        if task.capabilities is None:
            return mine
        if unknown := sorted(set(task.capabilities) - mine):
            given = ", ".join(sorted(mine))
            raise ActionFailed(
                f"NOT_YOURS: nothing was begun: task {number} wants {', '.join(map(repr, unknown))[:200]}, "
                f"and a sub-agent may use of yours: {given}"
            )
        return frozenset(task.capabilities)

    async def _begun(self, tasks: Sequence[Task], key: EffectKey) -> list[Any]:
        """A row for each task, which an earlier run of the same call may have begun."""
        identity, pool, place = self.means.identity, self.means.pool, (key.response_index, key.call_index)
        new = [
            {
                "sub_agent_id": str(uuid5(self.worker_id, f"{place[0]} {place[1]} {number}")),
                "task_index": number,
                "instruction": storable(task.instruction),
            }
            for number, task in enumerate(tasks)
        ]
        with translated():
            epoch = await pool.fetchval(
                SQL.begin, identity.employee_id, identity.epoch, self.worker_id, *place, key.message_id, new,
                MAX_OF_A_WORKER,
            )  # fmt: skip
            if epoch is None:
                raise Superseded("a newer launch owns this employee")
            rows = await pool.fetch(SQL.of_call, identity.employee_id, self.worker_id, *place)
        if len(rows) < len(tasks):
            raise ActionFailed(
                f"TOO_MANY: nothing was begun: {MAX_OF_A_WORKER} sub-agents may work on one thing in all"
            )
        return list(rows)

    async def _bounded(self, task: Task, names: frozenset[str], row: Any, room: asyncio.Semaphore) -> Ended | Exception:
        """How the task ended, or what stopped it: its neighbours are not to be cut short by that."""
        if row["outcome"] is not None:
            return _ended(row)
        ids = {"sub_agent_id": str(row["sub_agent_id"]), "message_id": str(row["message_id"])}
        try:
            async with room:
                with telemetry.span(f"sub-agent {row['task_index'] + 1}", **ids):
                    try:
                        return await self._worked(task, names, row)
                    except (Pauses, Waits, Cancelled) as stopped:
                        return stopped
                    except ApprovalNeeded as error:
                        # After it was approved: it is not the worker's call that wants to be.
                        raise StepFailed(str(error)) from error
        except Exception as error:  # noqa: BLE001 - the boundary of a task: raised once the others have ended
            log.warning("a sub-agent was stopped by %s: %s", type(error).__name__, error, extra=ids)
            return error

    async def _worked(self, task: Task, names: frozenset[str], row: Any) -> Ended:
        means = replace(
            self.means,
            capabilities=NarrowedRegistry(self.registry, names),
            instructions=f"{self.means.instructions}\n\n{_STANDING}",
        )
        loop = _SubAgentLoop(means, self.work, self, task, row)
        outcome, reason, answer = await loop.run()
        told = storable(reason)[:1000], storable(answer)[:MAX_ANSWER_CHARACTERS]
        ended = await loop.end(outcome, *told)
        telemetry.annotate(outcome=outcome, model_calls=ended.model_calls, tokens=ended.tokens)
        return ended


class _SubAgentLoop(ToolLoop):
    """The loop of one sub-agent, within its limits."""

    ask_for_words = "Write the result now."

    def __init__(self, means: Means, work: Work, team: SubAgents, task: Task, row: Any) -> None:
        told = ChatMessage(role="user", text=mark("message", task.instruction, sender="yourself"))
        super().__init__(
            means, work, team.step, [told], worker_id=team.worker_id, sub_agent_id=row["sub_agent_id"], led=team.led
        )
        self.number, short = row["task_index"] + 1, task.instruction[:MAX_TOLD_CHARACTERS]
        self.sub_agent = {"sub_agent_id": str(self.sub_agent_id), "number": self.number, "instruction": short}
        self._team, self._task, self._row = team, task, row
        self._began, self._before_ms = team.clock(), float(row["worked_ms"])
        self._words: list[str] = []
        self._tokens = self._last_tokens = self._responses = 0
        self._spent: list[ModelResponse] = []  # and not committed

    async def run(self) -> tuple[Outcome, str, str]:
        """Outcome, reason and what there is of the answer; raises what the worker has to see to."""
        for earlier in await self._transcript():
            self._count(earlier)
            await self._act(earlier)
        while True:
            await go_on_unless_stopped(self._means.pool, self.worker_id)
            await self._team.pace.before(0, long=False)
            if over := self._over():
                return over
            last = self._is_last()
            if last:
                self._messages.append(ChatMessage(role="user", text=_LAST))
            try:
                response = await self._ask_patiently()
            except ModelError as error:
                return self._over(within=1.0) or (
                    "failed",
                    f"{type(error).__name__}: {error}{self._did()}",
                    self._told(),
                )
            self._count(response)
            if response.calls and not last:
                await self._commit(response)
                await self._act(response)
                continue
            self._spent.append(response)
            if last and (response.calls or self.index):
                return self._out_of_budget(response.text)
            if response.text.strip():
                return "answered", "", response.text.strip()
            if self._asked_again:
                return "failed", f"it said nothing{self._did()}", self._told()
            self._ask_for_words(response)

    async def end(self, outcome: Outcome, reason: str, answer: str) -> Ended:
        """Write down how it ended; raises `Superseded`."""
        identity, spent = self._means.identity, self._spent
        with translated():
            row = await self._means.pool.fetchrow(
                SQL.end, identity.employee_id, identity.epoch, self.unit_id, outcome, reason, answer, self._worked_ms(),
                *_paid(spent), len(spent),
            )  # fmt: skip
        if row is None:
            raise Superseded("a newer launch owns this employee")
        return _ended(row)

    async def _write(self, response: ModelResponse, recorded: JsonValue) -> object:
        identity = self._means.identity
        return await self._means.pool.fetchval(
            SQL.commit_response, identity.employee_id, identity.epoch, self.unit_id, self.index, recorded,
            len(response.calls), self._worked_ms(), *_paid([response]),
        )  # fmt: skip

    async def _ask_patiently(self) -> ModelResponse:
        """The model's response, asked for again while that may help and there is time; raises its last `ModelError`."""
        failures = 0
        while True:
            try:
                return await self._ask(None, seconds=max(0.1, self._left()))
            except ModelError as error:
                wait = wait_before_retry(error, failures)
                if not error.retryable or failures == MODEL_RETRIES or wait >= self._left():
                    raise
            failures += 1
            await self._team.pace.before(0, long=False)
            await asyncio.sleep(wait)

    # Limits

    def _worked_ms(self) -> float:
        return self._before_ms + (self._team.clock() - self._began) * 1000

    def _left(self) -> float:
        return self._task.seconds - self._worked_ms() / 1000

    def _count(self, response: ModelResponse) -> None:
        self._responses += 1
        self._last_tokens = response.usage.input + response.usage.output
        self._tokens += self._last_tokens
        if response.text.strip():
            self._words.append(response.text.strip())

    def _is_last(self) -> bool:
        """Whether there is a budget for one more response and probably no other."""
        next_is_last = self._responses + 1 >= self._task.model_calls
        return next_is_last or self._tokens + 2 * self._last_tokens > self._task.tokens

    def _over(self, *, within: float = 0.0) -> tuple[Outcome, str, str] | None:
        if self._left() <= within:
            return "out_of_time", f"its {self._task.seconds} s were over{self._did()}", self._told()
        if self._responses >= self._task.model_calls or self._tokens >= self._task.tokens:
            return self._out_of_budget("")
        return None

    def _out_of_budget(self, text: str) -> tuple[Outcome, str, str]:
        spent = (
            f"{self._responses} of {self._task.model_calls} model calls, {self._tokens} of {self._task.tokens} tokens"
        )
        return "out_of_budget", f"its budget was spent: {spent}{self._did()}", text.strip() or self._told()

    def _told(self) -> str:
        """What it has said so far, the latest of it if that is too much."""
        return "\n\n".join(self._words)[-MAX_ANSWER_CHARACTERS:]

    def _did(self) -> str:
        """What it has done so far, in words."""
        done = ", ".join(f"{name} ×{times}" if times > 1 else name for name, times in Counter(self._done).items())
        return f"; until then it had done: {done}" if done else "; until then it had done nothing"


async def of_worker(pool: Pool, identity: Identity, worker_id: UUID) -> list[UUID]:
    """The ids of every sub-agent that a worker has had. Raises `StoreUnavailable`."""
    with translated():
        return [row["sub_agent_id"] for row in await pool.fetch(SQL.of_worker, identity.employee_id, worker_id)]


async def cancel_those_of(pool: Pool, identity: Identity, worker_id: UUID, why: str) -> None:
    """Note that the sub-agents of a worker which is stopped end with it. Raises `StoreUnavailable`."""
    with translated():
        await pool.execute(SQL.cancel, identity.employee_id, identity.epoch, worker_id, why)


def _ended(row: Any) -> Ended:
    tokens = row["tokens_in"] + row["tokens_out"]
    return Ended(row["outcome"], row["reason"], row["answer"], row["responses"], row["calls"], tokens)


def _gravity(error: Exception) -> int:
    named = [kind for kind in _GRAVEST_FIRST if kind is not Exception and isinstance(error, kind)]
    return _GRAVEST_FIRST.index(named[0] if named else Exception)


def _paid(responses: Sequence[ModelResponse]) -> tuple[str, int, int, int | None]:
    """Model, tokens in and out, and the cost in millionths of a US dollar: None of a model without a price."""
    costs = [response.usage.cost_micros for response in responses]
    return (
        responses[-1].model if responses else "",
        sum(response.usage.input for response in responses),
        sum(response.usage.output for response in responses),
        None if None in costs else sum(cost for cost in costs if cost is not None),
    )
