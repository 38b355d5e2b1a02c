"""Roles that make the server work hard: their sessions come behind everybody else's at the processor.

Each session is a process of the server's, so a dozen busy ones take a dozen shares of the processors: neither the control
group nor the niceness of who opened them reaches those. Where the kernel does not show or rank processes, nothing happens.
"""

import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HEAVY = 0.5
"""Processors that the sessions of one role use together, from which on they come behind."""
LIGHT = 0.2
"""Processors they must want less than, got or not, to come forward again."""
BEHIND = 15
"""How nice they are then. Not as nice as can be: one may hold a lock that others wait for."""


@dataclass(slots=True)
class _Session:
    role: str
    ran: int = 0
    wanted: int = 0
    behind: bool = False


class HeavyRoles:
    """Ranks the sessions of roles whose names begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self._title = f"postgres: {prefix}"
        self._sessions: dict[int, _Session] = {}
        self._others: set[int] = set()
        self._behind: set[str] = set()
        self._looked: int | None = None

    def look(self, server: int) -> None:
        """Rank by what was used since the last look; `server` is the process that all sessions are children of.

        Raises OSError where the kernel does not show them.
        """
        now = time.monotonic_ns()
        self._find(set(map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())))
        ran, wanted = self._used()
        if self._looked is not None:  # what was used before the first look has no measure
            elapsed = now - self._looked
            still = {role for role in self._behind if wanted[role] >= LIGHT * elapsed}
            self._behind = still | {role for role, used in ran.items() if used >= HEAVY * elapsed}
        self._looked = now
        for pid, session in self._sessions.items():
            behind = session.role in self._behind
            if session.behind != behind and _rank(pid, BEHIND if behind else 0):
                session.behind = behind

    def _find(self, pids: set[int]) -> None:
        self._others &= pids
        self._sessions = {pid: session for pid, session in self._sessions.items() if pid in pids}
        for pid in pids - self._others - self._sessions.keys():
            with suppress(OSError):  # it has ended
                title = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
                if title.startswith(self._title):
                    self._sessions[pid] = _Session(title.split()[1])
                elif title.startswith("postgres: "):  # before it has that, it may become anybody's
                    self._others.add(pid)

    def _used(self) -> tuple[Counter[str], Counter[str]]:
        """Nanoseconds since the last look, by role: on a processor, and with those of waiting for one."""
        ran: Counter[str] = Counter()
        wanted: Counter[str] = Counter()
        for pid, session in self._sessions.items():
            with suppress(OSError):
                on, waiting, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
                ran[session.role] += on - session.ran
                wanted[session.role] += on + waiting - session.wanted
                session.ran, session.wanted = on, on + waiting
        return ran, wanted


def _rank(pid: int, nice: int) -> bool:
    """Among the processes of its group, and its group, where each session is one, among the others; False: ask again.

    Only root makes a process less nice again; another account's stays behind until its session ends.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    except BlockingIOError:  # accounts but root may do it ten times a second
        return False
    except OSError:  # it has ended, or there are none
        return True
    return True
