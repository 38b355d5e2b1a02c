"""What a program wrote, kept by byte offset within a bound, for any number of readers."""

import asyncio

from workstation.errors import OutputExpired

_SLACK = 64 << 10
"""Let go of this much at a time: each time moves all that is kept."""


class Retained:
    """One stream of output: all of it is counted, the last `most` bytes (and a little more) are kept."""

    def __init__(self, target: str, stream: str, most: int) -> None:
        self._target, self._stream, self._most = target, stream, most
        self._data = bytearray()
        self.end = 0

    @property
    def start(self) -> int:
        """The offset of the first byte that is kept."""
        return self.end - len(self._data)

    def add(self, data: bytes) -> None:
        """Keep more, and let go of what is oldest."""
        self._data += data
        self.end += len(data)
        if len(self._data) > self._most + _SLACK:
            del self._data[: -self._most]

    def read(self, offset: int, most: int) -> bytes:
        """Bytes from `offset`, at most `most` of them; raises `OutputExpired` when they are no longer kept."""
        first = offset - self.start
        if first < 0:
            raise OutputExpired(
                f"{self._stream} of {self._target} is kept from byte {self.start} on, not from {offset}",
                target=self._target,
                stream=self._stream,
                earliest=self.start,
            )
        return bytes(self._data[first : first + most])


class News:
    """Wakes everybody who waits when something happened."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Something happened."""
        self._next.set()
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """What will be set when something happens from now on; take it before looking at how things stand."""
        return self._next
