"""What is read once and kept warm until the table it is from may have changed."""

from collections.abc import Awaitable, Callable


class Kept[T]:
    """The answer of `read`, which is asked again after `reread`."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._held: T | None = None
        self._reading: object = None

    def reread(self) -> None:
        """Read anew before it is next used; what is being read at this moment is not kept."""
        self._held = self._reading = None

    async def get(self) -> T:
        """What was read; raises what `read` does."""
        if self._held is not None:
            return self._held
        self._reading = reading = object()
        held = await self._read()
        if self._reading is reading:
            self._held = held
        return held
