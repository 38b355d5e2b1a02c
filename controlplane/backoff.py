"""When an employee whose launch failed, or whose process died, is launched again; and why it ended."""

import random
import signal
import time
from dataclasses import dataclass

BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 60.0
MAX_DOUBLINGS = 10
"""With so many the wait is over its maximum."""
STEADY_SECONDS = 60.0
"""A process that lived this long starts over with no back-off."""
CRASH_LOOP = 8
"""So many failures of the employee's own, with no steady life between them, and it is tried rarely."""
RARELY_SECONDS = 300.0
OUT_OF_MEMORY = 5
"""How an employee ends that has no memory left, if it notices that itself."""
_EXIT_CODES = {3: "superseded by a newer launch", 4: "refused by the control plane", OUT_OF_MEMORY: "out of memory"}


@dataclass
class Backoff:
    """When something that failed may be tried again; times are monotonic."""

    failures: int = 0
    own: int = 0
    """Those of the failures that are of its own making."""
    not_before: float = 0.0

    @property
    def crash_looping(self) -> bool:
        """Whether it fails again and again by itself; one steady life, or an operator's start, ends that."""
        return self.own >= CRASH_LOOP

    def failed(self, *, lived: float = 0.0, own: bool = True) -> None:
        """The first further try comes at once, each later one after twice the wait, with jitter; in a crash loop, rarely.

        What is not its `own` failure, but the machine's or the database's, makes it wait and never a crash loop.
        """
        if lived > STEADY_SECONDS:
            self.reset()
        wait = BACKOFF_SECONDS * 2 ** min(self.failures, MAX_DOUBLINGS) if self.failures else 0.0
        self.failures += 1
        self.own += own
        wait = 2 * RARELY_SECONDS if self.crash_looping else min(MAX_BACKOFF_SECONDS, wait)
        jitter = random.uniform(0.5, 1)  # noqa: S311 - nothing to guess here
        self.not_before = time.monotonic() + wait * jitter

    def reset(self) -> None:
        """Forget what failed."""
        self.failures, self.own, self.not_before = 0, 0, 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The last time that an employee ended, or failed to start, without being asked; `at` is monotonic."""

    reason: str
    at: float


def is_own(code: int | None, *, used_up: bool = False) -> bool:
    """Whether a process ended by itself: nobody knows of None, and SIGKILL is others' doing unless memory was used up."""
    return used_up or code not in (None, -signal.SIGKILL)


def exit_reason(code: int | None, *, used_up: bool = False) -> str:
    """An exit code in words; negative ones are signals, None is one that nobody knows. `used_up`: its memory was."""
    if used_up and code == -signal.SIGKILL:
        return "out of memory"
    if code is None:
        return "gone with the process that it was forked from"
    if code < 0:
        known = {number.value: number.name for number in signal.Signals}
        return f"killed by {known.get(-code, f'signal {-code}')}"
    return _EXIT_CODES.get(code, f"exit code {code}")
