"""What a program sees is its workspace and a small system of its own: nothing of the host, nothing of others."""

import ctypes
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.programs import fresh_id, printed, run, run_python
from workstation.interface import Compute, ComputeCapabilities, EndReason

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


class TestFiles:
    @pytest.mark.parametrize(
        "path",
        [
            "/etc/shadow",
            "/etc/passwd-",
            "/etc/ssh",
            "/etc/hostname",
            "/var/log",
            "/var/lib",
            "/boot",
            "/sys/kernel",
            "/sys/fs/cgroup",
            "/run",
            "/mnt",
            "/media",
            "/srv",
            "/dev/mem",
            "/dev/kmsg",
            "/dev/fuse",
            "/dev/kvm",
            "/dev/net/tun",
            "/dev/vsock",
            "/run/docker.sock",
            "/proc/1/root/etc/shadow",
            "/proc/1/cwd/../etc/shadow",
        ],
    )
    async def test_the_hosts_are_not_there(self, compute: Compute, path: str) -> None:
        source = """
            import os, sys
            try:
                print(os.listdir(sys.argv[1]) if os.path.isdir(sys.argv[1]) else open(sys.argv[1], "rb").read(10))
            except OSError:
                print([])
        """
        assert await printed(compute, source, path) == "[]\n"

    async def test_of_a_home_only_the_way_to_python_is_there(self, compute: Compute) -> None:
        home, python = Path.home(), Path(sys.base_prefix)
        names = (await run(compute, "ls", "-A", str(home))).text.split()
        assert set(names) <= {part for part in python.parts if python.is_relative_to(home)}

    async def test_neither_are_the_suite_and_other_workspaces(
        self, compute: Compute, planted: Path, outside: Path, neighbour: Compute
    ) -> None:
        await run(neighbour, "touch", "theirs")
        for path in (Path(__file__), outside / "file", planted, planted.parent / "neighbour" / "theirs"):
            assert path.exists()
            assert (await run(compute, "cat", str(path))).stdout == b""
            assert (await run(compute, "ls", str(path))).stdout == b""

    async def test_three_places_can_be_written(self, compute: Compute) -> None:
        source = """
            import os
            for place, directories, files in os.walk("/"):
                if place.startswith("/proc"):
                    directories.clear()
                    continue
                if os.access(place, os.W_OK):
                    print(place)
                    directories.clear()
        """
        assert set((await printed(compute, source)).split()) == {"/workspace", "/tmp", "/dev/shm"}

    async def test_mounts_say_so_too(self, compute: Compute) -> None:
        mounts = [line.split() for line in (await run(compute, "cat", "/proc/self/mounts")).text.splitlines()]
        writable = {place for _, place, _, options, *_ in mounts if "rw" in options.split(",")}
        devices = {f"/dev/{name}" for name in ("full", "null", "pts", "random", "tty", "urandom", "zero")}
        assert writable - devices == {"/workspace", "/tmp", "/dev/shm"}
        for _, place, kind, options, *_ in mounts:
            assert kind not in ("cgroup", "cgroup2", "sysfs", "securityfs", "debugfs", "tracefs", "bpf", "mqueue")
            if place in ("/workspace", "/tmp", "/dev/shm"):
                assert {"nosuid", "nodev"} <= set(options.split(","))

    @pytest.mark.parametrize("place", ["/", "/usr", "/usr/bin", "/etc", "/lib", "/opt", "/dev", "/proc", "/var"])
    async def test_nothing_else_can_be_changed(self, compute: Compute, place: str) -> None:
        source = """
            import os, sys
            place = sys.argv[1]
            for call in (
                lambda: os.mkdir(f"{place}/new"), lambda: open(f"{place}/file", "w"), lambda: os.chmod(place, 0o777),
                lambda: os.symlink("/tmp", f"{place}/link"), lambda: os.rename(place, "/tmp/new"), lambda: os.utime(place),
            ):
                try:
                    call()
                    print("changed")
                except OSError:
                    pass
        """
        assert await printed(compute, source, place) == ""

    async def test_few_devices_are_there_and_none_can_be_made(self, compute: Compute) -> None:
        source = """
            import os, stat
            print(*sorted(os.listdir("/dev")))
            for place in ("/tmp", "/workspace", "/dev/shm"):
                for kind in (stat.S_IFCHR, stat.S_IFBLK):
                    try:
                        os.mknod(f"{place}/device", kind | 0o666, os.makedev(1, 1))
                        print("made")
                    except OSError:
                        pass
        """
        known = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
        assert set((await printed(compute, source)).split()) <= set(known.split())

    async def test_a_device_of_the_workspace_does_not_open(self, compute: Compute, planted: Path) -> None:
        if os.geteuid() == 0:
            os.mknod(planted / "device", 0o020666, os.makedev(1, 5))
            assert (await run(compute, "head", "-c", "1", "device")).stdout == b""
        else:
            with pytest.raises(PermissionError):
                os.mknod(planted / "device", 0o020666, os.makedev(1, 5))


class TestNetwork:
    @pytest.fixture
    def server(self) -> Iterator[int]:
        """A port of the host's loopback."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            yield int(listening.getsockname()[1])

    async def test_it_reaches_what_is_declared(self, compute: Compute, capabilities: ComputeCapabilities) -> None:
        source = "import socket; print(*sorted(name for _, name in socket.if_nameindex()))"
        interfaces = (await printed(compute, source)).split()
        assert (interfaces == ["lo"]) is not capabilities.network

    async def test_the_hosts_ports_are_out_of_reach(self, compute: Compute, server: int) -> None:
        addresses = {"127.0.0.1", socket.gethostname(), "::ffff:127.0.0.1", "0.0.0.0"}
        source = """
            import socket, sys
            for address in sys.argv[2:]:
                try:
                    socket.create_connection((address, int(sys.argv[1])), timeout=2)
                    print("reached", address)
                except OSError:
                    pass
        """
        assert await printed(compute, source, str(server), *addresses) == ""

    async def test_its_own_loopback_works(self, compute: Compute) -> None:
        source = """
            import socket
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname()).close()
            print("connected")
        """
        assert await printed(compute, source) == "connected\n"

    async def test_abstract_sockets_of_the_host_are_out_of_reach(self, compute: Compute) -> None:
        name = f"conformance-{os.getpid()}-{fresh_id()}"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"\0{name}")
            listening.listen()
            ran = await run_python(compute, f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')")
        assert b"ConnectionRefusedError" in ran.stderr
        assert name not in (await run(compute, "cat", "/proc/net/unix")).text

    @pytest.mark.parametrize(
        "arguments",
        [
            "AF_PACKET, SOCK_RAW",
            "AF_INET, SOCK_RAW, 1",
            "40, SOCK_STREAM",
            "AF_ALG, SOCK_SEQPACKET",
            "31, SOCK_RAW, 1",
        ],
        ids=["packet", "raw", "vsock", "alg", "bluetooth"],
    )
    async def test_other_kinds_of_sockets_are_refused(self, compute: Compute, arguments: str) -> None:
        """Those that see what others send, leave the machine without a network (vsock), or drive seldom used kernel code."""
        ran = await run_python(compute, f"from socket import *; socket({arguments}); print('made')")
        assert ran.stdout == b""

    async def test_two_workstations_do_not_meet(self, compute: Compute, neighbour: Compute) -> None:
        source = "import socket; s = socket.create_server(('127.0.0.1', 4321)); print('bound'); s.close()"
        assert await printed(compute, source) == await printed(neighbour, source) == "bound\n"


class TestSharedMemory:
    async def test_segments_of_the_host_are_not_seen(self, compute: Compute) -> None:
        libc, key = ctypes.CDLL(None), os.getpid() | 0x5A000000
        segment = libc.shmget(key, 4096, 0o1666)
        assert segment >= 0
        try:
            source = "import ctypes, sys; print(ctypes.CDLL(None).shmget(int(sys.argv[1]), 0, 0))"
            assert await printed(compute, source, str(key)) == "-1\n"
            assert len((await run(compute, "cat", "/proc/sysvipc/shm")).text.splitlines()) == 1
        finally:
            libc.shmctl(segment, 0, None)

    async def test_scratch_space_is_private_and_fresh(self, compute: Compute) -> None:
        source = """
            import os
            for place in ("/tmp", "/dev/shm"):
                print(os.listdir(place))
                open(f"{place}/left", "w").close()
        """
        assert await printed(compute, source) == await printed(compute, source) == "[]\n[]\n"

    async def test_a_segment_that_is_left_goes_with_the_jail(self, compute: Compute) -> None:
        source = "import ctypes; print(ctypes.CDLL(None).shmget(77, 4096, 0o666 | 0o3000) >= 0)"
        assert await printed(compute, source) == await printed(compute, source) == "True\n"


async def test_a_crash_says_nothing_of_the_host(compute: Compute) -> None:
    ran = await run_python(compute, "import ctypes; ctypes.string_at(0)")
    assert (ran.end.reason, ran.end.signal) == (EndReason.SIGNALED, 11)
    assert ran.stderr == b""
