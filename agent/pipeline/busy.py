"""What a message means that arrives while an earlier one of its conversation is in work, as the employee's profile says.

*enqueue*: it waits for its turn. *collect*: what waits is answered together, by the first of it whose turn comes.
*steer*: it is shown to the running worker before its model is asked again. *interrupt*: what is in work gives way to it.
Each is decided by a statement over the rows, before a model is asked, and read back from them by a retry.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agent.identity import Identity
from agent.pipeline.caps import RateCaps
from agent.pipeline.receive import injection_score, is_run, normalized, visible_text, withheld_because
from agent.pipeline.step import Incoming
from agent.pipeline.transitions import SQL
from agent.prompts import mark
from empla.excerpt import json_excerpt
from empla.store.connect import Pool, translated

MAX_TOGETHER = 32
"""Messages that one takes with it at a time."""
MAX_DONE = 50
MAX_DONE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in one conversation, for one launch of an employee."""

    pool: Pool
    identity: Identity
    caps: RateCaps

    async def collect(self, message: Incoming) -> None:
        """Have `message`, which is claimed, answer what waits behind it, unless it is one that stands by itself."""
        if _by_itself(message):
            return
        if ids := [row["message_id"] for row in await self._behind(message, strictly=False)]:
            await self._take(message, ids, None, None)

    async def steer(self, message: Incoming, worker_id: UUID, before: int) -> list[str]:
        """Show what waits behind `message` to its worker, and in every retry: before the response of that index."""
        if not (found := await self._behind(message, strictly=True)):
            return []
        taken = await self._take(message, [row["message_id"] for row in found], worker_id, before)
        return [shown(row) for row in found if row["message_id"] in taken]

    async def interrupt(self, message: Incoming) -> list[UUID]:
        """Have what is in work before `message` give way to it; returns what does."""
        if _by_itself(message):
            return []
        with translated():
            rows = await self.pool.fetch(
                SQL.interrupt, message.message_id, self.identity.employee_id, self.identity.epoch
            )
        return [row["message_id"] for row in rows]

    async def shown_before(self, worker_id: UUID) -> dict[int, list[str]]:
        """What was shown to a worker, by the index of the response that it came before."""
        with translated():
            rows = await self.pool.fetch(SQL.steering, worker_id, self.identity.employee_id)
        by_index: defaultdict[int, list[str]] = defaultdict(list)
        for row in rows:
            by_index[row["steers_before"]].append(shown(row))
        return by_index

    async def _behind(self, message: Incoming, *, strictly: bool) -> list[Any]:
        """The messages that wait, up to the first that has to be looked at by itself."""
        with translated():
            rows = await self.pool.fetch(SQL.waiting_behind, message.message_id, MAX_TOGETHER)
        found = []
        for row in rows:
            text = visible_text(row["body"])[0]
            one = Incoming(
                row["message_id"],
                row["conversation_id"],
                row["sender"],
                row["body"],
                row["metadata"],
                received_at=row["received_at"],
            )
            if _by_itself(one) or (strictly and injection_score(normalized(text))) or self.caps.judged(one).over_cap:
                break
            found.append(row)
        return found

    async def _take(
        self, message: Incoming, ids: list[UUID], worker_id: UUID | None, before: int | None
    ) -> frozenset[UUID]:
        me, reason = self.identity, f"answered together with message {message.message_id}"
        with translated():
            rows = await self.pool.fetch(
                SQL.collect, message.message_id, ids, worker_id, before, reason, me.employee_id, me.epoch
            )
        return frozenset(row["message_id"] for row in rows)


def _by_itself(message: Incoming) -> bool:
    """Nobody answers it, or nobody says it now: neither tells what its sender means by the others."""
    if message.over_cap or is_run(message.metadata):
        return True
    return bool(withheld_because(message.metadata, visible_text(message.body)[0]))


def shown(row: Any) -> str:
    """A further message as a running worker is shown it."""
    text = normalized(visible_text(row["body"])[0])
    return "Meanwhile a further message has come. Go by it from here on, and answer both in one.\n" + mark(
        "message", text, sender=row["sender"]
    )


def done_in_words(rows: Iterable[Any]) -> str:
    """What had been done for a message that gave way, as the one that it gave way to is told."""
    lines = [
        f"- {row['action']} {json_excerpt(row['arguments'], MAX_DONE_CHARACTERS)}: {row['state']}"
        + ("" if row["result"] is None else f" {json_excerpt(row['result'], MAX_DONE_CHARACTERS)}")
        for row in list(rows)[:MAX_DONE]
    ]
    return "Work on it was stopped for the message below. Done by then:\n" + ("\n".join(lines) or "nothing")
