"""What goes on through a restart of the control plane."""

import time
from collections.abc import Callable, Generator, Iterator

from controlplane.cli.errors import Failure, Unreachable

OUTAGE_SECONDS = 30.0
"""How long a control plane may be away in the middle: about what a restart takes, and then some."""
_RETRY_SECONDS = 0.5


def lasting[T](begin: Callable[[], Iterator[T]], *, patient: bool) -> Generator[T]:
    """What `begin` gives, begun again while the control plane is away for less than that.

    Unless `patient`, it must be there at first. Raises what `begin` raises when it is away for longer.
    """
    give_up_at = time.monotonic() + (OUTAGE_SECONDS if patient else 0)
    while True:
        try:
            for item in begin():
                give_up_at = time.monotonic() + OUTAGE_SECONDS
                yield item
        except Failure as error:
            away = isinstance(error, Unreachable) or error.retry_after is not None
            if not away or time.monotonic() > give_up_at:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return
