"""A program gets exactly what it was given, and what it gave and how it ended comes back exactly."""

import ast
import asyncio
import hashlib
import signal as signals
import time
from pathlib import Path

import pytest

from tests.conformance.conftest import OpenCompute
from tests.conformance.programs import collect, fresh_id, heard, printed, run, run_python, start, start_python
from workstation.errors import ExecEnded, StdinOffsetMismatch, WorkstationError
from workstation.interface import Compute, ComputeCapabilities, EndReason, ExecSpec

HOSTILE = ("", "a b", "-x", "--", "$HOME", "*", "`id`", "a\nb", "'\"", "\\", "é\u202e💥", "x" * 10_000)


class TestArguments:
    async def test_arguments_arrive_as_they_are(self, compute: Compute) -> None:
        output = await printed(compute, "import sys; print(ascii(sys.argv[1:]))", *HOSTILE)
        assert ast.literal_eval(output) == list(HOSTILE)

    async def test_the_environment_is_minimal_with_what_was_added(self, compute: Compute) -> None:
        given = {f"GIVEN_{number}": value for number, value in enumerate(HOSTILE)} | {"lower=": "", "A": "b=c"}
        del given["lower="]
        output = await printed(compute, "import os; print(ascii(dict(os.environ)))", env=given)
        environment = ast.literal_eval(output)
        assert {name: environment.pop(name) for name in given} == given
        assert environment["HOME"] == "/tmp"
        assert environment["PATH"]
        assert len(environment) < 20

    async def test_the_working_directory_is_a_path_in_the_workspace(self, compute: Compute, planted: Path) -> None:
        assert await printed(compute, "import os; print(os.getcwd())") == "/workspace\n"
        await run(compute, "mkdir", "-p", "a/b c")
        assert await printed(compute, "import os; print(os.getcwd())", cwd="a/b c") == "/workspace/a/b c\n"
        assert await printed(compute, "import os; print(os.getcwd())", cwd="a/../a/./b c/") == "/workspace/a/b c\n"
        assert (planted / "a" / "b c").is_dir()

    async def test_signals_are_neither_blocked_nor_ignored(self, open_compute: OpenCompute) -> None:
        before = signals.signal(signals.SIGHUP, signals.SIG_IGN)  # as under nohup
        try:
            async with open_compute() as compute:
                lines = (await run(compute, "cat", "/proc/self/status")).text.splitlines()
        finally:
            signals.signal(signals.SIGHUP, before)
        masks = {line.split()[0]: int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigIgn"))}
        internal = 0b11 << 31  # 32 and 33 belong to the C library, which leaves them ignored when it spawns
        assert {name: mask & ~internal for name, mask in masks.items()} == {"SigBlk:": 0, "SigIgn:": 0}


class TestEnds:
    @pytest.mark.parametrize("code", [0, 1, 2, 100, 101, 125, 126, 127, 128, 130, 137, 143, 254, 255])
    async def test_exit_codes(self, compute: Compute, code: int) -> None:
        end = (await run(compute, "sh", "-c", f"exit {code}")).end
        assert (end.reason, end.exit_code, end.signal) == (EndReason.EXITED, code, None)

    @pytest.mark.parametrize("signal", [1, 2, 3, 6, 9, 10, 11, 13, 14, 15, 24, 31, 34, 64])
    async def test_signals(self, compute: Compute, signal: int) -> None:
        source = """
            import os, signal, sys
            number = int(sys.argv[1])
            if number != signal.SIGKILL:
                signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        """
        end = (await run_python(compute, source, str(signal))).end
        assert (end.reason, end.exit_code, end.signal) == (EndReason.SIGNALED, None, signal)

    @pytest.mark.parametrize("program", ["no-such-program", "./missing", "/bin/missing", "missing/below", "../x"])
    async def test_a_program_that_is_not_there(self, compute: Compute, program: str) -> None:
        end = (await run(compute, program)).end
        assert (end.reason, end.exit_code) == (EndReason.EXITED, 127)
        assert end.message

    @pytest.mark.parametrize("program", ["./plain", "./directory", "/etc"])
    async def test_a_program_that_may_not_be_run(self, compute: Compute, program: str) -> None:
        await run(compute, "sh", "-c", "echo x > plain; chmod 644 plain; mkdir directory")
        end = (await run(compute, program)).end
        assert (end.reason, end.exit_code) == (EndReason.EXITED, 126)
        assert end.message

    async def test_a_script_of_the_workspace_runs(self, compute: Compute) -> None:
        await run(compute, "sh", "-c", "printf '#!/bin/sh\\necho \"$0 $1\"\\n' > run; chmod 755 run")
        assert (await run(compute, "./run", "it")).text == "./run it\n"

    async def test_the_status_tells_how_it_stands(self, compute: Compute) -> None:
        before = time.time_ns()
        exec_id = await start(compute, "sh", "-c", "echo out; echo error >&2; read line", stdin=True)
        await heard(compute, exec_id, b"out\n")
        running = await compute.wait(exec_id, timeout=0)
        assert (running.exec_id, running.argv[0], running.end) == (exec_id, "sh", None)
        assert before <= running.started_ns <= time.time_ns()
        await compute.write_stdin(exec_id, b"go\n", offset=0)
        ended = await compute.wait(exec_id)
        assert (ended.stdout_bytes, ended.stderr_bytes, ended.stdin_bytes) == (4, 6, 3)
        assert ended.started_ns == running.started_ns
        assert await compute.wait(exec_id) == ended
        assert (await compute.list())[0] == ended


class TestOutput:
    async def test_outputs_are_apart_and_in_order(self, compute: Compute) -> None:
        source = """
            import os
            for number in range(2000):
                os.write(1, b"out %d\\n" % number)
                os.write(2, b"error %d\\n" % number)
        """
        ran = await run_python(compute, source)
        assert ran.stdout == b"".join(b"out %d\n" % number for number in range(2000))
        assert ran.stderr == b"".join(b"error %d\n" % number for number in range(2000))

    async def test_as_much_as_is_kept_comes_whole(self, compute: Compute, capabilities: ComputeCapabilities) -> None:
        limits = capabilities.limits
        size = min(limits.kept_output_bytes, (limits.exec.output_bytes or 1 << 20) // 2)
        source = """
            import hashlib, random, sys
            data = random.Random(1).randbytes(int(sys.argv[1]))
            sys.stdout.buffer.write(data)
            sys.stderr.write(hashlib.sha256(data).hexdigest())
        """
        exec_id = await start_python(compute, source, str(size))
        await compute.wait(exec_id)
        ran = await collect(compute, exec_id)
        assert len(ran.stdout) == size
        assert hashlib.sha256(ran.stdout).hexdigest().encode() == ran.stderr

    async def test_any_bytes_come_in_pieces_within_the_limit(
        self, compute: Compute, capabilities: ComputeCapabilities
    ) -> None:
        exec_id = await start_python(compute, "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4000)")
        assert (await collect(compute, exec_id)).stdout == bytes(range(256)) * 4000
        sizes = [len(event.data) async for event in compute.follow(exec_id) if hasattr(event, "data")]
        assert 0 < min(sizes) <= max(sizes) <= capabilities.limits.chunk_bytes

    async def test_a_program_may_say_nothing(self, compute: Compute) -> None:
        events = [event async for event in compute.follow(await start(compute, "true"))]
        assert events == [await compute.wait(events[-1].exec_id)]  # type: ignore[union-attr]

    async def test_a_program_may_close_its_outputs_and_go_on(self, compute: Compute) -> None:
        source = "import os; os.close(1); os.close(2); open('done', 'w').close()"
        assert (await run_python(compute, source)).end.exit_code == 0
        assert (await run(compute, "ls")).text == "done\n"


class TestInput:
    async def test_without_one_it_is_at_its_end(self, compute: Compute) -> None:
        exec_id = await start_python(compute, "import sys; print(sys.stdin.buffer.read()); sys.stdin.read()")
        assert (await collect(compute, exec_id)).text == "b''\n"
        with pytest.raises(WorkstationError):
            await compute.write_stdin(exec_id, b"x", offset=0)

    async def test_nothing_is_taken_twice_and_nothing_left_out(self, compute: Compute) -> None:
        exec_id = await start(compute, "cat", stdin=True)
        assert await compute.write_stdin(exec_id, b"ab", offset=0) == 2
        assert await compute.write_stdin(exec_id, b"ab", offset=0) == 2
        assert await compute.write_stdin(exec_id, b"bc", offset=1) == 3
        assert await compute.write_stdin(exec_id, b"", offset=3) == 3
        with pytest.raises(StdinOffsetMismatch) as caught:
            await compute.write_stdin(exec_id, b"x", offset=10)
        assert (caught.value.target, caught.value.expected) == (exec_id, 3)
        assert await compute.write_stdin(exec_id, b"cd", offset=2, eof=True) == 4
        ran = await collect(compute, exec_id)
        assert (ran.stdout, ran.status.stdin_bytes) == (b"abcd", 4)
        with pytest.raises(ExecEnded):
            await compute.write_stdin(exec_id, b"x", offset=4)

    async def test_the_end_alone_ends_it(self, compute: Compute) -> None:
        exec_id = await start(compute, "cat", stdin=True)
        assert await compute.write_stdin(exec_id, b"", offset=0, eof=True) == 0
        ran = await collect(compute, exec_id)
        assert (ran.stdout, ran.end.exit_code) == (b"", 0)

    async def test_more_than_a_pipe_holds(self, compute: Compute, capabilities: ComputeCapabilities) -> None:
        source = "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
        exec_id = await start_python(compute, source, stdin=True)
        data = bytes(range(251)) * 12_000
        offset = 0
        while offset < len(data):
            piece = data[offset : offset + min(capabilities.limits.stdin_bytes, 100_000)]
            offset = await compute.write_stdin(exec_id, piece, offset=offset)
        await compute.write_stdin(exec_id, b"", offset=offset, eof=True)
        assert (await collect(compute, exec_id)).text == hashlib.sha256(data).hexdigest() + "\n"

    async def test_a_program_that_never_reads_holds_nobody(
        self, compute: Compute, capabilities: ComputeCapabilities
    ) -> None:
        exec_id = await start(compute, "sleep", "1000", stdin=True)

        async def write_on() -> None:
            offset = 0
            for _ in range(100):
                offset = await compute.write_stdin(exec_id, b"x" * capabilities.limits.stdin_bytes, offset=offset)

        writing = asyncio.ensure_future(write_on())
        await asyncio.sleep(0.1)
        assert (await run(compute, "true")).end.exit_code == 0
        assert (await compute.cancel(exec_id)).end is not None
        with pytest.raises(WorkstationError):
            await writing

    async def test_a_program_that_closes_its_input_goes_on(self, compute: Compute) -> None:
        source = "import os; os.close(0); print('closed', flush=True); import time; time.sleep(1000)"
        exec_id = await start_python(compute, source, stdin=True)
        await heard(compute, exec_id, b"closed")
        outcomes = await asyncio.gather(
            *(compute.write_stdin(exec_id, b"x" * 1000, offset=0) for _ in range(3)), return_exceptions=True
        )
        assert all(outcome == 1000 or isinstance(outcome, WorkstationError) for outcome in outcomes)
        assert (await compute.wait(exec_id, timeout=0)).end is None

    async def test_lines_go_to_and_fro(self, compute: Compute) -> None:
        exec_id = fresh_id()
        source = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"
        await compute.start(exec_id, ExecSpec(argv=("python3", "-c", source), stdin=True))
        offset = 0
        for word in ("one", "two", "three"):
            offset = await compute.write_stdin(exec_id, f"{word}\n".encode(), offset=offset)
            await heard(compute, exec_id, word.upper().encode())
