"""An id of the caller's choice names one execution: asking again starts nothing twice."""

import asyncio
from dataclasses import replace

import pytest

from tests.conformance.conftest import OpenCompute
from tests.conformance.programs import collect, fresh_id, run, start, until
from workstation.errors import ExecConflict, ExecNotFound, InvalidArgument
from workstation.interface import Compute, ExecLimits, ExecSignal, ExecSpec, Terminal

ONCE = ExecSpec(argv=("sh", "-c", "echo started >> log; echo said"), env={"A": "1", "B": "2"})


async def log_of(compute: Compute) -> str:
    return (await run(compute, "cat", "log")).text


async def test_the_same_again_starts_nothing(compute: Compute) -> None:
    exec_id = fresh_id()
    first = await compute.start(exec_id, ONCE)
    again = await compute.start(exec_id, replace(ONCE, env={"B": "2", "A": "1"}))
    assert again.started_ns == first.started_ns
    assert (await collect(compute, exec_id)).text == "said\n"
    assert (await compute.start(exec_id, ONCE)).end is not None
    assert await log_of(compute) == "started\n"


async def test_at_once_by_many_starts_one(compute: Compute) -> None:
    exec_id = fresh_id()
    statuses = await asyncio.gather(*(compute.start(exec_id, ONCE) for _ in range(10)))
    assert len({status.started_ns for status in statuses}) == 1
    await compute.wait(exec_id)
    assert await log_of(compute) == "started\n"


@pytest.mark.parametrize(
    "change",
    [
        {"argv": (*ONCE.argv, "more")},
        {"cwd": "a"},
        {"env": {"A": "1"}},
        {"stdin": True},
        {"limits": ExecLimits(wall_seconds=5)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_something_else_is_a_conflict(compute: Compute, change: dict[str, object]) -> None:
    await run(compute, "mkdir", "a")
    exec_id = fresh_id()
    await compute.start(exec_id, ONCE)
    with pytest.raises(ExecConflict) as caught:
        await compute.start(exec_id, replace(ONCE, **change))  # type: ignore[arg-type]
    assert caught.value.target == exec_id
    await compute.wait(exec_id)
    with pytest.raises(ExecConflict):
        await compute.start(exec_id, replace(ONCE, **change))  # type: ignore[arg-type]


async def test_of_two_at_once_that_differ_one_wins(compute: Compute) -> None:
    exec_id = fresh_id()
    specs = [ExecSpec(argv=("sh", "-c", f"echo {number} >> log")) for number in range(6)]
    outcomes = await asyncio.gather(*(compute.start(exec_id, spec) for spec in specs), return_exceptions=True)
    assert sum(isinstance(outcome, ExecConflict) for outcome in outcomes) == 5
    await compute.wait(exec_id)
    assert len((await log_of(compute)).splitlines()) == 1


async def test_a_start_that_was_refused_takes_no_id(compute: Compute) -> None:
    exec_id = fresh_id()
    with pytest.raises(InvalidArgument):
        await compute.start(exec_id, ExecSpec(argv=()))
    with pytest.raises(ExecNotFound):
        await compute.wait(exec_id)
    await compute.start(exec_id, ONCE)
    assert (await collect(compute, exec_id)).text == "said\n"


async def test_what_nobody_started_is_not_found(compute: Compute) -> None:
    for call in (
        compute.wait("unknown"),
        compute.cancel("unknown"),
        compute.signal("unknown", ExecSignal.KILL),
        compute.write_stdin("unknown", b"", offset=0),
        anext(compute.follow("unknown")),
    ):
        with pytest.raises(ExecNotFound) as caught:
            await call
        assert caught.value.target == "unknown"


async def test_all_are_listed_the_latest_first(compute: Compute) -> None:
    assert await compute.list() == ()
    ids = [await start(compute, "true") for _ in range(4)]
    assert [status.exec_id for status in await compute.list()] == ids[::-1]


async def test_executions_of_another_workstation_are_not_seen(compute: Compute, neighbour: Compute) -> None:
    exec_id = await start(neighbour, "sleep", "1000")
    assert exec_id not in [status.exec_id for status in await compute.list()]
    with pytest.raises(ExecNotFound):
        await compute.cancel(exec_id)
    await neighbour.cancel(exec_id)


async def test_what_ended_long_ago_is_forgotten(open_compute: OpenCompute) -> None:
    async with open_compute(kept_seconds=0.2) as compute:
        exec_id, lasting = fresh_id(), await start(compute, "sleep", "1000")
        await compute.start(exec_id, ONCE)

        async def forgotten() -> bool:
            return exec_id not in [status.exec_id for status in await compute.list()]

        await until(forgotten)
        with pytest.raises(ExecNotFound):
            await compute.wait(exec_id)
        assert [status.exec_id for status in await compute.list()] == [lasting]
        await compute.start(exec_id, ONCE)
        assert await log_of(compute) != ""


@pytest.mark.parametrize(
    "exec_id", ["a/b", "../../x", "%s%n", "{}", "-rf", "a b", "é💥", "a\u202eb", "a\nb", ".", "\\"]
)
async def test_a_hostile_id_is_refused_or_a_name_like_any(compute: Compute, exec_id: str) -> None:
    try:
        await compute.start(exec_id, ONCE)
    except InvalidArgument:
        assert await compute.list() == ()
    else:
        assert (await collect(compute, exec_id)).text == "said\n"
        assert [status.exec_id for status in await compute.list()] == [exec_id]


@pytest.mark.parametrize("exec_id", ["", "a\0b", "\ud800", "x" * 100_000])
async def test_what_can_be_no_id_is_refused(compute: Compute, exec_id: str) -> None:
    for call in (
        compute.start(exec_id, ONCE),
        compute.wait(exec_id),
        compute.cancel(exec_id),
        compute.signal(exec_id, ExecSignal.KILL),
        compute.write_stdin(exec_id, b"", offset=0),
        anext(compute.follow(exec_id)),
    ):
        with pytest.raises((InvalidArgument, ExecNotFound)) as caught:
            await call
        str(caught.value).encode()
        assert len(str(caught.value)) < 10_000
    assert await compute.list() == ()


async def test_a_terminal_is_part_of_what_was_asked_for(compute: Compute) -> None:
    if (await compute.capabilities()).terminal:
        exec_id = fresh_id()
        await compute.start(exec_id, replace(ONCE, terminal=Terminal(rows=10)))
        with pytest.raises(ExecConflict):
            await compute.start(exec_id, replace(ONCE, terminal=Terminal(rows=11)))
