"""Employees that keep processors busy: their control groups come behind everybody else's, and forward again.

Nobody waits then for one that spins. Its sessions in the database are not in its group: see `empla.store.heavy`. Where a
process has no group of its own nothing happens.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

from controlplane.launchers.bounds import BoundsRecords
from controlplane.rounds import every

LOOK_SECONDS = 2.0
HEAVY = 0.5
"""Processors that a group uses, from which on it comes behind."""
LIGHT = 0.2
"""Processors it must want less than, got or not, to come forward again."""
_RANKS = (
    ("cpu.idle", "1", "0"),  # since Linux 5.15
    ("cpu.cfs_quota_us", "20000", "-1"),  # of 100 ms
    ("cpu.max", "20000 100000", "max 100000"),
)
"""Files of a group with what is in them when it is behind, and as usual. What gets only what is left still costs the others
half as much again in latency when it takes a whole processor; a fifth of one they do not notice."""


@dataclass(slots=True)
class _Group:
    """The control group of one launch; times are in nanoseconds."""

    usage: Path
    ranks: list[tuple[Path, str, str]]
    used: int
    looked: int
    wanted: int = 0
    """What its processes used and waited for, known only of one that is behind."""
    behind: bool = False

    def put(self, *, behind: bool) -> None:
        """Rank it; raises OSError."""
        for path, last, usual in self.ranks:
            path.write_text(last if behind else usual)
        self.behind = behind


class HeavyEmployees:
    """Ranks the employees whose notes of what bounds them lie below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._records = BoundsRecords(directory)
        self._groups: dict[tuple[UUID, int], _Group | None] = {}

    async def keep_ranked(self) -> None:
        """Rank them again and again; runs until cancelled."""
        await every(LOOK_SECONDS, partial(asyncio.to_thread, self.look), name="ranking employees")

    def look(self) -> None:
        """Rank by what was used since the last look; raises OSError when the notes cannot be listed."""
        there = self._records.written()
        self._groups = {key: group for key, group in self._groups.items() if key in there}
        for employee_id, written in there:
            key = employee_id, written
            with suppress(OSError, ValueError):  # it has ended
                if key not in self._groups:
                    self._groups[key] = self._found(employee_id)
                if group := self._groups[key]:
                    _judge(group)

    def _found(self, employee_id: UUID) -> _Group | None:
        bound = self._records.of(employee_id)
        places = bound.own_groups(employee_id) if bound else []
        # Version 1 of control groups has a cpu.stat as well, with less in it.
        usage = _first(places, "cpuacct.usage") or _first(places, "cpu.stat")
        ranks = [(path, last, usual) for name, last, usual in _RANKS if (path := _first(places, name))]
        if not usage or not ranks:
            return None
        behind = any(path.read_text().strip() == last for path, last, _ in ranks)  # an earlier control plane's doing
        return _Group(usage, ranks, _used(usage), time.monotonic_ns(), behind=behind)


def _first(places: Sequence[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).exists()), None)


def _judge(group: _Group) -> None:
    now, used = time.monotonic_ns(), _used(group.usage)
    elapsed, ran = now - group.looked, used - group.used
    group.looked, group.used = now, used
    if not group.behind:
        if ran >= HEAVY * elapsed:
            group.put(behind=True)
            group.wanted = _wanted(group)
        return
    before, group.wanted = group.wanted, _wanted(group)
    if before and group.wanted - before < LIGHT * elapsed:
        group.put(behind=False)


def _used(usage: Path) -> int:
    text = usage.read_text()
    return int(text) if usage.name == "cpuacct.usage" else 1000 * int(text.split()[1])  # its first line is usage_usec


def _wanted(group: _Group) -> int:
    """On a processor, and waiting for one, since they began: of all threads in the group that are there now."""
    total = 0
    for pid in (group.usage.parent / "cgroup.procs").read_text().split():
        with suppress(OSError):  # it has ended
            for thread in Path(f"/proc/{pid}/task").iterdir():
                ran, waited, _ = map(int, (thread / "schedstat").read_text().split())
                total += ran + waited
    return total
