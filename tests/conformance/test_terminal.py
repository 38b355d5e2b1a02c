"""A program with a terminal behaves as at a desk: sizes, keys that send signals, echo, job control."""

import asyncio

from tests.conformance.declared import needs_terminal
from tests.conformance.programs import collect, heard, printed, start, start_python
from workstation.interface import Compute, EndReason, ExecSignal, Terminal

TERMINAL = Terminal(columns=91, rows=33)


@needs_terminal
class TestTerminal:
    async def test_every_descriptor_is_the_terminal(self, compute: Compute) -> None:
        source = """
            import os, stat
            print([os.isatty(fd) for fd in range(3)])
            print(len({os.fstat(fd).st_rdev for fd in range(3)}), os.ttyname(0).startswith("/dev/pts/"))
            os.write(2, b"error\\n")
        """
        output = (await printed(compute, source, terminal=TERMINAL)).splitlines()
        assert output == ["[True, True, True]", "1 True", "error"]

    async def test_it_has_the_size_that_was_asked_for(self, compute: Compute) -> None:
        source = "import os; print(tuple(os.get_terminal_size(0)), bool(os.environ.get('TERM')))"
        assert await printed(compute, source, terminal=TERMINAL) == "(91, 33) True\r\n"

    async def test_it_controls_the_programs_session(self, compute: Compute) -> None:
        source = """
            import os
            print(os.getsid(0) == os.getpid() == os.getpgrp() == os.tcgetpgrp(0))
            with open("/dev/tty", "w") as terminal:
                terminal.write("here\\n")
        """
        assert await printed(compute, source, terminal=TERMINAL) == "True\r\nhere\r\n"

    async def test_without_one_there_is_none(self, compute: Compute) -> None:
        source = """
            import os
            print([os.isatty(fd) for fd in range(3)])
            try:
                open("/dev/tty")
            except OSError:
                print("no terminal")
        """
        assert await printed(compute, source) == "[False, False, False]\nno terminal\n"

    async def test_what_is_typed_shows(self, compute: Compute) -> None:
        exec_id = await start(compute, "cat", terminal=TERMINAL)
        await compute.write_stdin(exec_id, b"typed\n", offset=0)
        await heard(compute, exec_id, b"typed\r\ntyped\r\n")
        await compute.write_stdin(exec_id, b"\x04", offset=6)
        assert (await collect(compute, exec_id)).end.exit_code == 0

    async def test_the_end_of_input_ends_a_reader(self, compute: Compute) -> None:
        exec_id = await start(compute, "cat", terminal=TERMINAL)
        await compute.write_stdin(exec_id, b"typed\n", offset=0, eof=True)
        ran = await collect(compute, exec_id)
        assert (ran.text, ran.end.exit_code) == ("typed\r\ntyped\r\n", 0)

    async def test_control_c_interrupts(self, compute: Compute) -> None:
        source = """
            import time
            try:
                print("ready", flush=True)
                while True:
                    time.sleep(0.05)
            except KeyboardInterrupt:
                print("interrupted")
        """
        exec_id = await start_python(compute, source, terminal=TERMINAL)
        await heard(compute, exec_id, b"ready")
        await compute.write_stdin(exec_id, b"\x03", offset=0)
        ran = await collect(compute, exec_id)
        assert ran.text.endswith("interrupted\r\n")
        assert ran.end.exit_code == 0

    async def test_a_program_may_take_keys_raw(self, compute: Compute) -> None:
        source = """
            import os, tty
            tty.setraw(0)
            os.write(1, b"ready")
            print(os.read(0, 1) + os.read(0, 1))
        """
        exec_id = await start_python(compute, source, terminal=TERMINAL)
        await heard(compute, exec_id, b"ready")
        await compute.write_stdin(exec_id, b"\x03\x1a", offset=0)
        assert (await collect(compute, exec_id)).stdout == b"readyb'\\x03\\x1a'\n"

    async def test_a_shell_controls_jobs(self, compute: Compute) -> None:
        exec_id = await start(compute, "sh", "-m", "-i", terminal=TERMINAL, env={"PS1": "at your service "})
        offset = 0
        for line, answer in (("sleep 1000 & echo $((20+1))", b"21"), ("kill -9 %1; wait; echo $((40+2))", b"42")):
            await heard(compute, exec_id, b"at your service")
            offset = await compute.write_stdin(exec_id, f"{line}\n".encode(), offset=offset)
            await heard(compute, exec_id, answer)
        await compute.write_stdin(exec_id, b"exit 5\n", offset=offset)
        assert (await collect(compute, exec_id)).end.exit_code == 5

    async def test_hanging_up_ends_a_shell(self, compute: Compute) -> None:
        exec_id = await start(compute, "sh", terminal=TERMINAL)
        await compute.signal(exec_id, ExecSignal.HANGUP)
        end = (await collect(compute, exec_id)).end
        assert (end.reason, end.signal) == (EndReason.SIGNALED, 1)

    async def test_much_output_comes_whole(self, compute: Compute) -> None:
        source = "import sys\nfor number in range(30_000): print(number)"
        output = await printed(compute, source, terminal=TERMINAL)
        assert output == "".join(f"{number}\r\n" for number in range(30_000))

    async def test_two_terminals_are_apart(self, compute: Compute) -> None:
        one, two = [await start(compute, "cat", terminal=TERMINAL) for _ in range(2)]
        await asyncio.gather(
            compute.write_stdin(one, b"one\n", offset=0, eof=True),
            compute.write_stdin(two, b"two\n", offset=0, eof=True),
        )
        assert (await collect(compute, one)).text == "one\r\none\r\n"
        assert (await collect(compute, two)).text == "two\r\ntwo\r\n"
