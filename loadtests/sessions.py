"""Python sessions in the sandbox, beside a Jupyter kernel that no sandbox holds."""

import asyncio
import itertools
import time
from contextlib import ExitStack
from pathlib import Path

from loadtests import jupyter
from loadtests.report import Figure, percentile
from loadtests.turns import take_turns
from workstation.interface import Compute, RichResult, SessionSpec
from workstation.local.compute import LocalCompute

CODE = "1+1"
RESULT = b"2"
PAUSE_SECONDS = 1.0
"""Before each opening: so long has a warm jail to be built and to learn what a session needs."""
_numbers = itertools.count()


async def measure(directory: Path, runs: int, openings: int) -> list[Figure]:
    """The figures; raises `SandboxUnavailable`."""
    async with LocalCompute(directory) as warm, LocalCompute(directory, warm=0) as cold:
        return [*await _runs(warm, directory.parent, runs), *await _openings(warm, cold, directory.parent, openings)]


async def _runs(compute: LocalCompute, home: Path, runs: int) -> list[Figure]:
    session_id = await opened(compute)
    with ExitStack() as stack:
        kernel = stack.enter_context(jupyter.ready_kernel(home))
        taken = await take_turns({"own": lambda: run(compute, session_id), "jupyter": lambda: kernel.run(CODE)}, runs)
    await compute.close_session(session_id)
    return [
        Figure(
            f"{CODE} in an open session, p{percent}",
            percentile(taken["own"], percent),
            "ms",
            target,
            peer="Jupyter kernel",
            peer_value=percentile(taken["jupyter"], percent),
        )
        for percent, target in ((50, 1.0), (99, None))
    ]


async def _openings(warm: LocalCompute, cold: LocalCompute, home: Path, openings: int) -> list[Figure]:
    """From nothing to the first result; closing is not part of what is measured."""
    taken: dict[str, list[float]] = {"warm": [], "cold": [], "jupyter": []}
    for _ in range(openings):
        taken["warm"].append(await _opening(warm))
        taken["cold"].append(await _opening(cold))
        taken["jupyter"].append(await _kernel_opening(home))
    peer = percentile(taken["jupyter"], 50)
    return [
        Figure(
            f"session opened and {CODE} done, {how}, p50",
            percentile(taken[how], 50),
            "ms",
            peer="Jupyter kernel",
            peer_value=peer,
        )
        for how in ("warm", "cold")
    ]


async def _opening(compute: LocalCompute) -> float:
    await asyncio.sleep(PAUSE_SECONDS)
    before = time.perf_counter()
    session_id = await opened(compute)
    await run(compute, session_id)
    taken = (time.perf_counter() - before) * 1000
    await compute.close_session(session_id)
    return taken


async def _kernel_opening(home: Path) -> float:
    await asyncio.sleep(PAUSE_SECONDS)
    before = time.perf_counter()
    with jupyter.fresh_kernel(home) as kernel:
        kernel.run_first(CODE)
        return (time.perf_counter() - before) * 1000


async def opened(compute: Compute) -> str:
    """A session that is open; returns its id."""
    session_id = f"bench-{next(_numbers)}"
    await compute.open_session(session_id, SessionSpec())
    return session_id


async def run(compute: Compute, session_id: str) -> None:
    """Run it and take all events; raises RuntimeError unless the result is right."""
    events = compute.run_in_session(session_id, f"run-{next(_numbers)}", CODE)
    results = [content async for event in events if isinstance(event, RichResult) for _, content in event.data]
    if RESULT not in results:
        raise RuntimeError(f"{CODE} gave {results} in the session")
