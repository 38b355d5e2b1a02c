"""Identifiers that sort by the time they were made (UUID version 7, RFC 9562)."""

import secrets
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last = 0


def new_id() -> UUID:
    """Return a new UUIDv7; within one process each is greater than the one before, also when the clock steps back."""
    tick = _next_tick()
    high = (tick >> 12) << 16 | 0x7 << 12 | tick & 0xFFF
    low = 0b10 << 62 | secrets.randbits(62)
    return UUID(int=high << 64 | low)


def _next_tick() -> int:
    """Return 48 bits of milliseconds and 12 bits of their fraction (RFC 9562, 6.2, method 3), always rising."""
    global _last  # noqa: PLW0603 - the order of ids is a property of the process
    now = time.time_ns()
    tick = (now // 1_000_000) << 12 | (now % 1_000_000 << 12) // 1_000_000
    with _lock:
        _last = max(_last + 1, tick)
        return _last
