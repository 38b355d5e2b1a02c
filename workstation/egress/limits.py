"""The bounds of the proxy."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EgressLimits:
    """How much of everything one door of the proxy gives; times are in seconds.

    Attributes:
        connections: clients served at a time; others wait in the backlog of their listener.
        connect_seconds: looking up a name and connecting to one of its addresses, together.
        head_seconds: from the first byte of a request's head to its last.
        answer_seconds: from the sent request to the last byte of the answer's head.
        idle_seconds: without a byte in either direction, or between two requests of a client.
        tunnel_idle_seconds: the same for tunnels and WebSockets.
        total_seconds: one request or tunnel from its head to its end.
        head_bytes: the head of a request or of an answer.
        request_bytes: what one request, or one tunnel, sends.
        response_bytes: what one answer, or one tunnel, gives.
        door_bytes: what all requests of a door send and get; None: no bound.
    """

    connections: int = 64
    connect_seconds: float = 10
    head_seconds: float = 10
    answer_seconds: float = 60
    idle_seconds: float = 60
    tunnel_idle_seconds: float = 120
    total_seconds: float = 3600
    head_bytes: int = 64 << 10
    request_bytes: int = 256 << 20
    response_bytes: int = 1 << 30
    door_bytes: int | None = None
