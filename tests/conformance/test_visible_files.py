"""Of files a program sees its workspace and a small system of its own, and changes only the first."""

import os
import sys
from pathlib import Path

import pytest

from tests.conformance.programs import printed, run
from workstation.interface import Compute


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
        self, compute: Compute, planted: Path, outside: Path, next_door: Path, neighbour: Compute
    ) -> None:
        await run(neighbour, "touch", "theirs")
        for path in (Path(__file__), outside / "file", planted, next_door / "theirs"):
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
