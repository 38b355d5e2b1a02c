"""Signals reach the whole tree of a program, and whatever it tries, nothing of the tree outlives it."""

import asyncio
from textwrap import dedent

import pytest

from tests.conformance.host import marked_processes, state_of
from tests.conformance.programs import collect, fresh_id, heard, printed, run, run_python, start, start_python, until
from workstation.errors import ComputeError, ExecEnded, ExecNotFound
from workstation.interface import Compute, EndReason, ExecLimits, ExecSignal, ExecSpec

NUMBERS = {
    ExecSignal.INTERRUPT: 2,
    ExecSignal.TERMINATE: 15,
    ExecSignal.KILL: 9,
    ExecSignal.HANGUP: 1,
}

TREE = """
    import os, signal, sys, time
    depth = 0
    while depth < 2 and os.fork() == 0:
        depth += 1
    if depth == 2:
        os.setsid()  # what left the session and the process group belongs to the tree as before
    def obey(number, frame):
        os.write(1, b"%d got %d\\n" % (depth, number))
        time.sleep(2) if depth == 0 else os._exit(0)
        os._exit(0)
    signal.signal(int(sys.argv[1]), obey)
    os.write(1, b"ready\\n")
    while True:
        time.sleep(0.05)  # a signal just before a longer sleep would be heard after it
"""

ESCAPES = {
    "background": "if os.fork() == 0: stay()",
    "double fork": "if os.fork() == 0:\n    os.fork() or stay()\n    os._exit(0)",
    "daemon": "if os.fork() == 0:\n    os.setsid(), os.closerange(0, 9)\n    os.fork() or stay()\n    os._exit(0)",
    "session": "if os.fork() == 0: os.setsid(), stay()",
    "group": "if os.fork() == 0: os.setpgid(0, 0), stay()",
    "deaf": "if os.fork() == 0: [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)], stay()",
    "stopped": "if os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP), stay()",
    "reborn": "if os.fork() == 0:\n    while True: os.fork() and os._exit(0)",
}
STAY = """
import os, signal, sys, time
def stay():
    open(f"/tmp/{os.getpid()}", "w").close()
    while True: time.sleep(1000)
"""


def marker() -> str:
    """What marks a tree in the host's eyes."""
    return f"marked-{fresh_id()}-"


class TestSignals:
    @pytest.mark.parametrize("signal", NUMBERS)
    async def test_one_ends_a_program_that_does_not_care(self, compute: Compute, signal: ExecSignal) -> None:
        exec_id = await start(compute, "sleep", "1000")
        await compute.signal(exec_id, signal)
        end = (await collect(compute, exec_id)).end
        assert (end.reason, end.signal, end.exit_code) == (EndReason.SIGNALED, NUMBERS[signal], None)
        with pytest.raises(ExecEnded):
            await compute.signal(exec_id, signal)

    @pytest.mark.parametrize("signal", [ExecSignal.INTERRUPT, ExecSignal.TERMINATE, ExecSignal.HANGUP])
    async def test_one_reaches_everybody(self, compute: Compute, signal: ExecSignal) -> None:
        number = NUMBERS[signal]
        exec_id = await start_python(compute, TREE, str(number))
        await heard(compute, exec_id, b"ready\n" * 3)
        await compute.signal(exec_id, signal)
        lines = (await collect(compute, exec_id)).text.splitlines()
        assert sorted(lines[3:]) == [f"{depth} got {number}" for depth in range(3)]

    async def test_stopped_and_continued(self, compute: Compute) -> None:
        mark = marker()
        source = "import os; os.fork(); print('here', flush=True); input(); print('there')"
        exec_id = await start_python(compute, source, mark, stdin=True)
        await heard(compute, exec_id, b"here\nhere\n")
        tree = marked_processes(mark)
        await compute.signal(exec_id, ExecSignal.STOP)

        async def stopped() -> bool:
            return [state_of(pid) for pid in tree].count("T") >= 2

        await until(stopped)
        await compute.write_stdin(exec_id, b"\n\n", offset=0, eof=True)
        assert (await compute.wait(exec_id, timeout=0.2)).end is None
        await compute.signal(exec_id, ExecSignal.CONTINUE)
        assert "there" in (await collect(compute, exec_id)).text

    async def test_an_interrupt_can_be_answered(self, compute: Compute) -> None:
        source = """
            import time
            try:
                print("ready", flush=True)
                while True:
                    time.sleep(0.05)
            except KeyboardInterrupt:
                print("interrupted")
        """
        exec_id = await start_python(compute, source)
        await heard(compute, exec_id, b"ready")
        await compute.signal(exec_id, ExecSignal.INTERRUPT)
        ran = await collect(compute, exec_id)
        assert (ran.text, ran.end.exit_code) == ("ready\ninterrupted\n", 0)


class TestTrees:
    @pytest.mark.parametrize("escape", ESCAPES)
    async def test_nothing_outlives_the_program(self, compute: Compute, escape: str) -> None:
        mark = marker()
        source = STAY + ESCAPES[escape] + "\ntime.sleep(0.2)"
        end = (await run_python(compute, source, mark)).end
        assert (end.reason, end.exit_code) == (EndReason.EXITED, 0)
        assert marked_processes(mark) == []

    @pytest.mark.parametrize("escape", ESCAPES)
    async def test_nothing_survives_being_cancelled(self, compute: Compute, escape: str) -> None:
        mark = marker()
        source = STAY + ESCAPES[escape] + "\nprint('ready', flush=True)\ntime.sleep(1000)"
        exec_id = await start_python(compute, source, mark)
        await heard(compute, exec_id, b"ready")
        status = await compute.cancel(exec_id)
        assert marked_processes(mark) == []
        assert status.end is not None
        assert status.end.reason is EndReason.CANCELLED
        assert await compute.cancel(exec_id) == status

    async def test_a_deaf_tree_is_killed_after_its_grace(self, compute: Compute) -> None:
        mark = marker()
        source = STAY + "signal.signal(15, signal.SIG_IGN); os.fork(); stay()"
        limits = ExecLimits(wall_seconds=0.5, grace_seconds=0.2)
        end = (await run_python(compute, source, mark, limits=limits)).end
        assert (end.reason, end.signal) == (EndReason.TIMED_OUT, 9)
        assert marked_processes(mark) == []

    async def test_a_stopped_tree_can_be_cancelled(self, compute: Compute) -> None:
        mark = marker()
        exec_id = await start(compute, "sh", "-c", "sleep 1000 & sleep 1000", env={"MARK": mark})
        await compute.signal(exec_id, ExecSignal.STOP)
        assert (await compute.cancel(exec_id)).end is not None
        assert marked_processes(mark) == []

    async def test_orphans_are_reaped(self, compute: Compute) -> None:
        source = """
            import os, time
            for _ in range(40):
                if os.fork() == 0:
                    os.fork()
                    os._exit(0)
                os.wait()
            def zombies():
                stats = [open(f"/proc/{pid}/stat").read() for pid in os.listdir("/proc") if pid.isdigit()]
                return sum(stat.rpartition(") ")[2][0] == "Z" for stat in stats)
            for _ in range(1000):
                try:
                    if not zombies():
                        print("none")
                        break
                except OSError:
                    pass
                time.sleep(0.01)
        """
        assert await printed(compute, source) == "none\n"

    async def test_output_held_open_by_a_daemon_delays_no_end(self, compute: Compute) -> None:
        ran = await run(compute, "sh", "-c", "setsid sleep 1000 & echo done")
        assert (ran.text, ran.end.exit_code) == ("done\n", 0)


class TestGames:
    async def test_killing_all_leaves_oneself(self, compute: Compute) -> None:
        source = STAY + "if os.fork() == 0: stay()\nos.kill(-1, 9); os.wait(); print('alone')"
        assert await printed(compute, source) == "alone\n"

    async def test_being_killed_by_a_child(self, compute: Compute) -> None:
        mark = marker()
        source = STAY + "os.fork() or os.kill(-1, 9)\nstay()"
        end = (await run_python(compute, source, mark)).end
        assert (end.reason, end.signal) == (EndReason.SIGNALED, 9)
        assert marked_processes(mark) == []

    async def test_the_first_process_takes_no_signal(self, compute: Compute) -> None:
        source = """
            import os
            for number in range(1, 65):
                try:
                    os.kill(1, number)
                except OSError:
                    pass
            print("on")
        """
        assert await printed(compute, source) == "on\n"

    async def test_the_first_process_is_not_stopped(self, compute: Compute) -> None:
        exec_id = await start_python(
            compute, "import os; os.kill(1, 19); print('sent', flush=True); input()", stdin=True
        )
        await heard(compute, exec_id, b"sent")
        await compute.signal(exec_id, ExecSignal.TERMINATE)
        assert (await collect(compute, exec_id)).end.reason is EndReason.SIGNALED

    async def test_processes_outside_are_out_of_reach(self, compute: Compute, neighbour: Compute) -> None:
        other = await start(neighbour, "sleep", "1000")
        source = """
            import os, signal
            for pid in range(2, 40_000):
                if pid not in (os.getpid(), os.getppid()):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except OSError:
                        pass
            print("done")
        """
        assert await printed(compute, source) == "done\n"
        assert (await neighbour.wait(other, timeout=0)).end is None
        await neighbour.cancel(other)


class TestCancelling:
    @pytest.mark.parametrize("moment", range(12))
    async def test_at_any_moment_of_the_start(self, compute: Compute, moment: int) -> None:
        mark, exec_id = marker(), fresh_id()
        spec = ExecSpec(argv=("sh", "-c", "sleep 1000 & sleep 1000"), env={"MARK": mark})
        starting = asyncio.ensure_future(compute.start(exec_id, spec))
        for _ in range(moment):
            await asyncio.sleep(0.002 if moment > 6 else 0)
        had_started = starting.done()
        try:
            await compute.cancel(exec_id)
        except ExecNotFound:
            assert not had_started
        (outcome,) = await asyncio.gather(starting, return_exceptions=True)
        assert not isinstance(outcome, BaseException) or isinstance(outcome, ComputeError)
        status = await compute.cancel(exec_id)
        assert status.end is not None
        assert status.end.reason is EndReason.CANCELLED
        assert marked_processes(mark) == []

    @pytest.mark.parametrize("moment", range(8))
    async def test_a_caller_that_leaves_while_it_starts(self, compute: Compute, moment: int) -> None:
        mark, exec_id = marker(), fresh_id()
        starting = asyncio.ensure_future(compute.start(exec_id, ExecSpec(argv=("sleep", "1000"), env={"MARK": mark})))
        for _ in range(moment):
            await asyncio.sleep(0.002 if moment > 4 else 0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        try:
            assert (await compute.cancel(exec_id)).end is not None
        except ExecNotFound:
            assert exec_id not in [status.exec_id for status in await compute.list()]
        assert marked_processes(mark) == []

    async def test_by_many_at_once(self, compute: Compute) -> None:
        exec_id = await start(compute, "sh", "-c", dedent(STAY))
        ended = await asyncio.gather(*(compute.cancel(exec_id) for _ in range(8)))
        assert len(set(map(repr, ended))) == 1

    async def test_what_was_over_stays_as_it_was(self, compute: Compute) -> None:
        status = (await run(compute, "sh", "-c", "exit 3")).status
        assert await compute.cancel(status.exec_id) == status
