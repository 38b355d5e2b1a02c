"""Nothing a program does keeps its end, its neighbours or its keeper waiting: what somebody holds is let go of."""

import asyncio

from tests.conformance.declared import needs_sessions, needs_terminal
from tests.conformance.programs import (
    PATIENCE,
    collect,
    fresh_id,
    heard,
    interpreter,
    run,
    run_python,
    start,
    start_python,
)
from workstation.interface import Compute, EndReason, ExecLimits, SessionSpec, SessionText, Terminal

STARVING = """
import os
for call in (
    lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
    lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
    lambda: os.setpriority(os.PRIO_USER, 0, 19),
    lambda: os.sched_setaffinity(1, {0}),
):
    try:
        call()
        print("done")
    except PermissionError:
        print("refused")
"""
BUSY = """
import os
for _ in range(60):
    if os.fork() == 0:
        while True:
            pass
while True:
    pass
"""


class TestTheFirstProcess:
    async def test_its_share_of_the_processor_is_not_the_programs_to_set(self, compute: Compute) -> None:
        assert (await run_python(compute, STARVING)).text == "refused\n" * 4

    async def test_a_program_may_still_change_its_own(self, compute: Compute) -> None:
        source = (
            "import os; before = os.nice(0); os.nice(5); os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)); "
            "print(os.nice(0) == min(before + 5, 19))"
        )
        assert (await run_python(compute, source)).text == "True\n"

    async def test_a_crowd_with_a_sliver_of_a_processor_ends_with_its_time(self, compute: Compute) -> None:
        limits = ExecLimits(cpus=0.05, wall_seconds=2, grace_seconds=1)
        exec_id = await start_python(compute, STARVING + BUSY, limits=limits)
        assert (await collect(compute, exec_id)).end.reason is EndReason.TIMED_OUT

    async def test_and_can_be_cancelled(self, compute: Compute) -> None:
        exec_id = await start_python(compute, BUSY, limits=ExecLimits(cpus=0.05))
        async with asyncio.timeout(PATIENCE):
            status = await compute.cancel(exec_id)
        assert status.end is not None
        assert status.end.reason is EndReason.CANCELLED


class TestSmallShares:
    async def test_the_smallest_share_of_a_processor_runs_a_program(self, compute: Compute) -> None:
        assert (await run(compute, "true", limits=ExecLimits(cpus=0.0001))).end.exit_code == 0


class TestDescriptors:
    async def test_an_output_that_another_program_holds_ends_all_the_same(self, compute: Compute) -> None:
        holder = await start_python(
            compute,
            """
            import socket, time
            door = socket.socket(socket.AF_UNIX)
            door.bind("door")
            door.listen()
            print("open", flush=True)
            held = socket.recv_fds(door.accept()[0], 1, 1)
            time.sleep(1000)
            """,
        )
        await heard(compute, holder, b"open\n")
        giving = """
            import socket
            door = socket.socket(socket.AF_UNIX)
            door.connect("door")
            socket.send_fds(door, [b"x"], [1])
            print("gave")
        """
        ran = await run_python(compute, giving)
        assert (ran.text, ran.end.reason, ran.end.exit_code) == ("gave\n", EndReason.EXITED, 0)
        await compute.cancel(holder)


@needs_terminal
class TestTerminals:
    async def test_the_end_of_input_comes_after_part_of_a_line_too(self, compute: Compute) -> None:
        exec_id = await start(compute, "cat", terminal=Terminal())
        await compute.write_stdin(exec_id, b"part", offset=0, eof=True)
        assert (await collect(compute, exec_id)).end.exit_code == 0

    async def test_it_can_be_written_to_after_nobody_had_it_open(self, compute: Compute) -> None:
        shell = "exec </dev/null >/dev/null 2>&1; sleep 0.5; echo late >/dev/tty"
        ran = await collect(compute, await start(compute, "sh", "-c", shell, terminal=Terminal()))
        assert ran.text == "late\r\n"


@needs_sessions
class TestSessions:
    async def test_a_flood_of_answers_ends_the_run_at_its_bound(self, compute: Compute) -> None:
        flood = """
            import json, os, socket
            error = json.dumps({"error": {"name": "n", "message": "m", "traceback": "t" * 60000}}).encode()
            frame = len(error).to_bytes(4, "big") + error
            for fd in range(3, 64):
                try:
                    door = socket.socket(fileno=os.dup(fd))
                    door.setblocking(True)
                    while True:
                        door.sendall(frame)
                except OSError:
                    pass
        """
        limits = ExecLimits(output_bytes=1 << 20, wall_seconds=20, grace_seconds=1)
        async with interpreter(compute, limits=limits) as python:
            ran = await python.run(flood)
            assert sum(len(event.traceback) for event in ran.events if hasattr(event, "traceback")) <= 1 << 20
            assert ran.end.reason is not EndReason.EXITED or not ran.events[:-1]

    async def test_an_answer_that_is_no_use_but_long_to_read_ends_the_session(self, compute: Compute) -> None:
        long = """
            import os, socket
            answer = b'{"result":[' + b'["t","aGk="],' * 200_000 + b'["t","aGk="]]}'
            for fd in range(3, 64):
                try:
                    socket.socket(fileno=os.dup(fd)).sendall(len(answer).to_bytes(4, "big") + answer)
                except OSError:
                    pass
            import time; time.sleep(1000)
        """
        async with interpreter(compute, limits=ExecLimits(wall_seconds=5, grace_seconds=1)) as python:
            assert not (await python.run(long)).end.session_alive
        assert (await run(compute, "true")).end.exit_code == 0

    async def test_the_smallest_share_of_a_processor_opens_one(self, compute: Compute) -> None:
        session_id = fresh_id()
        await compute.open_session(session_id, SessionSpec(limits=ExecLimits(cpus=0.001)))
        await compute.close_session(session_id)
        assert (await run(compute, "true")).end.exit_code == 0

    async def test_what_is_printed_between_runs_comes_or_is_said_to_be_left_out(self, compute: Compute) -> None:
        printing = """
            import threading, time
            def print_much():
                time.sleep(0.2)
                print("x" * 1_000_000)
                open("done", "w").close()
            threading.Thread(target=print_much).start()
        """
        async with interpreter(compute) as python:
            await python.run(printing)
            await run(compute, "sh", "-c", "until [ -e done ]; do sleep 0.1; done")
            ran = await python.run("print('end')")
            printed = "".join(event.text for event in ran.events if isinstance(event, SessionText))
            assert printed.count("x") == 1_000_000 or "left out" in printed
            assert ran.text.endswith("end\n")
