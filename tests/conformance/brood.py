"""The processes that a test started: which there are, and whether they are all gone in the end."""

import asyncio
import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

type Process = tuple[int, int, str]
"""Its id, when it started, and its name: ids are used again, the three together are not."""

_GOING_SECONDS = 10.0


class Brood:
    """All that descends from the tests' own process, and what once did."""

    def __init__(self) -> None:
        self._before = set(_descendants())
        self.seen: set[Process] = set()

    def look(self) -> set[Process]:
        """What is there now that was not there in the beginning."""
        now = set(_descendants()) - self._before
        self.seen |= now
        return now

    def named(self, name: str) -> list[int]:
        """Ids of those there are now by a part of their name, in the order of their start."""
        found = sorted((started, pid) for pid, started, called in self.look() if name in called)
        return [pid for _, pid in found]

    async def left(self) -> set[Process]:
        """What of all that was seen is still there after it had time to go."""
        for _ in range(int(_GOING_SECONDS / 0.05)):
            self.look()
            if not (left := {process for process in self.seen if _process(process[0])[1] == process}):
                break
            await asyncio.sleep(0.05)
        return left


def command(pid: int) -> str:
    """The command line of a process, '' when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _descendants() -> list[Process]:
    children: dict[int, list[Process]] = defaultdict(list)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        parent, process = _process(int(pid))
        if process is not None:
            children[parent].append(process)
    found = list(children[os.getpid()])
    for process in found:  # grows while it is walked
        found += children[process[0]]
    return found


def _process(pid: int) -> tuple[int, Process | None]:
    """Its parent and itself, None when it is gone or a mere entry that nobody has waited for yet."""
    with suppress(OSError):
        name, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
        fields = rest.split()
        if fields[0] not in "ZX":
            return int(fields[1]), (pid, int(fields[19]), name.partition("(")[2])
    return 0, None
