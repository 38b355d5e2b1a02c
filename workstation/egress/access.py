"""The access log: one entry for each request and each tunnel, bound to the trace that it belongs to."""

import logging
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from empla.telemetry import trace_id

_log = logging.getLogger("workstation.egress")


class Outcome(StrEnum):
    """How a request ended: served, refused by the rules or as no valid request, failed on its way, or cut off at a limit."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    FAILED = "failed"
    LIMITED = "limited"


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """One request or tunnel. Paths, queries, headers and credentials are in none of the fields.

    Attributes:
        time: when its head had come.
        client: whose door it came in by.
        trace: the W3C `traceparent` it belongs to, or ''.
        host: the host asked for in its canonical spelling; '' where the request named none.
        address: the IP address that was connected to, or ''.
        rule: the domain of the rule that allowed it, or ''.
        reason: why it did not end as the client wanted and what can be done about it, or ''.
        status: the status that the client was given; 0: none.
        bytes_up: bytes of the request's body or of the tunnel, towards the host.
        bytes_down: bytes of the answer's body or of the tunnel, towards the client.
    """

    time: datetime
    client: str
    trace: str
    method: str
    host: str
    port: int
    address: str
    rule: str
    outcome: Outcome
    reason: str
    status: int
    bytes_up: int
    bytes_down: int
    seconds: float

    def log(self) -> None:
        """Write the entry as one line."""
        fields = asdict(self)
        del fields["time"], fields["trace"]  # the line has its own time, and ids in place of the traceparent
        extra = fields | _ids(self.trace)
        _log.info("%s %s:%d %s", self.method, self.host, self.port, self.outcome, extra=extra)


def _ids(trace: str) -> dict[str, str]:
    found = trace_id(trace)
    return {"trace_id": found, "span_id": trace.split("-")[2]} if found else {}
