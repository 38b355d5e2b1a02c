"""Many programs and sessions at once do not disturb each other, whatever becomes of some of them."""

import asyncio

from tests.conformance.declared import needs_sessions
from tests.conformance.programs import (
    Interpreter,
    collect,
    fresh_id,
    interpreter,
    printed,
    run,
    run_python,
    start,
    start_python,
)
from workstation.interface import Compute, ComputeCapabilities, EndReason, ExecLimits, ExecSignal, SessionSpec

TALK = """
import sys
for line in sys.stdin:
    sys.stdout.write(line.strip() * 50 + "\\n")
    sys.stderr.write(line.strip() + "\\n")
"""


async def test_twenty_keep_their_words_apart(compute: Compute, capabilities: ComputeCapabilities) -> None:
    async def talk(number: int) -> None:
        exec_id = await start_python(compute, TALK, stdin=True, env={"NUMBER": str(number)})
        words = [f"{number}-{index};" for index in range(50)]
        offset = 0
        for word in words:
            offset = await compute.write_stdin(exec_id, f"{word}\n".encode(), offset=offset)
        await compute.write_stdin(exec_id, b"", offset=offset, eof=True)
        ran = await collect(compute, exec_id)
        assert ran.text == "".join(f"{word * 50}\n" for word in words)
        assert ran.stderr.decode() == "".join(f"{word}\n" for word in words)

    await asyncio.gather(*(talk(number) for number in range(min(20, capabilities.limits.executions))))


async def test_what_becomes_of_some_is_nothing_to_the_others(compute: Compute) -> None:
    small = ExecLimits(memory_bytes=128 << 20)
    ends = await asyncio.gather(
        run(compute, "sh", "-c", "sleep 1; exit 7"),
        run_python(compute, "x = b'x' * (300 << 20)", limits=small),
        run(compute, "sh", "-c", "sleep 1; exit 8"),
        run(compute, "sleep", "1000", limits=ExecLimits(wall_seconds=0.5)),
        run(compute, "yes", limits=ExecLimits(output_bytes=100_000)),
        run(compute, "sh", "-c", "kill -9 -1; kill -9 $$"),
        run(compute, "sh", "-c", "sleep 1; exit 9"),
    )
    assert [ran.end.reason for ran in ends] == [
        EndReason.EXITED,
        EndReason.OUT_OF_MEMORY,
        EndReason.EXITED,
        EndReason.TIMED_OUT,
        EndReason.OUTPUT_LIMIT,
        EndReason.SIGNALED,
        EndReason.EXITED,
    ]
    assert [ran.end.exit_code for ran in ends if ran.end.exit_code] == [7, 8, 9]


async def test_they_do_not_see_or_reach_each_other(compute: Compute) -> None:
    exec_id = await start(compute, "sh", "-c", "echo mine > /tmp/mine; echo mine > /dev/shm/mine; exec sleep 1000")
    source = """
        import os
        print(os.path.exists("/tmp/mine"), os.path.exists("/dev/shm/mine"))
        try:
            os.kill(-1, 9)
        except ProcessLookupError:
            print("alone")
    """
    assert await printed(compute, source) == "False False\nalone\n"
    assert (await compute.wait(exec_id, timeout=0)).end is None
    await compute.signal(exec_id, ExecSignal.TERMINATE)
    assert (await collect(compute, exec_id)).end.signal == 15


async def test_one_that_is_cancelled_takes_no_other_with_it(compute: Compute) -> None:
    ids = [await start(compute, "sleep", "1000") for _ in range(6)]
    await asyncio.gather(*(compute.cancel(exec_id) for exec_id in ids[::2]))
    for exec_id in ids[1::2]:
        assert (await compute.wait(exec_id, timeout=0)).end is None
        assert (await compute.cancel(exec_id)).end is not None


async def test_all_end_when_the_workstation_closes(compute: Compute) -> None:
    """That nothing is left is what every test here is checked for afterwards."""
    for _ in range(5):
        await start(compute, "sh", "-c", "trap '' TERM HUP INT; sleep 1000 & sleep 1000")


async def test_one_writes_where_another_reads(compute: Compute) -> None:
    reader = await start_python(
        compute,
        """
        import os, time
        while not os.path.exists("done"):
            time.sleep(0.01)
        print(open("file").read())
        """,
    )
    await run(compute, "sh", "-c", "echo written > file; touch done")
    assert (await collect(compute, reader)).text == "written\n\n"


@needs_sessions
class TestSessions:
    async def test_each_has_its_state(self, compute: Compute, capabilities: ComputeCapabilities) -> None:
        ids = [fresh_id() for _ in range(min(5, capabilities.limits.sessions))]
        await asyncio.gather(*(compute.open_session(session_id, SessionSpec()) for session_id in ids))
        pythons = [Interpreter(compute, session_id) for session_id in ids]
        await asyncio.gather(*(python.run(f"x = {number}") for number, python in enumerate(pythons)))
        runs = await asyncio.gather(*(python.run("for _ in range(1000): print(x)") for python in pythons))
        assert [ran.text for ran in runs] == [f"{number}\n" * 1000 for number in range(len(ids))]
        await asyncio.gather(*(compute.close_session(session_id) for session_id in ids))

    async def test_one_that_is_lost_takes_no_other_with_it(self, compute: Compute) -> None:
        async with interpreter(compute) as one, interpreter(compute) as two:
            await one.run("x = 1")
            killed = await two.run("import os\ntry: os.kill(-1, 9)\nexcept ProcessLookupError: pass\nos._exit(1)")
            assert not killed.end.session_alive
            assert (await one.run("print(x)")).text == "1\n"
