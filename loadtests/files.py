"""The workspace's files, beside the same bytes through the kernel alone."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

from loadtests.report import Figure, percentile
from loadtests.turns import take_turns
from workstation.local.files import LocalFileSystem

SMALL = 4 << 10
LARGE_MIB = 256
PIECE = bytes(1 << 20)


async def measure(directory: Path, reads: int, transfers: int) -> list[Figure]:
    async with LocalFileSystem(directory) as files:
        return [*await _small_reads(files, directory, reads), *await _transfers(files, directory, transfers)]


async def _small_reads(files: LocalFileSystem, directory: Path, reads: int) -> list[Figure]:
    await files.write("small", bytes(SMALL))
    path = directory / "small"

    async def bare() -> None:
        descriptor = os.open(path, os.O_RDONLY)
        os.read(descriptor, SMALL)
        os.close(descriptor)

    taken = await take_turns({"own": lambda: files.read_file("small"), "bare": bare}, reads)
    return [
        Figure(
            f"workspace read of 4 KiB, p{percent}",
            percentile(taken["own"], percent),
            "ms",
            target,
            peer="open, read, close",
            peer_value=percentile(taken["bare"], percent),
        )
        for percent, target in ((50, 0.1), (99, None))
    ]


async def _transfers(files: LocalFileSystem, directory: Path, transfers: int) -> list[Figure]:
    """Through the page cache, so that not the disk is measured."""
    path = directory / "bare"

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(LARGE_MIB):
            yield PIECE

    async def read() -> None:
        async for _ in files.read("large"):
            pass

    async def bare_write() -> None:
        path.unlink(missing_ok=True)
        with path.open("wb", buffering=0) as file:
            for _ in range(LARGE_MIB):
                file.write(PIECE)

    async def bare_read() -> None:
        with path.open("rb", buffering=0) as file:
            while file.read(len(PIECE)):
                pass

    operations = {
        "write": lambda: files.write("large", pieces(), durable=False),
        "bare write": bare_write,
        "read": read,
        "bare read": bare_read,
    }
    taken = await take_turns(operations, transfers)
    rates = {name: LARGE_MIB / percentile(milliseconds, 50) * 1000 for name, milliseconds in taken.items()}
    return [
        Figure(
            f"workspace streamed {verb} of {LARGE_MIB} MiB",
            rates[verb],
            "MiB/s",
            better="high",
            peer="plain file",
            peer_value=rates[f"bare {verb}"],
        )
        for verb in ("read", "write")
    ]
