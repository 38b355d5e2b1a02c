"""When an employee whose launch failed, or whose process died, is launched again."""

import random
import time
from dataclasses import dataclass

BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 60.0
MAX_DOUBLINGS = 10
"""With so many the wait is over its maximum."""
STEADY_SECONDS = 60.0
"""A process that lived this long starts over with no back-off."""


@dataclass
class Backoff:
    """When something that failed may be tried again; times are monotonic."""

    failures: int = 0
    not_before: float = 0.0

    def failed(self, *, lived: float = 0.0) -> None:
        """The first further try comes at once, each later one after twice the wait, with jitter."""
        if lived > STEADY_SECONDS:
            self.failures = 0
        wait = BACKOFF_SECONDS * 2 ** min(self.failures, MAX_DOUBLINGS) if self.failures else 0.0
        self.failures += 1
        jitter = random.uniform(0.5, 1)  # noqa: S311 - nothing to guess here
        self.not_before = time.monotonic() + min(MAX_BACKOFF_SECONDS, wait) * jitter

    def reset(self) -> None:
        """Forget what failed."""
        self.failures, self.not_before = 0, 0.0
