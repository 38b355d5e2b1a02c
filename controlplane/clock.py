"""The database's clock, which decides what several machines share, as it was last heard."""

import time
from datetime import UTC, datetime

SKEW_SECONDS = 10.0
"""A clock that is further off than this is worth telling: from here on what two clocks say of one moment goes wrong."""
_SLOW_SECONDS = 2.0
"""An answer that took longer says too little."""


class DatabaseClock:
    """Tells the database's time by a clock that nobody sets; until it was heard, this machine's."""

    def __init__(self) -> None:
        self._ahead: float | None = None

    def heard(self, moment: float, began: float) -> None:
        """The database showed `moment` (Unix time) between `began` (monotonic) and now."""
        ended = time.monotonic()
        if ended - began < _SLOW_SECONDS:
            self._ahead = moment - (began + ended) / 2

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time() if self._ahead is None else self._ahead + time.monotonic()

    def now(self) -> datetime:
        """The same as a moment of UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    @property
    def skew(self) -> float:
        """By how many seconds this machine's clock is ahead."""
        return time.time() - self.time()


def said(skew: float) -> str:
    """How far a clock is off, in words."""
    return f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the database's"
