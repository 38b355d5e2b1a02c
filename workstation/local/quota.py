"""An advisory quota: we count what we make, and measure again when that seems too much."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workstation.errors import QuotaExceeded
from workstation.local.threads import Stop
from workstation.paths import encode


class AdvisoryQuota:
    """Keeps what we make within so many bytes on disk and so many entries (None: no limit).

    What jailed programs make is noticed when the tree is next measured: at first use, and whenever the count says
    full. While something is replaced, both it and its successor count. Several calls at once may exceed the limit by
    what each has under way, for measuring sees only what is there.
    """

    def __init__(
        self, limit: int | None, measure: Callable[[Stop], tuple[int, int]], *, entries: int | None = None
    ) -> None:
        self._limit = limit
        self._entry_limit = entries
        self._measure = measure
        self._used: tuple[int, int] | None = None
        self._lock = threading.Lock()

    @contextmanager
    def claim(self, path: bytes, stop: Stop, *, count: int = 0, entries: int = 0) -> Iterator[None]:
        """As `take`, for a block that makes all of it or, if it raises, nothing."""
        self.take(count, path, stop, entries=entries)
        try:
            yield
        except BaseException:
            self.give(count, entries=entries)
            raise

    def take(self, count: int, path: bytes, stop: Stop, *, entries: int = 0) -> None:
        """Claim `count` bytes and some entries before making them at `path`; raises `QuotaExceeded`. Needs a thread."""
        if self._limit is None and self._entry_limit is None:
            return
        with self._lock:
            if self._used is None or self._lacks(self._used, count, entries):
                self._used = self._measure(stop)
            if lack := self._lacks(self._used, count, entries):
                shown = encode(path)
                raise QuotaExceeded(f"no room for {lack}: {shown}", path=shown)
            self._used = self._used[0] + count, self._used[1] + entries

    def give(self, count: int, *, entries: int = 0) -> None:
        """Return bytes and entries that were freed, or claimed and not made."""
        with self._lock:
            if self._used is not None:
                self._used = max(0, self._used[0] - count), max(0, self._used[1] - entries)

    def forget(self) -> None:
        """Measure again before the next claim, for after a change whose size is unknown."""
        with self._lock:
            self._used = None

    def _lacks(self, used: tuple[int, int], count: int, entries: int) -> str:
        """What there is no room for, in words; empty when it all fits."""
        if self._limit is not None and used[0] + count > self._limit:
            return f"{count} bytes more within {self._limit}"
        if self._entry_limit is not None and used[1] + entries > self._entry_limit:
            return f"another entry beside {used[1]} within {self._entry_limit}"
        return ""
