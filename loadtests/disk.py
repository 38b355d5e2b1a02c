"""How long the disk takes to make a write durable while something else is measured: what no commit can be faster than."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

EVERY_SECONDS = 0.1
BLOCK = bytes(8192)


@asynccontextmanager
async def probing(directory: Path) -> AsyncIterator[list[float]]:
    """The milliseconds of each write of 8 KiB in `directory`, ten a second for the length of the block."""
    taken: list[float] = []
    descriptor = os.open(directory / "probe", os.O_WRONLY | os.O_CREAT, 0o600)
    os.pwrite(descriptor, BLOCK, 0)

    ended = asyncio.Event()

    async def probe() -> None:
        while not ended.is_set():
            taken.append(await asyncio.to_thread(_write, descriptor))
            await asyncio.sleep(EVERY_SECONDS)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(probe())
            yield taken
            ended.set()  # and not cancelled: a thread may be writing
    finally:
        os.close(descriptor)


def _write(descriptor: int) -> float:
    before = time.perf_counter()
    os.pwrite(descriptor, BLOCK, 0)
    os.fdatasync(descriptor)
    return (time.perf_counter() - before) * 1000
