"""What came in by one door: who is behind it, what is under way, and what it came to."""

from collections import deque
from typing import Protocol

from workstation.egress.access import Access, Outcome
from workstation.egress.endings import limited
from workstation.egress.limits import EgressLimits
from workstation.egress.policy import EgressPolicy

_KEPT = 256


class Passing(Protocol):
    """A request or tunnel under way."""

    def recheck(self, policy: EgressPolicy) -> None:
        """End unless the policy still allows it."""
        ...


class Account:
    """Counts of one client, and its entries in the access log.

    Attributes:
        client: who it is, for the log.
        trace: the W3C `traceparent` that requests from now on belong to.
        refusals: the latest entries that were refused; `failures` those that failed or came to a limit.
        requests: how many requests and tunnels ended, `refused` of them refused.
        bytes_up: bytes sent so far, those of requests under way included; `bytes_down` likewise what was given.
    """

    def __init__(self, client: str, limits: EgressLimits) -> None:
        self.client, self.limits = client, limits
        self.trace = ""
        self.refusals: deque[Access] = deque(maxlen=_KEPT)
        self.failures: deque[Access] = deque(maxlen=_KEPT)
        self.requests = self.refused = self.bytes_up = self.bytes_down = 0
        self.passing: set[Passing] = set()

    def check(self) -> None:
        """Raise `Ending` when the door has had all bytes that it may have."""
        most = self.limits.door_bytes
        if most is not None and self.bytes_up + self.bytes_down >= most:
            raise limited(503, f"{self.client} has used up its {most} bytes")

    def count(self, up: int, down: int) -> None:
        """Add bytes that are about to pass; raises `Ending` when there are none left."""
        self.check()
        self.bytes_up += up
        self.bytes_down += down

    def record(self, access: Access) -> None:
        """Write an entry, once its request has ended."""
        self.requests += 1
        if access.outcome is Outcome.REFUSED:
            self.refused += 1
            self.refusals.append(access)
        elif access.outcome is not Outcome.ALLOWED:
            self.failures.append(access)
        access.log()

    def recheck(self, policy: EgressPolicy) -> None:
        """End what is under way and no longer allowed."""
        for passing in tuple(self.passing):
            passing.recheck(policy)
