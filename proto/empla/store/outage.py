"""An outage of the database as a log tells it: once when it begins and once when it is over."""

import logging

from empla.store.errors import StoreUnavailable


class Outage:
    """What one thing that waits for the database says of it; `waiting` names that thing, as in "a transition"."""

    def __init__(self, log: logging.Logger, waiting: str) -> None:
        self._log, self._waiting, self._lasts = log, waiting, False

    def lasts(self, error: StoreUnavailable) -> None:
        """The database is away, as it may have been before."""
        if not self._lasts:
            self._log.warning("the database is away, %s waits: %s", self._waiting, error)
        self._lasts = True

    def over(self) -> None:
        """The database has answered."""
        if self._lasts:
            self._log.info("the database is back, %s goes on", self._waiting)
        self._lasts = False
