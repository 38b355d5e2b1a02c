"""How many wrong tokens, or signatures, an address may show in a minute; the next are turned away with the time to wait.

A token is looked at before its sender is turned away, so that a right one gets in from an address that others share and
abuse: a gateway's, or that of this machine, where all employees live. Nobody guesses 256 random bits; what the bound ends is
the noise of a program with a wrong token, of which the log tells.
"""

import ipaddress
import logging
import time
from collections import Counter
from contextvars import ContextVar

from controlplane.errors import ControlError, Exhausted

log = logging.getLogger(__name__)

PER_MINUTE = 60
MAX_ADDRESSES = 10_000
"""Whose failures are counted apart; those of more count as one."""
WINDOW_SECONDS = 60.0
PEER: ContextVar[str] = ContextVar("empla_peer", default="")
"""The address of who makes the call or request that is being handled; '' when it came through a socket of this machine."""


class Attempts:
    """The failures of the last minute, by address."""

    def __init__(self, most: int = PER_MINUTE, *, what: str = "tokens") -> None:
        self._most, self._what = most, what
        self._failures: Counter[str] = Counter()
        self._ends = time.monotonic() + WINDOW_SECONDS

    def refusal(self, error: ControlError, *, at: str = "") -> ControlError:
        """What to answer a wrong token of this moment's peer with: `error`, or `Exhausted` after too many.

        `at` names one of several doors, of which each counts for itself.
        """
        now, whose = time.monotonic(), f"{_whose(PEER.get())}{at and f' at {at}'}"
        if now >= self._ends:
            self._failures.clear()
            self._ends = now + WINDOW_SECONDS
        if whose not in self._failures and len(self._failures) >= MAX_ADDRESSES:
            whose = "the others"
        self._failures[whose] += 1
        if self._failures[whose] <= self._most:
            return error
        if self._failures[whose] == self._most + 1:
            log.warning("%s shows wrong %s, over %d in a minute; it is told to wait", whose, self._what, self._most)
        wait = self._ends - now
        reason = f"TOO_MANY_WRONG_{self._what.upper()}"
        return Exhausted(f"too many wrong {self._what} came from {whose}", reason=reason, retry_after=wait)


def _whose(peer: str) -> str:
    """What is counted as one: an address, or of IPv6 the network of 64 bits that one machine has."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer or "this machine"
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))
