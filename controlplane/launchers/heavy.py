"""Employees that keep processors busy: their control groups come behind everybody else's, and forward again.

Nobody waits then for one that spins, whatever it does with what nobody wants. Its sessions in the database are not in its
group: see `empla.store.heavy`. Where a process has no group of its own, or the kernel ranks none, nothing happens.
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

LOOK_SECONDS = 1.0
HEAVY = 0.5
"""Processors that a group uses, from which on it comes behind."""
LIGHT = 0.2
"""Processors it must want less than, got or not, to come forward again."""
_RANKS = (("cpu.idle", "1", "0"), ("cpu.weight", "1", "100"), ("cpu.shares", "2", "1024"))
"""What ranks a group, with its value behind and as usual: before Linux 5.15 no group gets just what is left."""


@dataclass(slots=True)
class _Group:
    """The control group of one launch; times are in nanoseconds."""

    usage: Path
    rank: Path
    last: str
    usual: str
    used: int
    looked: int
    wanted: int = 0
    """What its processes used and waited for, known only of one that is behind."""
    behind: bool = False


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
        usage = _first(places, "cpuacct.usage") or _first(
            places, "cpu.stat"
        )  # version 1 has the other too, with less in it
        for name, last, usual in _RANKS:
            if usage and (rank := _first(places, name)):
                behind = rank.read_text().strip() == last  # an earlier control plane's doing
                return _Group(usage, rank, last, usual, _used(usage), time.monotonic_ns(), behind=behind)
        return None


def _first(places: Sequence[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).exists()), None)


def _judge(group: _Group) -> None:
    now, used = time.monotonic_ns(), _used(group.usage)
    elapsed, ran = now - group.looked, used - group.used
    group.looked, group.used = now, used
    if not group.behind:
        if ran >= HEAVY * elapsed:
            group.rank.write_text(group.last)
            group.behind, group.wanted = True, _wanted(group)
        return
    before, group.wanted = group.wanted, _wanted(group)
    if before and group.wanted - before < LIGHT * elapsed:
        group.rank.write_text(group.usual)
        group.behind, group.wanted = False, 0


def _used(usage: Path) -> int:
    text = usage.read_text()
    return int(text) if usage.name == "cpuacct.usage" else 1000 * int(text.split()[1])  # its first line is usage_usec


def _wanted(group: _Group) -> int:
    """On a processor, and waiting for one, since they began: of all threads in the group that are there now."""
    total = 0
    for pid in (group.rank.parent / "cgroup.procs").read_text().split():
        with suppress(OSError):  # it has ended
            for thread in Path(f"/proc/{pid}/task").iterdir():
                ran, waited, _ = map(int, (thread / "schedstat").read_text().split())
                total += ran + waited
    return total
