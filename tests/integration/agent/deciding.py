"""Scripted workers of several parts, and people who decide about them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from agent.local import LocalGateway
from agent.models.interface import ModelError, ModelRequest, ModelResponse, ToolCall
from agent.models.scripted import ScriptedModel, Step, echo
from agent.prompts import blocks
from empla.classification import Classification, Intent
from tests.factories import said_in
from tests.integration.agent.conftest import Office

type Script = Callable[[ModelRequest], Step]


def sorted_as(text: str, *wanted: str) -> str:
    """A classification of `text` with an intent for each stretch in `wanted`."""
    intents = tuple(
        Intent(summary=f"Do {part}", category="request", start=text.index(part), end=text.index(part) + len(part))
        for part in wanted
    )
    return Classification(
        category="request", priority="normal", sentiment="neutral", language="en", confidence=1, intents=intents
    ).model_dump_json()


def part_in(request: ModelRequest) -> str:
    """Which part a worker was told is its own; '' for an only one."""
    told = [block for turn in request.messages if turn.role == "user" for block in blocks(turn.text)]
    return next((block.text for block in reversed(told) if block.kind == "intent"), "")


def call(name: str, **arguments: Any) -> ModelResponse:
    """A response that makes one call."""
    wanted = ToolCall(call_id=name, name=name, arguments=arguments)
    return ModelResponse(calls=(wanted,), model="scripted", stop_reason="calls")


def result_in(request: ModelRequest) -> str:
    """The last result that a worker was told; '' before the first."""
    last = request.messages[-1]
    return last.results[-1].content if last.results else ""


class Parts(ScriptedModel):
    """Sorts a message into the parts of `scripts`, and works on each by its script; `asked` counts calls by part.

    With `together`, no part is answered before each of them has been asked for.
    """

    def __init__(self, text: str, scripts: Mapping[str, Script], *, together: bool = False) -> None:
        super().__init__(self._step)
        self._text, self._scripts = text, scripts
        self._all_here = asyncio.Barrier(len(scripts)) if together else None
        self.asked: dict[str, int] = dict.fromkeys(scripts, 0)

    async def generate(self, request: ModelRequest, *arguments: Any) -> ModelResponse:
        if request.output is None and self._all_here is not None and not self.asked[part_in(request)]:
            self.asked[part_in(request)] += 1
            async with asyncio.timeout(20):
                await self._all_here.wait()
        elif request.output is None:
            self.asked[part_in(request)] += 1
        return await super().generate(request, *arguments)

    def _step(self, request: ModelRequest) -> Step:
        if request.output is not None:
            whole = self._text in said_in(request)
            return sorted_as(self._text, *self._scripts) if whole and any(self._scripts) else echo(request)
        return self._scripts[part_in(request)](request)


def refusing(error: ModelError) -> Script:
    """A worker whose model does not answer."""

    def script(_: ModelRequest) -> Step:
        return error

    return script


def asking(question: str, then: Callable[[str], Step] = "you said {}".format) -> Script:
    """A worker that asks the sender, and writes what it makes of the answer."""

    def script(request: ModelRequest) -> Step:
        answer = result_in(request)
        return then(answer) if answer else call("ask_sender", question=question)

    return script


class Desk:
    """People who look at reviews, and a Sender that has sent everything."""

    def __init__(self, office: Office) -> None:
        self._pool, self._office = office.pool, office

    async def review(self, kind: str) -> Any:
        """The only open review of this kind, once it is there."""
        async with asyncio.timeout(20):
            while not (
                found := await self._pool.fetch("SELECT * FROM reviews WHERE kind = $1 AND state = 'open'", kind)
            ):
                await asyncio.sleep(0.02)
        [review] = found
        return review

    async def decide(self, kind: str, decision: str, gateway: LocalGateway | None = None, **fields: Any) -> Any:
        """Decide about the only open review of this kind, and tell the employee, if it is there."""
        review = await self.review(kind)
        await self.answer(review, decision, **fields)
        if gateway is not None:
            gateway.resume()
        return review

    async def answer(self, review: Any, decision: str, **fields: Any) -> None:
        await self._pool.execute(
            "INSERT INTO unit_answers (unit_id, question_key, message_id, tenant_id, employee_id, answer, answered_by) "
            "VALUES ($1, $2, $3, $4, $5, $6, 'boss')",
            review["worker_id"] or review["message_id"], str(review["review_id"]), review["message_id"],
            review["tenant_id"], review["employee_id"], {"decision": decision, **fields},
        )  # fmt: skip

    async def sent(self, message_id: UUID) -> None:
        """All that was written so far has been sent, and its message is answered."""
        for state in ("sending", "sent"):
            await self._pool.execute("UPDATE outbox SET state = $2 WHERE message_id = $1", message_id, state)
        await self._pool.execute(
            "UPDATE inbound_messages SET processing_state = 'answered', step = '', ended_at = now() "
            "WHERE message_id = $1 AND processing_state = 'sending'",
            message_id,
        )

    async def told(self, message_id: UUID) -> list[tuple[str, int, str]]:
        """Kind, part and text of everything that was written to the sender."""
        rows = await self._pool.fetch(
            "SELECT kind, part, body FROM outbox WHERE message_id = $1 ORDER BY queued_at", message_id
        )
        return [(row["kind"], row["part"], row["body"]) for row in rows]

    async def told_more(self, message_id: UUID, count: int) -> list[tuple[str, int, str]]:
        """What was written to the sender, once it is so many."""
        async with asyncio.timeout(20):
            while len(told := await self.told(message_id)) < count:
                await asyncio.sleep(0.02)
        return told

    async def workers(self, message_id: UUID) -> list[str]:
        """The states of a message's workers, in the order of its intents."""
        rows = await self._pool.fetch(
            "SELECT state FROM message_workers WHERE message_id = $1 ORDER BY intent_index", message_id
        )
        return [row["state"] for row in rows]

    async def taken(self) -> None:
        """Wait until every answer has been taken."""
        async with asyncio.timeout(20):
            while await self._pool.fetchval("SELECT count(*) FROM unit_answers WHERE taken_at IS NULL"):
                await asyncio.sleep(0.02)
