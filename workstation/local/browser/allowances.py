"""What was allowed for a while, though it may not be done else."""

import time

from workstation.errors import InvalidArgument

MOST_SECONDS = 300.0
_KEPT = 100


class Allowances:
    """Allowances that lapse by themselves; of very many, the oldest lapses first."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, ...], float] = {}

    def allow(self, what: tuple[str, ...], seconds: float) -> None:
        """Allow it from now on. Raises `InvalidArgument`."""
        if not 0 < seconds <= MOST_SECONDS:
            raise InvalidArgument(
                f"something is allowed for more than 0 and at most {MOST_SECONDS:g} s, not {seconds:g}"
            )
        self._until.pop(what, None)
        self._until[what] = time.monotonic() + seconds
        if len(self._until) > _KEPT:
            del self._until[next(iter(self._until))]

    def __contains__(self, what: tuple[str, ...]) -> bool:
        return time.monotonic() < self._until.get(what, 0.0)
