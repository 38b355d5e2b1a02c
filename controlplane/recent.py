"""How often something happened to each employee of late."""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from uuid import UUID

MOST = 100


class Recent:
    """Counts what happened within the last `seconds`, up to 100 for each employee."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._times: defaultdict[UUID, deque[float]] = defaultdict(lambda: deque(maxlen=MOST))

    def add(self, employee_id: UUID) -> None:
        """It has happened."""
        self._times[employee_id].append(self._clock())

    def count(self, employee_id: UUID) -> int:
        """How often; what is older is forgotten."""
        if (times := self._times.get(employee_id)) is None:
            return 0
        while times and times[0] < self._clock() - self._seconds:
            times.popleft()
        if not times:
            del self._times[employee_id]
        return len(times)
