"""Events that a model refused to read: they are shown to it again later, for a while."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

AGAIN_SECONDS = 3600.0
MAX_AGE = timedelta(days=1)
"""Of an event that is kept: then it is let be unread."""
MAX_KEPT = 500


class Unread:
    """The events of one launch that wait to be read; the next launch has them read at once."""

    def __init__(self) -> None:
        self._due: dict[int, float] = {}

    def waiting(self) -> list[int]:
        """Those that are not due again yet."""
        now = time.monotonic()
        return [event_id for event_id, due in self._due.items() if due > now]

    def keep(self, happened_at: Mapping[int, datetime]) -> set[int]:
        """Keep those of these events for later that are not too old, if there are not too many; which."""
        since, due = datetime.now(UTC) - MAX_AGE, time.monotonic() + AGAIN_SECONDS
        waiting = {event_id: self._due[event_id] for event_id in self.waiting()}
        young = [event_id for event_id, at in happened_at.items() if at > since]
        kept = dict.fromkeys(young[: MAX_KEPT - len(waiting)], due)
        self._due = waiting | kept
        return set(kept)
