"""Spare sidecars: one kept warm for each of the employees who used one last, ready before it is asked for again."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from controlplane.sidecars.table import Resources

if TYPE_CHECKING:
    from controlplane.sidecars.keeper import Held

SPARE_SECONDS = 300.0
"""A spare that nobody takes for so long is ended, and no other kept in its place."""
LEAST_SECONDS = 5.0
"""One that has less left is not given out."""
REFILL_SECONDS = 0.5
"""Whoever took one is to begin first: starting the next one keeps the machine busy for a moment."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a launch of an employee asked for, and may soon ask for again."""

    employee_id: UUID
    epoch: int
    resources: Resources


class Spares:
    """At most `most` of each kind."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._recent: OrderedDict[Use, float] = OrderedDict()
        self._ready: dict[Use, Held] = {}
        self._news = asyncio.Event()

    @property
    def seconds(self) -> int:
        """How long one lives that nobody takes."""
        return round(SPARE_SECONDS)

    def used(self, use: Use) -> None:
        """Somebody got a sidecar: the next one shall be ready."""
        if self._most:
            self._recent[use] = time.monotonic()
            self._recent.move_to_end(use)
            self._news.set()

    def take(self, use: Use) -> "Held | None":
        """A spare for this use, if there is one, which is the caller's from now on."""
        held = self.of(use)
        if held is not None:
            del self._ready[use]
        return held

    def of(self, use: Use) -> "Held | None":
        """The spare that `take` would give."""
        held = self._ready.get(use)
        return held if held is not None and held.expires_at - time.time() >= LEAST_SECONDS else None

    def add(self, use: Use, held: "Held") -> bool:
        """Keep one; False when nobody needs it."""
        if use not in self._wanted() or use in self._ready or held.gone.is_set():
            return False
        self._ready[use] = held
        return True

    def drop(self, held: "Held") -> None:
        """It ends."""
        for use in [use for use, ready in self._ready.items() if ready is held]:
            del self._ready[use]
            self._news.set()

    def forget(self, use: Use) -> None:
        """None could be had."""
        self._recent.pop(use, None)

    def clear(self) -> None:
        """Know of none any more."""
        self._ready.clear()
        self._recent.clear()

    def close(self) -> None:
        """Keep none any more."""
        self._most = 0
        self._recent.clear()

    async def changed(self) -> None:
        """Wait until there may be some to add or to end."""
        try:
            async with asyncio.timeout(SPARE_SECONDS / 10):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()
        await asyncio.sleep(REFILL_SECONDS)

    def unwanted(self) -> "list[Held]":
        """Those that are to end."""
        wanted, soon = self._wanted(), time.time() + LEAST_SECONDS
        return [held for use, held in self._ready.items() if use not in wanted or held.expires_at < soon]

    def missing(self) -> list[Use]:
        """For whom there is none, whoever used one last first."""
        return [use for use in self._wanted() if use not in self._ready]

    def _wanted(self) -> list[Use]:
        """The last uses of each kind, the newest first; what was long ago or of an earlier launch is forgotten."""
        late = time.monotonic() - SPARE_SECONDS
        wanted: dict[str, list[Use]] = {}
        for use, at in reversed(self._recent.items()):
            same = wanted.setdefault(use.resources.kind, [])
            if at > late and len(same) < self._most:
                same.append(use)
        kept = [use for same in wanted.values() for use in same]
        self._recent = OrderedDict((use, at) for use, at in self._recent.items() if use in kept)
        return kept
