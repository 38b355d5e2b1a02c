"""What the machine around the sandboxes sees of them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def marked_processes(marker: str) -> list[int]:
    """Processes with the marker in their arguments or their environment, as far as they can still run."""
    return [
        pid for pid in _pids() if marker.encode() in _read(pid, "cmdline") + _read(pid, "environ") and _can_run(pid)
    ]


def state_of(pid: int) -> str:
    """One letter: R, S, T, Z, … as in proc(5)."""
    return _read(pid, "stat").rpartition(b") ")[2][:1].decode()


def jailed_processes(workspace: Path) -> list[int]:
    """Processes that run as the account of this workspace: with root's tests nobody else has it.

    Without root they have our own, and those in another PID namespace are meant.
    """
    account = workspace.stat().st_uid
    root = os.geteuid() == 0
    return [pid for pid in _pids() if _account(pid) == account and (root or not _ours(pid)) and _can_run(pid)]


def described(pid: int) -> str:
    """A process for whoever reads a failure: its state, what it waits in, and its arguments."""
    return f"{pid} {state_of(pid)} {_read(pid, 'wchan').decode()} {_read(pid, 'cmdline')[:200]!r}"


def available_memory() -> int:
    """Bytes that could still be had."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) << 10


def _pids() -> Iterator[int]:
    return map(int, filter(str.isdigit, os.listdir("/proc")))


def _can_run(pid: int) -> bool:
    # One without memory is on its last way through the kernel, and runs nothing any more.
    return state_of(pid) not in ("Z", "X", "") and not _read(pid, "statm").startswith(b"0 ")


def _account(pid: int) -> int | None:
    with suppress(FileNotFoundError, ProcessLookupError):
        return os.stat(f"/proc/{pid}/task").st_uid
    return None


def _ours(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    return True


def _read(pid: int, name: str) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
