"""What is read once and kept warm until the table it is from may have changed."""

from collections.abc import Awaitable, Callable

from empla.store.connect import AnyConnection


class Kept[T]:
    """The answer of `read`, which is asked again after `reread`; it reads over the connection that it is given, if it is."""

    def __init__(self, read: Callable[[AnyConnection | None], Awaitable[T]]) -> None:
        self._read = read
        self.held: T | None = None
        self._reading: object = None

    def reread(self) -> None:
        """Read anew before it is next used; what is being read at this moment is not kept."""
        self.held = self._reading = None

    async def get(self, connection: AnyConnection | None = None) -> T:
        """What was read, within the caller's transaction where there is a `connection`; raises what `read` does."""
        if self.held is not None:
            return self.held
        self._reading = reading = object()
        held = await self._read(connection)
        if self._reading is reading:
            self.held = held
        return held
