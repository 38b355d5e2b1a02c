"""Something that takes long to make, made in a thread when it is first needed."""

import asyncio
from collections.abc import Callable


class Lazy[T]:
    """Holds what `make` returns; `made` is None until then. A client of an SDK reads certificates and metadata files."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = asyncio.Lock()
        self.made: T | None = None

    async def get(self) -> T:
        """The one object, made on the first call; several callers at once wait for the same one."""
        async with self._lock:
            if self.made is None:
                self.made = await asyncio.to_thread(self._make)
            return self.made
