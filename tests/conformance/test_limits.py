"""Every bound holds for the whole tree of a program, and reaching one ends in the reason that fits."""

import pytest

from tests.conformance.conftest import OpenCompute
from tests.conformance.programs import collect, printed, run, run_python, start, start_python
from workstation.errors import LimitExceeded
from workstation.interface import Compute, ComputeCapabilities, EndReason, ExecLimits, FileSystem, QuotaKind

MIB = 1 << 20
MEMORY = ExecLimits(memory_bytes=128 * MIB)

FILL = """
import errno, os, sys
block = b"x" * (1 << 20)
try:
    with open(sys.argv[1], "wb", buffering=0) as file:
        for _ in range(4096):
            file.write(block)
    print("endless")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


class TestMemory:
    async def test_of_one_process(self, compute: Compute) -> None:
        ran = await run_python(compute, "data = b'x' * (256 << 20); print('had it')", limits=MEMORY)
        assert (ran.end.reason, ran.text) == (EndReason.OUT_OF_MEMORY, "")

    async def test_of_many_together(self, compute: Compute) -> None:
        source = """
            import os, time
            for _ in range(8):
                if os.fork() == 0:
                    data = b"x" * (32 << 20)
                    time.sleep(1000)
            for _ in range(8):
                os.wait()
            time.sleep(1000)
        """
        assert (await run_python(compute, source, limits=MEMORY)).end.reason is EndReason.OUT_OF_MEMORY

    async def test_a_child_that_is_killed_for_it_ends_the_whole(self, compute: Compute) -> None:
        source = """
            import os, time
            if os.fork() == 0:
                data = b"x" * (256 << 20)
            os.wait()
            time.sleep(1000)
        """
        assert (await run_python(compute, source, limits=MEMORY)).end.reason is EndReason.OUT_OF_MEMORY

    @pytest.mark.parametrize(
        "source",
        [
            "import mmap; m = mmap.mmap(-1, 512 << 20)\nfor i in range(0, 512 << 20, 4096): m[i] = 1",
            "import os; fd = os.memfd_create('x')\nfor _ in range(512): os.write(fd, b'x' * (1 << 20))",
            "with open('/dev/shm/x', 'wb', 0) as f:\n    for _ in range(512): f.write(b'x' * (1 << 20))",
        ],
        ids=["mmap", "memfd", "shm"],
    )
    async def test_in_whatever_form_it_is_taken(self, compute: Compute, source: str) -> None:
        ran = await run_python(compute, source, limits=MEMORY)
        assert ran.end.reason is EndReason.OUT_OF_MEMORY or b"No space left" in ran.stderr

    async def test_below_the_bound_all_is_well(self, compute: Compute) -> None:
        ran = await run_python(compute, "data = b'x' * (80 << 20); print('had it')", limits=MEMORY)
        assert (ran.end.reason, ran.text) == (EndReason.EXITED, "had it\n")
        assert 80 * MIB <= ran.end.peak_memory_bytes <= 200 * MIB


class TestProcesses:
    async def test_no_more_than_allowed(self, compute: Compute) -> None:
        source = """
            import os, time
            count = 1
            try:
                while os.fork():
                    count += 1
                time.sleep(1000)
            except BlockingIOError:
                print(count)
        """
        assert 10 <= int(await printed(compute, source, limits=ExecLimits(processes=20))) <= 20

    async def test_threads_count(self, compute: Compute) -> None:
        source = """
            import threading
            hold, count = threading.Event(), 1
            try:
                while True:
                    threading.Thread(target=hold.wait, daemon=True).start()
                    count += 1
            except RuntimeError:
                print(count, flush=True)
                hold.set()
        """
        assert 10 <= int(await printed(compute, source, limits=ExecLimits(processes=20))) <= 20

    @pytest.mark.parametrize(
        "source",
        [
            "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
            "import os\nwhile True:\n    try: os.fork() and os.setsid()\n    except OSError: pass",
            "import os\nwhile True:\n    try: os.fork() or os._exit(0)\n    except OSError: pass",
        ],
        ids=["fork bomb", "with sessions", "zombies"],
    )
    async def test_a_bomb_ends_with_its_time(self, compute: Compute, source: str) -> None:
        end = (await run_python(compute, source, limits=ExecLimits(wall_seconds=1.5, grace_seconds=0.2))).end
        assert end.reason is EndReason.TIMED_OUT

    async def test_a_bomb_can_be_cancelled(self, compute: Compute) -> None:
        exec_id = await start(compute, "sh", "-c", "bomb() { bomb | bomb & }; (bomb); echo lit; exec sleep 1000")
        assert (await compute.wait(exec_id, timeout=0.5)).end is None
        assert (await compute.cancel(exec_id)).end is not None


class TestTime:
    async def test_the_program_is_asked_to_end(self, compute: Compute) -> None:
        source = """
            import signal, time
            signal.signal(signal.SIGTERM, lambda *_: exit(print("bye")))
            while True:
                time.sleep(0.05)
        """
        ran = await run_python(compute, source, limits=ExecLimits(wall_seconds=1))
        assert (ran.end.reason, ran.text) == (EndReason.TIMED_OUT, "bye\n")
        assert ran.end.wall_seconds >= 1

    async def test_one_that_does_not_care_ends_by_the_signal(self, compute: Compute) -> None:
        end = (await run(compute, "sleep", "1000", limits=ExecLimits(wall_seconds=0.5))).end
        assert (end.reason, end.signal) == (EndReason.TIMED_OUT, 15)

    async def test_a_stopped_one_ends_too(self, compute: Compute) -> None:
        source = "import os; os.kill(os.getpid(), 19)"
        end = (await run_python(compute, source, limits=ExecLimits(wall_seconds=0.5, grace_seconds=0.2))).end
        assert end.reason is EndReason.TIMED_OUT

    async def test_processors_are_shared_as_asked(self, compute: Compute) -> None:
        source = "import os\nos.fork(), os.fork()\nwhile True: pass"
        limits = ExecLimits(cpus=0.25, wall_seconds=3, grace_seconds=0.1)
        end = (await run_python(compute, source, limits=limits)).end
        assert 0 < end.cpu_seconds <= 0.25 * end.wall_seconds * 1.3 + 0.1

    async def test_usage_counts_the_whole_tree(self, compute: Compute) -> None:
        source = """
            import os, time
            if os.fork() == 0:
                data = b"x" * (60 << 20)
                while time.process_time() < 0.5:
                    pass
                os._exit(0)
            os.wait()
        """
        end = (await run_python(compute, source)).end
        assert 0.5 <= end.cpu_seconds <= end.wall_seconds * 8
        assert 60 * MIB <= end.peak_memory_bytes <= 200 * MIB
        small = (await run_python(compute, "data = b'x' * (8 << 20)")).end
        assert small.wall_seconds > 0
        assert 8 * MIB <= small.peak_memory_bytes < 60 * MIB
        assert small.cpu_seconds < 0.5


class TestOutput:
    @pytest.mark.parametrize("script", ["yes", "yes >&2", "yes & yes >&2", "yes & sleep 1000", "cat /dev/zero"])
    async def test_a_flood_ends_the_program(self, compute: Compute, script: str) -> None:
        exec_id = await start(compute, "sh", "-c", script, limits=ExecLimits(output_bytes=MIB))
        status = await compute.wait(exec_id)
        assert status.end is not None
        assert status.end.reason is EndReason.OUTPUT_LIMIT
        assert status.stdout_bytes + status.stderr_bytes <= MIB
        ran = await collect(compute, exec_id)
        assert len(ran.stdout) + len(ran.stderr) == status.stdout_bytes + status.stderr_bytes > MIB - 200_000

    async def test_exactly_as_much_as_allowed_is_fine(self, compute: Compute) -> None:
        source = "import os; os.write(1, b'x' * 60_000); os.write(2, b'y' * 40_000)"
        ran = await run_python(compute, source, limits=ExecLimits(output_bytes=100_000))
        assert (ran.end.reason, len(ran.stdout), len(ran.stderr)) == (EndReason.EXITED, 60_000, 40_000)
        ran = await run_python(compute, source, limits=ExecLimits(output_bytes=99_999))
        assert ran.end.reason is EndReason.OUTPUT_LIMIT


class TestStorage:
    @pytest.mark.parametrize("place", ["/tmp/file", "/dev/shm/file"])
    async def test_scratch_space_is_bounded(self, compute: Compute, place: str) -> None:
        ran = await run_python(compute, FILL, place)
        assert ran.end.reason is EndReason.OUT_OF_MEMORY or ran.text == "ENOSPC\n"
        assert (await run(compute, "ls", place)).end.exit_code != 0

    @pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
    async def test_scratch_space_holds_so_many_names(self, compute: Compute, place: str) -> None:
        source = """
            import os, sys
            os.chdir(sys.argv[1])
            try:
                for number in range(400_000):
                    os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY))
                print("endless")
            except OSError as error:
                print(os.strerror(error.errno))
        """
        ran = await run_python(compute, source, place)
        assert ran.end.reason is EndReason.OUT_OF_MEMORY or ran.text == "No space left on device\n"

    async def test_one_file_is_bounded(self, compute: Compute) -> None:
        source = """
            import errno
            with open("file", "wb") as file:
                try:
                    file.truncate(1 << 42)
                except OSError as error:
                    print(errno.errorcode[error.errno])
        """
        assert await printed(compute, source) in ("EFBIG\n", "ENOSPC\n", "EDQUOT\n")

    async def test_the_workspace_holds_what_its_quota_says(
        self, compute: Compute, capabilities: ComputeCapabilities, files: FileSystem
    ) -> None:
        kind = (await files.capabilities()).quota
        assert capabilities.workspace_quota is kind
        if kind is QuotaKind.ENFORCED:
            assert await printed(compute, FILL, "file") in ("ENOSPC\n", "EDQUOT\n")
            await files.remove("file")

    async def test_no_core_is_dumped(self, compute: Compute, files: FileSystem) -> None:
        await run_python(compute, "import os; os.abort()")
        await run(compute, "sh", "-c", "ulimit -c unlimited; kill -SEGV $$")
        assert (await files.list()).entries == ()


class TestOthers:
    async def test_descriptors_run_out(self, compute: Compute) -> None:
        source = """
            import os
            try:
                for count in range(1 << 20):
                    os.open("/dev/null", os.O_RDONLY)
            except OSError as error:
                print(os.strerror(error.errno))
        """
        assert await printed(compute, source) == "Too many open files\n"

    async def test_priorities_cannot_be_raised(self, compute: Compute) -> None:
        source = """
            import os
            for call in (lambda: os.nice(-1), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))):
                try:
                    call()
                    print("raised")
                except PermissionError:
                    print("refused")
        """
        assert await printed(compute, source) == "refused\nrefused\n"

    async def test_limits_cannot_be_raised(self, compute: Compute) -> None:
        source = """
            import resource
            for name in ("NOFILE", "FSIZE", "CORE", "NPROC", "MEMLOCK", "RTPRIO", "NICE"):
                number = getattr(resource, "RLIMIT_" + name)
                hard = resource.getrlimit(number)[1]
                try:
                    resource.setrlimit(number, (hard, resource.RLIM_INFINITY))
                    if hard != resource.RLIM_INFINITY:
                        print(name)
                except (PermissionError, ValueError):
                    pass
        """
        assert await printed(compute, source) == ""

    async def test_so_many_run_at_a_time(self, open_compute: OpenCompute) -> None:
        async with open_compute(executions=2) as compute:
            first, _ = [await start(compute, "sleep", "1000") for _ in range(2)]
            with pytest.raises(LimitExceeded) as caught:
                await start(compute, "true")
            assert (caught.value.limit, caught.value.allowed) == ("executions", 2)
            await compute.cancel(first)
            assert (await run(compute, "true")).end.exit_code == 0

    async def test_locks_and_pipes_of_a_dead_program_are_free(self, compute: Compute) -> None:
        source = (
            "import fcntl; f = open('lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
        )
        exec_id = await start_python(compute, source, stdin=True)
        await compute.cancel(exec_id)
        assert await printed(compute, source.replace("input()", "")) == "held\n"
