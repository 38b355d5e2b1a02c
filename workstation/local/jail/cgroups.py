"""Control groups: what a jail's whole tree of processes may use, what it did use, and whether it ran out of memory.

One group a jail, made below the one this process lives in (so that limits of a container or a service hold too), on
cgroup v2 or on the four v1 hierarchies that do the same. The names and meanings of the files are the kernel's:
https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/.
"""

import errno
import itertools
import math
import os
import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from workstation.errors import SandboxUnavailable

V1_CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
V2_CONTROLLERS = ("memory", "pids", "cpu")
_PERIOD_US = 100_000
_LEAST_QUOTA_US = 1_000
"""The kernel takes none below."""
_JAILS, _MAIN = "empla-jails", "empla-main"
"""On v2, where groups are made, and where our own processes move to beside them: there only leaves may have any."""
EMPLOYEE_GROUP = "empla-employee-"
"""How the groups of employees begin, which bound their processes alone: jails lie beside them."""
_ATTEMPTS = 20
_WANTED = " ".join(f"+{name}" for name in V2_CONTROLLERS)
_NAME = re.compile(r"empla-jail-(\d+)-\d+")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """Bounds of a tree of processes; `cpus` is a share of processors, `weight` what it gets when all want them, of 100.

    When memory runs out the kernel kills one process; with `ends_together` all others end with it.
    """

    memory_bytes: int
    processes: int
    cpus: float
    ends_together: bool = True
    weight: int | None = None


class Group(ABC):
    """The control group of one jail."""

    def __init__(self, directories: tuple[Path, ...]) -> None:
        self._directories = directories
        self._limits: GroupLimits | None = None
        self._together = True
        self._held: dict[Path, int] = {}

    @property
    def directories(self) -> tuple[Path, ...]:
        """Where the kernel shows the group, once for each hierarchy."""
        return tuple(dict.fromkeys(self._directories))

    @property
    def entrances(self) -> tuple[str, ...]:
        """The files to which a process writes its id to be in the group."""
        return tuple(str(directory / "cgroup.procs") for directory in dict.fromkeys(self._directories))

    def limit(self, limits: GroupLimits) -> None:
        """Set bounds; only ever lower ones than before."""
        before, self._together = self._limits, limits.ends_together
        if before is None or limits.memory_bytes != before.memory_bytes:
            self._limit_memory(limits.memory_bytes)
        if before is None or limits.processes != before.processes:
            self._limit_processes(limits.processes)
        if before is None or limits.cpus != before.cpus:
            self._limit_cpus(limits.cpus)
        if limits.weight is not None:
            self._weigh(limits.weight)
        self._limits = limits

    def pids(self) -> list[int]:
        """Who is in the group."""
        try:
            return members(self._directories[0])
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):  # removed already, or while it was read
                return []
            raise

    def remove(self) -> bool:
        """Remove the group; False while somebody is still in it."""
        while self._held:
            os.close(self._held.popitem()[1])
        for directory in dict.fromkeys(self._directories):
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                return False
        return True

    def oom_descriptor(self) -> int | None:
        """A new descriptor that becomes readable when memory runs out; None where the kernel then ends all."""
        return None

    def _read(self, path: Path) -> str:
        """What a file of the kernel's says now; it stays open, which makes reading it again ten times as fast."""
        if path not in self._held:
            self._held[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._held[path], 4096, 0).decode()

    def _fields(self, path: Path) -> dict[str, int]:
        lines = self._read(path).splitlines()
        return {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}

    @abstractmethod
    def _limit_memory(self, count: int) -> None: ...

    @abstractmethod
    def _limit_processes(self, count: int) -> None: ...

    @abstractmethod
    def _limit_cpus(self, cpus: float) -> None: ...

    @abstractmethod
    def _weigh(self, weight: int) -> None: ...

    @abstractmethod
    def cpu_seconds(self) -> float:
        """Processor time of all who are or were in the group."""

    @abstractmethod
    def memory_bytes(self) -> int:
        """What the group takes now."""

    @abstractmethod
    def peak_memory_bytes(self) -> int:
        """The most it took at once."""

    @abstractmethod
    def out_of_memory(self) -> bool:
        """Whether somebody in it was killed because the group's memory was used up."""


class _GroupV1(Group):
    def __init__(self, directories: tuple[Path, ...]) -> None:
        super().__init__(directories)
        self._memory, self._pids, self._cpu, self._cpuacct = directories

    def _limit_memory(self, count: int) -> None:
        # Memory with swap may never be less than memory alone: first the one that is in the way.
        names = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        for name in names if self._limits is None or count < self._limits.memory_bytes else reversed(names):
            with suppress(FileNotFoundError):  # a kernel without swap accounting
                _write(self._memory / name, count)

    def oom_descriptor(self) -> int | None:
        event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        control = os.open(self._memory / "memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _write(self._memory / "cgroup.event_control", f"{event} {control}")
        finally:
            os.close(control)
        return event

    def _limit_processes(self, count: int) -> None:
        _write(self._pids / "pids.max", count)

    def _limit_cpus(self, cpus: float) -> None:
        share = min(cpus, _share_above(self._cpu))  # more than a group above has is refused
        _write(self._cpu / "cpu.cfs_period_us", _PERIOD_US)
        _write(self._cpu / "cpu.cfs_quota_us", max(_LEAST_QUOTA_US, int(share * _PERIOD_US)))

    def _weigh(self, weight: int) -> None:
        _write(self._cpu / "cpu.shares", max(2, weight * 1024 // 100))

    def cpu_seconds(self) -> float:
        return int(self._read(self._cpuacct / "cpuacct.usage")) / 1e9

    def memory_bytes(self) -> int:
        return int(self._read(self._memory / "memory.usage_in_bytes"))

    def peak_memory_bytes(self) -> int:
        return int(self._read(self._memory / "memory.max_usage_in_bytes"))

    def out_of_memory(self) -> bool:
        return self._fields(self._memory / "memory.oom_control").get("oom_kill", 0) > 0


class _GroupV2(Group):
    def __init__(self, directories: tuple[Path, ...]) -> None:
        super().__init__(directories)
        (self._directory,) = directories

    def _limit_memory(self, count: int) -> None:
        _write(self._directory / "memory.max", count)
        _write(self._directory / "memory.oom.group", int(self._together))
        with suppress(FileNotFoundError):  # a kernel without swap
            _write(self._directory / "memory.swap.max", 0)

    def _limit_processes(self, count: int) -> None:
        _write(self._directory / "pids.max", count)

    def _limit_cpus(self, cpus: float) -> None:
        _write(self._directory / "cpu.max", f"{max(_LEAST_QUOTA_US, int(cpus * _PERIOD_US))} {_PERIOD_US}")

    def _weigh(self, weight: int) -> None:
        _write(self._directory / "cpu.weight", weight)

    def cpu_seconds(self) -> float:
        return self._fields(self._directory / "cpu.stat")["usage_usec"] / 1e6

    def memory_bytes(self) -> int:
        return int(self._read(self._directory / "memory.current"))

    def peak_memory_bytes(self) -> int:
        try:
            return int(self._read(self._directory / "memory.peak"))
        except FileNotFoundError:  # before Linux 5.19
            return self.memory_bytes()

    def out_of_memory(self) -> bool:
        return self._fields(self._directory / "memory.events").get("oom_kill", 0) > 0


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where the groups of jails are made: one directory on v2, one for each of `V1_CONTROLLERS` on v1."""

    parents: tuple[Path, ...]
    version: int

    def create(self, name: str = "") -> Group:
        """Make a group, by default one for a jail; raises `SandboxUnavailable`."""
        name = name or f"empla-jail-{os.getpid()}-{next(_numbers)}"
        directories = tuple(parent / name for parent in self.parents)
        made: list[Path] = []
        try:
            for directory in dict.fromkeys(directories):  # cpu and cpuacct are one on many machines
                directory.mkdir()
                made.append(directory)
        except OSError as error:
            for directory in made:
                directory.rmdir()
            raise SandboxUnavailable(f"no control group can be made: {error}") from error
        return _GroupV1(directories) if self.version == 1 else _GroupV2(directories)

    def sweep(self) -> None:
        """End the jails that owners who are gone left behind, and remove their groups."""
        for parent in self.parents:
            for directory in parent.glob("empla-jail-*"):
                owner = _NAME.fullmatch(directory.name)
                if owner and not Path(f"/proc/{owner[1]}").exists():
                    with suppress(
                        OSError
                    ):  # somebody else sweeps too, or it is not empty yet: the next sweep will do it
                        for pid in members(directory):
                            os.kill(pid, signal.SIGKILL)
                        directory.rmdir()


def members(directory: Path) -> list[int]:
    """The processes in the group that the kernel shows there, as far as we know them by a number of their own.

    It shows 0 for one that we do not see, as from within a container, and for one that ends at this moment. To kill 0 would
    be to kill ourselves and all of our process group.
    """
    return [int(pid) for pid in (directory / "cgroup.procs").read_text().split() if pid != "0"]


def find_cgroups(mounts: str | None = None, membership: str | None = None) -> Cgroups:
    """Find where groups can be made, by this process's `/proc/self/mountinfo` and `/proc/self/cgroup`.

    Raises `SandboxUnavailable` naming what is missing.
    """
    mounted = dict(_mounted(Path("/proc/self/mountinfo").read_text() if mounts is None else mounts))
    own = dict(_membership(Path("/proc/self/cgroup").read_text() if membership is None else membership))
    if all(name in mounted for name in V1_CONTROLLERS):
        places = tuple(_beside_employee(_below(mounted[name], own.get(name, "/"))) for name in V1_CONTROLLERS)
        _require_writable(places)
        return Cgroups(places, 1)
    if "" not in mounted:
        raise SandboxUnavailable("no control groups are mounted at /sys/fs/cgroup; programs cannot be bounded without")
    place = _beside_employee(_below(mounted[""], own.get("", "/")))
    if place.name == _JAILS:
        place = place.parent
    if place.name == _MAIN:  # we, or whoever started us, moved there before
        place = place.parent
    _require_writable((place,))
    return Cgroups((_delegated(place),), 2)


def _mounted(mountinfo: str) -> Iterator[tuple[str, tuple[Path, str]]]:
    """(controller, (mount point, its root in the hierarchy)) of each cgroup mount; '' is version 2."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        root, place = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup2":
            yield "", (Path(place), root)
        elif kind == "cgroup":
            for name in options.split(","):
                yield name, (Path(place), root)


def _membership(lines: str) -> Iterator[tuple[str, str]]:
    for line in lines.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            yield name, path


def _below(mount: tuple[Path, str], own: str) -> Path:
    """Where our own group is below its mount, which may show a part of the hierarchy only."""
    place, root = mount
    path = PurePosixPath(own)
    relative = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
    directory = place / relative
    return directory if directory.is_dir() else place


def _beside_employee(place: Path) -> Path:
    """Where an employee's own group lies: its memory is not that of its programs."""
    return place.parent if place.name.startswith(EMPLOYEE_GROUP) else place


def _share_above(group: Path) -> float:
    """The least share of processors that a version 1 group above has, as far as can be seen; infinite without any."""
    share = math.inf
    for place in group.parents:
        try:
            quota, period = (int((place / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        except FileNotFoundError:
            break
        if quota > 0:
            share = min(share, quota / period)
    return share


def _require_writable(places: tuple[Path, ...]) -> None:
    for place in places:
        if not os.access(place, os.W_OK):
            raise SandboxUnavailable(
                f"control groups cannot be made in {place}: run as root, or in a delegated group "
                "(systemd-run --user --scope -p Delegate=yes …), or give this account the directory"
            )


def _delegated(place: Path) -> Path:
    """A v2 directory whose children have the controllers."""
    try:
        missing = set(V2_CONTROLLERS) - set((place / "cgroup.controllers").read_text().split())
        if missing:
            raise SandboxUnavailable(_undelegated(place, f"{', '.join(sorted(missing))} missing"))
        _hand_down(place)
        jails = place / _JAILS
        jails.mkdir(exist_ok=True)
        _write(jails / "cgroup.subtree_control", _WANTED)
    except OSError as error:
        raise SandboxUnavailable(_undelegated(place, str(error))) from error
    return jails


def _undelegated(place: Path, why: str) -> str:
    return (
        f"the control group {place} does not offer {', '.join(V2_CONTROLLERS)} ({why}): start empla in a delegated group "
        f"(systemd-run {'' if os.geteuid() == 0 else '--user '}--scope -p Delegate=yes …, or a service with Delegate=yes)"
    )


def _hand_down(place: Path) -> None:
    """Give the controllers to the children of `place`; whoever lives in `place` has to leave it first."""
    switch = place / "cgroup.subtree_control"
    if set(V2_CONTROLLERS) <= set(switch.read_text().split()):
        return
    for attempt in range(_ATTEMPTS):
        if (place / "cgroup.type").exists():  # not the true root, where processes may stay
            _move_all(place, place / _MAIN)
        try:
            _write(switch, _WANTED)
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == _ATTEMPTS - 1:  # busy: somebody forked before they were moved
                raise
        else:
            return


def _move_all(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for pid in (source / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            _write(target / "cgroup.procs", pid)


def _write(path: Path, value: object) -> None:
    """Raises `FileNotFoundError` for a file that this kernel does not have: asked to create it, it says EACCES."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)
