"""What was counted and measured, and what is wrong with it."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from loadtests.report import Figure

MONTH = 30
FLAT = 1.2
"""How many times as much it may be in the last month."""


@dataclass(slots=True)
class Day:
    """What was measured on one day, and at its end."""

    elapsed_ms: list[float] = field(default_factory=list)  # of each message that no person had to approve
    pace_ms: list[float] = field(default_factory=list)  # of what is always the same, before each of them
    memory: dict[str, int] = field(default_factory=dict)  # bytes of each employee
    stored: int = 0  # bytes of the database
    messages: int = 0
    beliefs: int = 0
    facts: int = 0

    def as_json(self) -> dict[str, Any]:
        """In short."""
        told = {name: getattr(self, name) for name in ("memory", "stored", "messages", "beliefs", "facts")}
        return {"elapsed_ms": median(self.elapsed_ms), "pace_ms": median(self.pace_ms), **told}


@dataclass(slots=True)
class Account:
    """Everything."""

    days: list[Day] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)

    def expect(self, what: str, wrong: str = "") -> None:
        """Count one more of `what`; `wrong` says what is wrong with it, if anything is."""
        self.counted[what] += 1
        if wrong:
            self.wrongs.append(f"{what}: {wrong}")

    def figures(self) -> list[Figure]:
        """Counts, and what a quarter does to memory, storage and latency when it was long enough to tell."""
        counts = [Figure(what, count, "") for what, count in sorted(self.counted.items())]
        return [*counts, Figure("wrong", len(self.wrongs), "", target=0), *self._growth()]

    def _growth(self) -> list[Figure]:
        if len(self.days) < 2 * MONTH:
            return []
        first, last = self.days[:MONTH], self.days[-MONTH:]
        return [
            *(
                _flat(f"memory of {name} (PSS)", "MB", *(_memory(month, name) for month in (first, last)))
                for name in self.days[0].memory
            ),
            _flat("database for 1,000 messages", "MB", _stored(first), _stored(last)),
            _flat("message by the machine's pace, p50", "", _paced(first), _paced(last)),
            Figure("message p50", _elapsed(last), "ms", peer="first month", peer_value=_elapsed(first)),
            Figure("the machine's pace", _pace(last), "ms", peer="first month", peer_value=_pace(first)),
        ]


def _flat(what: str, unit: str, first: float, last: float) -> Figure:
    return Figure(f"{what}, last month", last, unit, target=first * FLAT, peer="first month", peer_value=first)


def _memory(month: list[Day], name: str) -> float:
    return median(day.memory[name] for day in month) / 1e6


def _stored(month: list[Day]) -> float:
    return (month[-1].stored - month[0].stored) / 1e6 / ((month[-1].messages - month[0].messages) / 1000)


def _elapsed(month: list[Day]) -> float:
    return median(one for day in month for one in day.elapsed_ms)


def _pace(month: list[Day]) -> float:
    return median(one for day in month for one in day.pace_ms)


def _paced(month: list[Day]) -> float:
    """How many times as long as what is always the same: each message by what was measured just before it."""
    return median(one / pace for day in month for one, pace in zip(day.elapsed_ms, day.pace_ms, strict=True))
