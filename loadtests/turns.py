"""Things that are compared take turns, so that a busy moment of the machine meets all of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

type Operation = Callable[[], Awaitable[object]]


async def take_turns(operations: Mapping[str, Operation], rounds: int, *, pause: float = 0.0) -> dict[str, list[float]]:
    """The milliseconds of each operation in each round, after one round that warms up; `pause` in seconds before each."""
    taken: dict[str, list[float]] = {name: [] for name in operations}
    for number in range(rounds + 1):
        for name, operation in operations.items():
            await asyncio.sleep(pause)
            milliseconds = await timed(operation)
            if number:
                taken[name].append(milliseconds)
    return taken


async def timed(operation: Operation) -> float:
    """The milliseconds it takes."""
    before = time.perf_counter()
    await operation()
    return (time.perf_counter() - before) * 1000
