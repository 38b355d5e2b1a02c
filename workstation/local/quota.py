"""An advisory quota: we count what we write, and measure again when that seems too much."""

import threading
from collections.abc import Callable

from workstation.errors import QuotaExceeded
from workstation.local.threads import Stop
from workstation.paths import encode


class AdvisoryQuota:
    """Keeps our own writes within `limit` bytes on disk (None: no limit).

    What jailed programs write is noticed when the tree is next measured: at first use, and whenever the count says
    full. While a file is replaced, both it and its successor count.
    """

    def __init__(self, limit: int | None, measure: Callable[[Stop], int]) -> None:
        self.limit = limit
        self._measure = measure
        self._used: int | None = None
        self._lock = threading.Lock()

    def take(self, count: int, path: bytes, stop: Stop) -> None:
        """Claim `count` bytes before writing them at `path`; raises `QuotaExceeded`. Call it in a thread."""
        if self.limit is None:
            return
        with self._lock:
            if self._used is None or self._used + count > self.limit:
                self._used = self._measure(stop)
            if self._used + count > self.limit:
                shown = encode(path)
                raise QuotaExceeded(f"no room for {count} bytes more within {self.limit}: {shown}", path=shown)
            self._used += count

    def give(self, count: int) -> None:
        """Return bytes that were freed, or claimed and not written."""
        with self._lock:
            if self._used is not None:
                self._used = max(0, self._used - count)

    def forget(self) -> None:
        """Measure again before the next claim, for after a change whose size is unknown."""
        with self._lock:
            self._used = None
