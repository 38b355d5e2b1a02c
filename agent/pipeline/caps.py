"""Rate caps: of what arrives in a minute, so much of one sender and of all is worked on; nothing is spent on the rest.

A message counts for the minute of the clock in which it was stored, so what waited while the employee was stopped is no
flood. What is worked on is counted in memory; a launch begins with what the rows say.
"""

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from agent.identity import Identity
from agent.pipeline.receive import is_run
from agent.pipeline.step import Incoming, OverCap
from agent.pipeline.transitions import SQL
from empla.capabilities import PER_MINUTE, PER_MINUTE_OF_SENDER
from empla.store.connect import Pool, translated

log = logging.getLogger(__name__)

OVER = "over the rate cap"
"""How the reason of a message begins that is withheld for it."""
BURST_MINUTES = 10
"""After so many without a message over a cap, the next one is told of again."""
MAX_MINUTES = 4
"""Minutes that are kept in memory: a message of an earlier one, which its conversation held up, finds nobody before it."""
MAX_LOOKED_AT = 20_000
"""Rows that a launch looks back at."""


@dataclass(slots=True)
class _Minute:
    taken: set[UUID] = field(default_factory=set)
    senders: Counter[str] = field(default_factory=Counter)


class RateCaps:
    """What one launch of one employee has taken of each minute's messages."""

    def __init__(self) -> None:
        self._sender, self._all = PER_MINUTE_OF_SENDER, PER_MINUTE
        self._minutes: dict[int, _Minute] = {}
        self._last_over = -BURST_MINUTES

    def use(self, sender: int, everybody: int) -> None:
        """Go by these caps from now on; 0: the usual one."""
        self._sender, self._all = sender or PER_MINUTE_OF_SENDER, everybody or PER_MINUTE

    async def restore(self, pool: Pool, identity: Identity) -> None:
        """Count what earlier launches have taken of the minutes that messages may still come of.

        Raises `StoreUnavailable`.
        """
        with translated():
            rows: list[Any] = await pool.fetch(SQL.arrived, identity.employee_id, MAX_LOOKED_AT, OVER)
        for row in reversed(rows):
            self._take(row["message_id"], row["sender"], self._minute(row["received_at"]))

    def judged(self, message: Incoming) -> Incoming:
        """The message, marked if it is over a cap, else counted; once however often it is asked about."""
        minute = self._minute(message.received_at.timestamp())
        if message.message_id in minute.taken or is_run(message.metadata):
            return message
        if reason := self._over(minute, message.sender):
            return replace(message, over_cap=OverCap(f"{OVER} of {reason}", opens=self._opens_burst(message)))
        self._take(message.message_id, message.sender, minute)
        return message

    def _over(self, minute: _Minute, sender: str) -> str:
        if len(minute.taken) >= self._all:
            return f"{self._all} messages a minute"
        return f"{self._sender} messages a minute of one sender" if minute.senders[sender] >= self._sender else ""

    def _opens_burst(self, message: Incoming) -> bool:
        at = _minute_of(message.received_at.timestamp())
        opens, self._last_over = at - self._last_over >= BURST_MINUTES, max(at, self._last_over)
        if opens:
            log.warning("messages are %s: they are withheld", OVER, extra={"message_id": str(message.message_id)})
        return opens

    def _minute(self, received_at: float) -> _Minute:
        """The one of that time; the one that was asked for the longest ago makes room: a flood may be judged for long."""
        at = _minute_of(received_at)
        minute = self._minutes[at] = self._minutes.pop(at, _Minute())
        if len(self._minutes) > MAX_MINUTES:
            del self._minutes[next(iter(self._minutes))]
        return minute

    @staticmethod
    def _take(message_id: UUID, sender: str, minute: _Minute) -> None:
        minute.taken.add(message_id)
        minute.senders[sender] += 1


def _minute_of(received_at: float) -> int:
    return int(received_at // 60)
