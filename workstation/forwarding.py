"""A workstation's Protocol whose calls go to whatever fulfils it at that moment."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any


class Forwarding:
    """Each call of a method of `protocol` asks `here` for the object to make it on, and raises what asking raises."""

    def __init__(self, protocol: type, here: Callable[[], Awaitable[Any]]) -> None:
        self._protocol, self._here = protocol, here

    def __getattr__(self, name: str) -> Any:
        answers_once = inspect.iscoroutinefunction(getattr(self._protocol, name))
        return partial(self._ask if answers_once else self._stream, name)

    async def _ask(self, name: str, /, *arguments: Any, **named: Any) -> Any:
        return await getattr(await self._here(), name)(*arguments, **named)

    async def _stream(self, name: str, /, *arguments: Any, **named: Any) -> AsyncGenerator[Any]:
        async with aclosing(getattr(await self._here(), name)(*arguments, **named)) as items:
            async for item in items:
                yield item
