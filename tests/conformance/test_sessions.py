"""A session remembers what was said, streams what is printed and shows what came of it."""

import asyncio
from contextlib import aclosing

from tests.conformance.conftest import OpenCompute
from tests.conformance.declared import needs_sessions
from tests.conformance.programs import PATIENCE, fresh_id, interpreter, run
from workstation.errors import SessionLost
from workstation.interface import (
    Compute,
    EndReason,
    ExecLimits,
    OutputStream,
    RunEnd,
    SessionError,
    SessionSpec,
    SessionText,
)


@needs_sessions
class TestState:
    async def test_what_was_said_lives_on(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("import math\nx = 20\ndef double(y): return 2 * y\nclass Thing: value = 1")
            ran = await python.run("x += 1\nprint(double(x), math.floor(2.5), Thing().value)")
            assert (ran.text, ran.end.reason, ran.end.session_alive) == ("42 2 1\n", EndReason.EXITED, True)

    async def test_two_sessions_know_nothing_of_each_other(self, compute: Compute) -> None:
        async with interpreter(compute) as one, interpreter(compute) as two:
            await one.run("x = 1; open('/tmp/mine', 'w').close()")
            assert (await two.run("x")).error.name == "NameError"
            assert (await two.run("import os; print(os.path.exists('/tmp/mine'))")).text == "False\n"
            assert (await one.run("print(x)")).text == "1\n"

    async def test_the_same_id_is_the_same_session(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("x = 1")
            again = await compute.open_session(python.session_id, SessionSpec())
            assert again.session_id == python.session_id
            assert again.python_version.startswith("3.")
            assert (await python.run("print(x)")).text == "1\n"

    async def test_it_shares_the_workspace(self, compute: Compute) -> None:
        await run(compute, "sh", "-c", "mkdir a; echo content > a/file; echo 'value = 7' > a/module.py")
        async with interpreter(compute, cwd="a") as python:
            assert (
                await python.run("import os; print(open('file').read(), os.getcwd())")
            ).text == "content\n /workspace/a\n"
            assert (await python.run("import module; print(module.value)")).text == "7\n"

    async def test_awaiting_works_at_the_top(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("import asyncio\nlock = asyncio.Lock()\nasync def one(): return 1")
            assert (await python.run("async with lock:\n    print(await one() + await one())")).text == "2\n"

    async def test_threads_run_between_runs(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("""
                import threading
                go, done = threading.Event(), threading.Event()
                threading.Thread(target=lambda: (go.wait(), done.set()), daemon=True).start()
            """)
            await python.run("go.set()")
            assert (await python.run("print(done.wait(20))")).text == "True\n"

    async def test_functions_can_be_inspected_and_pickled(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("import dataclasses, pickle\n@dataclasses.dataclass\nclass Point:\n    x: int")
            assert (await python.run("print(pickle.loads(pickle.dumps(Point(1))))")).text == "Point(x=1)\n"


@needs_sessions
class TestOutput:
    async def test_text_comes_while_the_code_runs(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            code = "import os, time\nprint('begun')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('done')"
            async with (
                asyncio.timeout(PATIENCE),
                aclosing(compute.run_in_session(python.session_id, fresh_id(), code)) as stream,
            ):
                first = await anext(stream)
                assert isinstance(first, SessionText)
                assert (first.stream, first.text[:5]) == (OutputStream.STDOUT, "begun")
                await run(compute, "touch", "go")
                rest = [event async for event in stream]
            texts = [event.text for event in (first, *rest) if isinstance(event, SessionText)]
            assert "".join(texts) == "begun\ndone\n"
            assert isinstance(rest[-1], RunEnd)

    async def test_both_streams_are_apart_and_anything_may_be_printed(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            ran = await python.run("""
                import os, subprocess, sys
                print("out é💥\\u202e", end="")
                print("error", file=sys.stderr, end="")
                os.write(1, b"raw \\xff")
                subprocess.run(["echo", "child"])
            """)
            errors = [event.text for event in ran.events if isinstance(event, SessionText) and event.stream == "stderr"]
            assert "".join(errors) == "error"
            assert ran.text.startswith("out é💥\u202e")
            assert "raw" in ran.text
            assert "child" in ran.text

    async def test_the_last_expression_is_shown(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            (result,) = (await python.run("x = 6\nx * 7")).results
            assert result["text/plain"] == b"42"
            assert (await python.run("x = 1")).results == []
            assert (await python.run("None")).results == []

    async def test_rich_results_show_themselves(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("class Table:\n    def _repr_html_(self): return '<b>1</b>'")
            (result,) = (await python.run("Table()")).results
            assert result["text/html"] == b"<b>1</b>"
            await python.run("class Image:\n    def _repr_png_(self): return b'\\x89PNG'")
            (result,) = (await python.run("Image()")).results
            assert result["image/png"] == b"\x89PNG"

    async def test_a_result_beyond_the_limit_is_left_out_and_said_so(
        self, open_compute: OpenCompute, compute: Compute
    ) -> None:
        async with open_compute(result_bytes=1000) as small, interpreter(small) as python:
            ran = await python.run("class Image:\n    def _repr_png_(self): return b'x' * 5000\nImage()")
            assert not any("image/png" in result for result in ran.results)
            assert any(isinstance(event, SessionText) for event in ran.events)
            assert (await python.run("print(1)")).text == "1\n"

    async def test_a_result_that_cannot_show_itself_breaks_nothing(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("class Bad:\n    def __repr__(self): raise ValueError('no')")
            assert (await python.run("Bad()")).end.session_alive
            assert (await python.run("print(1)")).text == "1\n"

    async def test_a_flood_ends_the_run(self, compute: Compute) -> None:
        async with interpreter(compute, limits=ExecLimits(output_bytes=1 << 20)) as python:
            ran = await python.run("while True: print('x' * 1000)")
            assert ran.end.reason is EndReason.OUTPUT_LIMIT
            assert len(ran.text) <= 1 << 20


@needs_sessions
class TestManners:
    async def test_usage_is_told(self, compute: Compute) -> None:
        async with interpreter(compute) as python:
            await python.run("x = 1")
            ran = await python.run("""
                import time
                data, begin = b"x" * (50 << 20), time.process_time()
                while time.process_time() - begin < 0.5:
                    pass
            """)
            end = ran.end
            assert 0.4 < end.cpu_seconds <= end.wall_seconds * 8
            assert end.peak_memory_bytes >= 50 << 20

    async def test_code_finds_no_way_to_what_steers_it(self, compute: Compute) -> None:
        """Whatever code writes to any descriptor it finds, the next run is told from this one."""
        async with interpreter(compute) as python:
            await python.run("""
                import os
                for fd in range(3, 64):
                    try:
                        os.write(fd, b"exited 0\\n{}\\n" * 3)
                    except OSError:
                        pass
            """)
            try:
                ran = await python.run("print('still')")
            except SessionLost:
                return
            assert ran.text == "still\n"
            assert not [event for event in ran.events if isinstance(event, SessionError)]
