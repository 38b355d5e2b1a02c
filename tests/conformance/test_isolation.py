"""A program is nobody, sees only processes of its own and is told nothing of the host."""

import shutil
import socket
from pathlib import Path

import pytest

from tests.conformance.programs import printed, run, run_python
from workstation.interface import Compute, EndReason

SECRET = "the-secret-of-the-test-process"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in the environment, from before the Compute opens."""
    monkeypatch.setenv("CONFORMANCE_SECRET", SECRET)


class TestIdentity:
    async def test_it_is_an_unprivileged_user(self, compute: Compute) -> None:
        source = """
            import os, pwd
            print(os.getresuid(), os.getresgid(), 0 in os.getgroups())
            for call in (
                lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.chown("/tmp", 0, 0)
            ):
                try:
                    call()
                    print("became root")
                except OSError:
                    pass
        """
        assert await printed(compute, source) == "(1000, 1000, 1000) (1000, 1000, 1000) False\n"

    async def test_it_has_no_capability_and_can_gain_none(self, compute: Compute) -> None:
        lines = (await run(compute, "cat", "/proc/self/status")).text.splitlines()
        status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        assert {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == dict.fromkeys(
            ("CapInh", "CapPrm", "CapEff", "CapAmb"), 0
        )
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")

    async def test_setuid_programs_raise_nobody(self, compute: Compute, planted: Path) -> None:
        shutil.copy("/usr/bin/id", planted / "id")
        (planted / "id").chmod(0o6755)  # as root, a program of root's; the workspace could have come from anywhere
        assert (await run(compute, "./id", "-u")).text == "1000\n"
        source = """
            import subprocess
            for command in (["su", "-c", "id -u"], ["mount", "-t", "tmpfs", "none", "/tmp"], ["newgrp", "root"]):
                try:
                    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
                    print(ran.stdout, ran.returncode) if ran.stdout or not ran.returncode else None
                except FileNotFoundError:
                    pass
        """
        assert await printed(compute, source) == ""

    async def test_the_hosts_name_is_not_told(self, compute: Compute) -> None:
        assert (await printed(compute, "import socket; print(socket.gethostname())")).strip() != socket.gethostname()

    async def test_only_the_three_descriptors_are_inherited(self, compute: Compute) -> None:
        source = """
            import os
            def is_open(fd):
                try:
                    return bool(os.fstat(fd))
                except OSError:
                    return False
            print([fd for fd in range(70_000) if is_open(fd)])
        """
        assert await printed(compute, source) == "[0, 1, 2]\n"

    async def test_the_environment_tells_no_secret(self, compute: Compute) -> None:
        source = """
            import glob, os, sys
            seen = str(os.environ)
            for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
                try:
                    seen += open(path, errors="replace").read()
                except OSError:
                    pass
            print(len(seen) > 20, sys.argv[1][::-1] in seen)
        """
        assert await printed(compute, source, SECRET[::-1]) == "True False\n"


class TestProc:
    async def test_only_processes_of_the_jail_are_there(self, compute: Compute) -> None:
        source = "import os; print(sorted(int(name) for name in os.listdir('/proc') if name.isdigit()))"
        pids = eval(await printed(compute, source))
        assert len(pids) <= 5
        assert max(pids) < 100

    @pytest.mark.parametrize(
        "path",
        [
            *("/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches"),
            *("/proc/sysrq-trigger", "/proc/self/oom_score_adj", "/proc/self/uid_map", "/proc/self/setgroups"),
            *("/proc/1/mem", "/proc/1/oom_score_adj", "/proc/1/comm", "/proc/1/cwd/x", "/proc/1/root/x", "/proc/mtrr"),
        ],
    )
    async def test_nothing_is_written_there(self, compute: Compute, path: str) -> None:
        await run(compute, "chmod", "555", ".")  # where the first process may be
        ran = await run_python(compute, "import sys; open(sys.argv[1], 'r+b' if '/mem' in sys.argv[1] else 'wb')", path)
        assert ran.end.exit_code == 1
        assert ran.stderr.splitlines()[-1].startswith((b"PermissionError", b"OSError", b"FileNotFoundError")), (
            ran.stderr
        )

    @pytest.mark.parametrize("path", ["/proc/kcore", "/proc/kmsg", "/proc/kpagecount", "/proc/vmallocinfo"])
    async def test_the_kernels_memory_is_not_read(self, compute: Compute, path: str) -> None:
        ran = await run_python(compute, "import sys; print(len(open(sys.argv[1], 'rb').read(100)))", path)
        assert (ran.end.exit_code, ran.stdout) == (1, b"")

    async def test_the_first_process_is_closed(self, compute: Compute) -> None:
        source = """
            import os
            for name in ("fd", "map_files", "task/1/fd"):
                try:
                    for entry in os.listdir(f"/proc/1/{name}"):
                        os.open(f"/proc/1/{name}/{entry}", os.O_RDONLY)
                        print("opened", name, entry)
                except OSError:
                    pass
            try:
                os.open("/proc/1/mem", os.O_RDONLY)
                print("opened its memory")
            except OSError:
                pass
        """
        assert await printed(compute, source) == ""

    async def test_a_programs_own_memory_is_its_own(self, compute: Compute) -> None:
        source = """
            import ctypes
            value = ctypes.create_string_buffer(b"mine")
            with open("/proc/self/mem", "rb") as memory:
                memory.seek(ctypes.addressof(value))
                print(memory.read(4))
        """
        assert await printed(compute, source) == "b'mine'\n"


async def test_a_crash_says_nothing_of_the_host(compute: Compute) -> None:
    ran = await run_python(compute, "import ctypes; ctypes.string_at(0)")
    assert (ran.end.reason, ran.end.signal) == (EndReason.SIGNALED, 11)
    assert ran.stderr == b""
