"""Which jails are kept ready by a Compute whose first was begun before anybody asked for it."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from workstation.interface import ExecSpec
from workstation.local.compute import LocalCompute
from workstation.local.jail.cgroups import find_cgroups

IN_TIME = 4.0
"""Less than until a second jail is built unasked."""


def jails() -> list[str]:
    return [place.name for place in find_cgroups().parents[0].glob(f"empla-jail-{os.getpid()}-*")]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(IN_TIME):
        while not condition():
            await asyncio.sleep(0.005)


async def run(compute: LocalCompute, name: str) -> None:
    await compute.start(name, ExecSpec(argv=("/bin/true",)))
    status = await compute.wait(name)
    assert status.end is not None
    assert status.end.exit_code == 0


async def test_none_is_kept_for_one_program_alone_and_one_beside_the_second(jailable_workspace: Path):
    async with LocalCompute(jailable_workspace, warm=1) as compute:
        await compute.warm_up()
        assert len(jails()) == 1
        await run(compute, "first")
        await until(lambda: not jails())
        await compute.start("second", ExecSpec(argv=("/bin/sleep", "60")))
        await until(lambda: len(jails()) == 2)
    assert not jails()


async def test_without_a_second_program_one_is_kept_after_a_while(
    jailable_workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workstation.local.jail.pool.ALONE_SECONDS", 0.01)
    async with LocalCompute(jailable_workspace, warm=1) as compute:
        await compute.warm_up()
        (begun,) = jails()
        await run(compute, "first")
        await until(lambda: jails() not in ([], [begun]))
