"""Text that fits a model: whole characters, and of what is long its beginning and its end."""

from collections.abc import Callable


def whole_characters(data: bytes) -> bytes:
    """Drop a UTF-8 character that the cut at the end went through, so that the next piece begins with it."""
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] & 0xC0 != 0x80:  # where the last character starts
            needs = 4 if data[-back] >= 0xF0 else 3 if data[-back] >= 0xE0 else 2 if data[-back] >= 0xC0 else 1
            return data[:-back] if needs > back else data
    return data


class Excerpt:
    """Takes a stream of any length and keeps its first `head` bytes and its last `tail`."""

    def __init__(self, *, head: int, tail: int) -> None:
        self._most_head, self._most_tail = head, tail
        self._head, self._tail = bytearray(), bytearray()
        self.end = 0

    def add(self, data: bytes, offset: int | None = None) -> None:
        """Take what comes next; with a later `offset`, something before it is missing."""
        if offset is not None and offset > self.end:
            self._tail.clear()
            self.end = offset
        room = self._most_head - len(self._head) if self.end == len(self._head) else 0
        self._head += data[:room]
        self._tail += data[room:]
        self.end += len(data)
        if len(self._tail) > 2 * self._most_tail:  # not at each piece: it moves all that is kept
            del self._tail[: -self._most_tail]

    def text(self, go_on: Callable[[int, int], str]) -> str:
        """What is kept, and where something is missing `go_on(bytes, offset)`: how much, and from where on."""
        if self.end == len(self._head) + len(self._tail) <= self._most_head + self._most_tail:
            return _text(self._head + self._tail)
        head = whole_characters(bytes(self._head))
        tail = _from_character(bytes(self._tail[-self._most_tail :]))
        missing = self.end - len(head) - len(tail)
        return f"{_text(head)}\n… {go_on(missing, len(head))} …\n{_text(tail)}"


def _from_character(data: bytes) -> bytes:
    """Without the rest of a character that the cut at the start went through."""
    rest = data[:3].lstrip(bytes(range(0x80, 0xC0)))
    return rest + data[3:]


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "replace")
