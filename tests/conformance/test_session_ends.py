"""Whatever ends a run or a session is told, and ends no more than it must."""

import asyncio
from contextlib import aclosing

import pytest

from tests.conformance.conftest import OpenCompute
from tests.conformance.declared import needs_sessions
from tests.conformance.host import marked_processes
from tests.conformance.programs import fresh_id, interpreter, run, until
from workstation.errors import LimitExceeded, SessionBusy, SessionLost, SessionNotFound
from workstation.interface import (
    Compute,
    EndReason,
    ExecLimits,
    RunEnd,
    SessionSpec,
)

LOST = {
    "exit": ("import os; os._exit(3)", EndReason.EXITED),
    "kill": ("import os; os.kill(os.getpid(), 9)", EndReason.SIGNALED),
    "crash": ("import ctypes; ctypes.string_at(0)", EndReason.SIGNALED),
    "memory": ("data = b'x' * (512 << 20)", EndReason.OUT_OF_MEMORY),
}


@needs_sessions
class TestErrors:
    async def test_an_exception_is_told_and_the_state_stays(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("x = 1")
            ran = await python.run("x = 2\ndef fail(): raise ValueError('told')\nfail()\nx = 3")
            assert (ran.error.name, ran.error.message) == ("ValueError", "told")
            assert "fail" in ran.error.traceback
            assert (ran.end.reason, ran.end.session_alive) == (EndReason.EXITED, True)
            assert (await python.run("print(x)")).text == "2\n"

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            ("def (", "SyntaxError"),
            ("raise KeyboardInterrupt", "KeyboardInterrupt"),
            ("import sys; sys.exit(3)", "SystemExit"),
            ("def f(): f()\nf()", "RecursionError"),
            ("raise BaseException('x')", "BaseException"),
            ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E"),
            ("raise Exception('x' * 10_000_000)", "Exception"),
            ("raise Exception('\\ud800')", "Exception"),
            ("import no_such_module", "ModuleNotFoundError"),
            ("input()", "EOFError"),
        ],
    )
    async def test_whatever_is_raised_ends_only_the_run(self, compute: Compute, code: str, name: str) -> None:
        async with interpreter(compute) as python:
            ran = await python.run(code)
            assert ran.error.name == name
            f"{ran.error.message}{ran.error.traceback}".encode()
            assert ran.end.session_alive
            assert (await python.run("print(1)")).text == "1\n"

    @pytest.mark.parametrize("how", LOST)
    async def test_an_interpreter_that_dies_is_lost(self, compute: Compute, how: str) -> None:
        code, reason = LOST[how]
        async with interpreter(compute, limits=ExecLimits(memory_bytes=256 << 20)) as python:
            assert (await python.run("print(1)")).text == "1\n"
            end = (await python.run(code)).end
            assert (end.reason, end.session_alive) == (reason, False)
            for _ in range(2):
                with pytest.raises(SessionLost) as caught:
                    await python.run("1")
                assert caught.value.target == python.session_id

    async def test_a_child_that_takes_the_memory_loses_the_session(self, compute: Compute) -> None:
        async with interpreter(compute, limits=ExecLimits(memory_bytes=256 << 20)) as python:
            code = "import subprocess; subprocess.run(['python3', '-c', 'x = bytes(1) * (512 << 20)'])"
            end = (await python.run(code)).end
            assert end.reason is EndReason.OUT_OF_MEMORY
            if not end.session_alive:
                with pytest.raises(SessionLost):
                    await python.run("1")

    async def test_a_fork_bomb_ends_with_its_time(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
            end = (await python.run(code, timeout=1.5)).end
            assert end.reason is EndReason.TIMED_OUT

    async def test_a_child_that_answers_for_the_session_is_not_believed(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("import os\nif os.fork() == 0:\n    print('child'); os._exit(0)\nos.wait()")
            assert (await python.run("print(2)")).text == "2\n"


@needs_sessions
class TestInterrupting:
    async def test_by_the_time(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("x = 1")
            end = (await python.run("while True: pass", timeout=0.5)).end
            assert (end.reason, end.session_alive) == (EndReason.TIMED_OUT, True)
            assert (await python.run("print(x)")).text == "1\n"

    async def test_of_one_that_will_not_hear(self, compute: Compute) -> None:
        async with interpreter(compute, limits=ExecLimits(grace_seconds=0.5)) as python:
            code = """
                import signal
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                while True: pass
            """
            end = (await python.run(code, timeout=0.5)).end
            assert (end.reason, end.session_alive) == (EndReason.TIMED_OUT, False)
            with pytest.raises(SessionLost):
                await python.run("1")

    async def test_by_leaving(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("x = 1")
            code = "import time\nprint('begun')\nwhile True: time.sleep(0.01)"
            async with aclosing(compute.run_in_session(python.session_id, fresh_id(), code)) as stream:
                await anext(stream)

            async def free() -> bool:
                try:
                    return (await python.run("print(x)")).text == "1\n"
                except SessionBusy:
                    return False

            await until(free)

    async def test_one_thing_at_a_time(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            code = "import os, time\nprint('begun')\nwhile not os.path.exists('go'): time.sleep(0.01)"
            async with aclosing(compute.run_in_session(python.session_id, fresh_id(), code)) as stream:
                await anext(stream)
                with pytest.raises(SessionBusy) as caught:
                    await python.run("1")
                assert caught.value.target == python.session_id
                await run(compute, "touch", "go")
                assert isinstance([event async for event in stream][-1], RunEnd)
            assert (await python.run("print(1)")).text == "1\n"

    async def test_the_same_run_again_runs_nothing(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("x = 0")
            code, run_id = "x += 1\nprint(x)\nx", fresh_id()
            first = await python.run(code, run_id=run_id)
            assert await python.run(code, run_id=run_id) == first
            assert (await python.run("print(x)")).text == "1\n"


@needs_sessions
class TestClosing:
    async def test_closing_ends_all_it_left(self, compute: Compute) -> None:
        mark = f"marked-{fresh_id()}-"
        async with interpreter(compute) as python:
            await python.run(
                f"import subprocess; subprocess.Popen(['sh', '-c', 'sleep 1000 & wait', '{mark}'], start_new_session=True)"
            )
            assert marked_processes(mark)
            await compute.close_session(python.session_id)
            assert marked_processes(mark) == []
            await compute.close_session(python.session_id)
            with pytest.raises((SessionNotFound, SessionLost)):
                await python.run("1")

    async def test_closing_ends_what_runs(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            running = asyncio.ensure_future(python.run("print('begun')\nwhile True: pass"))
            await asyncio.sleep(0.2)
            await compute.close_session(python.session_id)
            (outcome,) = await asyncio.gather(running, return_exceptions=True)
            assert isinstance(outcome, (SessionLost, SessionNotFound)) or not outcome.end.session_alive  # type: ignore[union-attr]

    async def test_unknown_ids(self, compute: Compute) -> None:
        await compute.close_session("unknown")
        with pytest.raises(SessionNotFound) as caught:
            await anext(compute.run_in_session("unknown", fresh_id(), "1"))
        assert caught.value.target == "unknown"

    async def test_idleness_closes(self, compute: Compute) -> None:
        mark = f"marked-{fresh_id()}-"
        async with interpreter(compute, idle_seconds=0.3) as python:
            await python.run(
                f"import subprocess; p = subprocess.Popen(['sh', '-c', 'sleep 1000 & wait', '{mark}'])\n"
                "while not open(f'/proc/{p.pid}/cmdline').read(): pass"  # it has none for a moment
            )

            async def gone() -> bool:
                return marked_processes(mark) == []

            await until(gone)
            with pytest.raises((SessionNotFound, SessionLost)):
                await python.run("1")

    async def test_so_many_are_open_at_a_time(self, open_compute: OpenCompute, compute: Compute) -> None:
        async with open_compute(sessions=1) as few, interpreter(few) as python:
            with pytest.raises(LimitExceeded) as caught:
                await few.open_session(fresh_id(), SessionSpec())
            assert (caught.value.limit, caught.value.allowed) == ("sessions", 1)
            await few.close_session(python.session_id)
            async with interpreter(few) as another:
                assert (await another.run("print(1)")).text == "1\n"
