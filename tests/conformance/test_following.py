"""Output is read by offset, by any number of followers, and none of them holds up the program."""

import asyncio
from contextlib import aclosing

import pytest

from tests.conformance.conftest import OpenCompute
from tests.conformance.programs import collect, heard, start, start_python
from workstation.errors import OutputExpired
from workstation.interface import Compute, EndReason, ExecStatus, Output

COUNT = """
    import sys
    for number in range(10_000):
        print(f"{number:09}")
    sys.stderr.write("error")
"""
COUNTED = b"".join(b"%09d\n" % number for number in range(10_000))
FLOOD = "import sys\nfor number in range(400): sys.stdout.write('%09d\\n' % number * 1000)"
FLOODED = b"".join(b"%09d\n" % number * 1000 for number in range(400))
KEPT = 64 << 10


@pytest.mark.parametrize("offset", [0, 1, 10, 4097, 65_536, 99_999, 100_000])
async def test_from_any_offset(compute: Compute, offset: int) -> None:
    exec_id = await start_python(compute, COUNT)
    assert (await collect(compute, exec_id, stdout_offset=offset)).stdout == COUNTED[offset:]
    again = await collect(compute, exec_id, stdout_offset=offset, stderr_offset=3)
    assert (again.stdout, again.stderr) == (COUNTED[offset:], b"or")


async def test_from_the_end_nothing_is_left_but_the_status(compute: Compute) -> None:
    exec_id = await start_python(compute, COUNT)
    status = await compute.wait(exec_id)
    events = [event async for event in compute.follow(exec_id, stdout_offset=len(COUNTED), stderr_offset=5)]
    assert events == [status]


async def test_many_get_the_same_whenever_they_come(compute: Compute) -> None:
    source = "import sys\nfor line in sys.stdin: print(line.strip() * 100, flush=True)"
    exec_id = await start_python(compute, source, stdin=True)
    followers = []
    offset = 0
    for number in range(8):
        followers.append(asyncio.ensure_future(collect(compute, exec_id)))
        offset = await compute.write_stdin(exec_id, b"%d\n" % number, offset=offset)
        await asyncio.sleep(0)
    await compute.write_stdin(exec_id, b"", offset=offset, eof=True)
    outputs = {ran.stdout for ran in await asyncio.gather(*followers, collect(compute, exec_id))}
    assert outputs == {b"".join(b"%d" % number * 100 + b"\n" for number in range(8))}


async def test_output_comes_while_the_program_runs(compute: Compute) -> None:
    exec_id = await start_python(compute, "print('begun', flush=True); input(); print('done')", stdin=True)
    async with aclosing(compute.follow(exec_id)) as stream:
        begun = await anext(stream)
        assert isinstance(begun, Output)
        assert begun.data == b"begun\n"
        assert (await compute.wait(exec_id, timeout=0)).end is None
        await compute.write_stdin(exec_id, b"\n", offset=0)
        rest = [event async for event in stream]
    assert isinstance(rest[0], Output)
    assert (rest[0].offset, rest[0].data) == (6, b"done\n")
    assert isinstance(rest[-1], ExecStatus)


async def test_a_follower_that_leaves_disturbs_nobody(compute: Compute) -> None:
    exec_id = await start_python(compute, "print('begun', flush=True); input(); print('done')", stdin=True)
    staying = asyncio.ensure_future(collect(compute, exec_id))
    leaving = [asyncio.ensure_future(collect(compute, exec_id)) for _ in range(5)]
    await heard(compute, exec_id, b"begun")
    for follower in leaving:
        follower.cancel()
    outcomes = await asyncio.gather(*leaving, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    await compute.write_stdin(exec_id, b"\n", offset=0)
    assert (await staying).text == "begun\ndone\n"


async def test_old_output_expires_and_says_what_is_kept(open_compute: OpenCompute) -> None:
    async with open_compute(kept_output_bytes=KEPT) as compute:
        exec_id = await start_python(compute, FLOOD)
        status = await compute.wait(exec_id)
        kept_from = status.stdout_kept_from
        assert status.stdout_bytes == len(FLOODED)
        assert KEPT <= len(FLOODED) - kept_from <= 2 * KEPT
        assert (await collect(compute, exec_id, stdout_offset=kept_from)).stdout == FLOODED[kept_from:]
        for offset in (0, kept_from - 1):
            with pytest.raises(OutputExpired) as caught:
                await anext(compute.follow(exec_id, stdout_offset=offset))
            error = caught.value
            assert (error.target, error.stream, error.earliest) == (exec_id, "stdout", kept_from)


async def test_a_slow_follower_loses_output_and_stalls_nobody(open_compute: OpenCompute) -> None:
    async with open_compute(kept_output_bytes=KEPT) as compute:
        exec_id = await start_python(compute, "print('begun', flush=True); input()\n" + FLOOD, stdin=True)
        slow = compute.follow(exec_id)
        async with aclosing(slow):
            first = await anext(slow)
            assert isinstance(first, Output)
            await compute.write_stdin(exec_id, b"\n", offset=0)
            ended = await compute.wait(exec_id)
            assert ended.end is not None
            assert ended.end.reason is EndReason.EXITED
            with pytest.raises(OutputExpired) as caught:
                async for _ in slow:
                    pass
        assert caught.value.earliest <= ended.stdout_kept_from


async def test_one_stream_does_not_push_out_the_other(open_compute: OpenCompute) -> None:
    async with open_compute(kept_output_bytes=KEPT) as compute:
        exec_id = await start_python(compute, "import sys; sys.stderr.write('mine'); sys.stderr.flush()\n" + FLOOD)
        status = await compute.wait(exec_id)
        ran = await collect(compute, exec_id, stdout_offset=status.stdout_kept_from)
        assert (ran.stderr, status.stderr_kept_from) == (b"mine", 0)


async def test_waiting_ends_with_the_program_or_the_time(compute: Compute) -> None:
    exec_id = await start(compute, "sleep", "1000")
    assert (await compute.wait(exec_id, timeout=0.01)).end is None
    waiting = [asyncio.ensure_future(compute.wait(exec_id)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    ended = await compute.cancel(exec_id)
    assert ended.end is not None
    assert await asyncio.gather(*waiting[1:]) == [ended] * 4
