"""Programs of the operating system, run to their end within a time limit."""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from controlplane.errors import LaunchFailed

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
"""Root's programs, from where packages put them."""
MAX_MESSAGE = 2000


async def run(*command: str | Path, seconds: float) -> None:
    """Run a program; raises `LaunchFailed` when it is missing, fails, or is not done in time and killed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=ENVIRONMENT
        )
    except OSError as error:
        raise LaunchFailed(f"{command[0]} does not run: {error}") from error
    try:
        async with asyncio.timeout(seconds):
            complaint = await _all_of(process.stderr)
            code = await process.wait()
    except TimeoutError as error:
        raise LaunchFailed(f"{command[0]} was not done after {seconds:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        raise LaunchFailed(f"{command[0]} ended with {code}: {complaint}")


async def _all_of(stream: asyncio.StreamReader | None) -> str:
    """Read to the end, and keep the beginning: a program may complain about each of many files."""
    assert stream is not None
    kept = b""
    while piece := await stream.read(1 << 16):
        kept = (kept + piece)[:MAX_MESSAGE]
    return " ".join(kept.decode(errors="replace").split())
