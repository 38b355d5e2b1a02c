"""Programs in the sandbox: what they cost over nsjail alone and over the bare program, in turns within one run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from loadtests.programs import (
    TRUE,
    PlainNsjail,
    drain_bare,
    follow_sandboxed,
    run_bare,
    run_many_sandboxed,
    run_sandboxed,
)
from loadtests.report import Figure, percentile
from loadtests.turns import take_turns
from workstation.local.compute import LocalCompute, default_limits
from workstation.local.jail.configuration import JailPlan, python_inside

PAUSE_SECONDS = 0.05
"""Between two paced programs: an employee's model takes longer."""
OVER_NSJAIL_MS = 2.0
OVER_BARE_PYTHON = 1.5
AT_ONCE = 20
OUTPUT_MIB = 256
_OUTPUT = ("/usr/bin/dd", "if=/dev/zero", "bs=1M", f"count={OUTPUT_MIB}", "status=none")
_PYTHON = (python_inside(), "-c", "pass")


async def measure(directory: Path, programs: int, bursts: int) -> list[Figure]:
    """The figures; raises `SandboxUnavailable`."""
    plan = JailPlan(directory)
    nsjail = PlainNsjail(plan, directory.parent)
    environment = plan.environment()
    async with _computes(directory) as (warm, cold):
        paced = await take_turns(
            {
                "true": lambda: run_sandboxed(warm, TRUE),
                "true, nsjail": lambda: nsjail.run(TRUE),
                "true, bare": lambda: run_bare([TRUE], {}),
                "true, cold": lambda: run_sandboxed(cold, TRUE),
                "python": lambda: run_sandboxed(warm, *_PYTHON),
                "python, nsjail": lambda: nsjail.run(*_PYTHON),
                "python, bare": lambda: run_bare(_PYTHON, environment),
            },
            programs,
            pause=PAUSE_SECONDS,
        )
        own = (await take_turns({"": lambda: run_sandboxed(warm, TRUE)}, programs))[""]
        plain = (await take_turns({"": lambda: nsjail.run(TRUE)}, programs))[""]
        return [
            *_true(paced),
            *_python(paced),
            *_over_nsjail("true in the sandbox, back to back", own, plain, OVER_NSJAIL_MS),
            *await _bursts(warm, nsjail, bursts),
            *await _output(warm, bursts),
        ]


@asynccontextmanager
async def _computes(directory: Path) -> AsyncIterator[tuple[LocalCompute, LocalCompute]]:
    """One with its usual warm jails and one with none, both of which let a program write as much as is measured."""
    usual = default_limits()
    limits = replace(usual, exec=replace(usual.exec, output_bytes=2 * OUTPUT_MIB << 20))
    async with LocalCompute(directory, limits=limits) as warm, LocalCompute(directory, limits=limits, warm=0) as cold:
        yield warm, cold


def _true(paced: dict[str, list[float]]) -> list[Figure]:
    plain = paced["true, nsjail"]
    return [
        Figure("floor: bare true, p50", percentile(paced["true, bare"], 50), "ms"),
        *_over_nsjail("true in the sandbox", paced["true"], plain, OVER_NSJAIL_MS),
        *_over_nsjail("true in a cold sandbox", paced["true, cold"], plain, OVER_NSJAIL_MS),
    ]


def _over_nsjail(name: str, own: list[float], plain: list[float], most: float | None = None) -> list[Figure]:
    """`most` is how many milliseconds more than nsjail alone the median may be."""
    middle, late = percentile(plain, 50), percentile(plain, 99)
    target = None if most is None else middle + most
    return [
        Figure(f"{name}, p50", percentile(own, 50), "ms", target, peer="nsjail alone", peer_value=middle),
        Figure(f"{name}, p99", percentile(own, 99), "ms", peer="nsjail alone", peer_value=late),
    ]


def _python(paced: dict[str, list[float]]) -> list[Figure]:
    own, bare = percentile(paced["python"], 50), percentile(paced["python, bare"], 50)
    return [
        *_over_nsjail("python -c pass in the sandbox", paced["python"], paced["python, nsjail"]),
        Figure("python -c pass in the sandbox over bare", own / bare, "x", OVER_BARE_PYTHON),
        Figure("floor: bare python -c pass, p50", bare, "ms"),
    ]


async def _bursts(compute: LocalCompute, nsjail: PlainNsjail, bursts: int) -> list[Figure]:
    operations = {
        "own": lambda: run_many_sandboxed(compute, AT_ONCE, TRUE),
        "nsjail": lambda: nsjail.run_many(AT_ONCE, TRUE),
    }
    taken = await take_turns(operations, bursts, pause=1.0)
    own, plain = percentile(taken["own"], 50), percentile(taken["nsjail"], 50)
    return [Figure(f"{AT_ONCE} at once, until all are done", own, "ms", peer="nsjail alone", peer_value=plain)]


async def _output(compute: LocalCompute, transfers: int) -> list[Figure]:
    async def own() -> None:
        if await follow_sandboxed(compute, *_OUTPUT) != OUTPUT_MIB << 20:
            raise RuntimeError("output got lost")

    async def bare() -> None:
        drain_bare(_OUTPUT)

    taken = await take_turns({"own": own, "bare": bare}, transfers, pause=0.5)
    rates = {name: OUTPUT_MIB / percentile(milliseconds, 50) * 1000 for name, milliseconds in taken.items()}
    return [
        Figure(
            f"{OUTPUT_MIB} MiB of output, followed",
            rates["own"],
            "MiB/s",
            better="high",
            peer="a bare program's pipe",
            peer_value=rates["bare"],
        )
    ]
