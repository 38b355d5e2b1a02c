"""A control group for each sidecar, so that all it starts stays within what it was given."""

import logging
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sidecars.settings import SidecarSettings
from workstation.errors import SandboxUnavailable
from workstation.local.jail.cgroups import Cgroups, Group, GroupLimits, find_cgroups, members

log = logging.getLogger(__name__)

OVERHEAD_BYTES = 192 << 20
"""What the sidecar itself may take besides its programs."""
PROCESSES = 8192
GROUPS = "groups"
"""The file beside the socket that names the directories of the group, for whoever clears up after one that was killed."""
_NAME = re.compile(r"empla-sidecar-(\d+)")


@contextmanager
def bounded(settings: SidecarSettings) -> Iterator[None]:
    """Live in a control group of one's own for the length of the block, if there are bounds and groups can be made."""
    if settings.memory_bytes is None and settings.cpus is None:
        yield
        return
    try:
        cgroups = find_cgroups()
        _sweep(cgroups)
        group = cgroups.create(f"empla-sidecar-{os.getpid()}")
    except (SandboxUnavailable, OSError) as error:
        log.warning("no control group of its own: %s", error)
        yield
        return
    _record(settings, group)
    before = _membership(cgroups)
    try:
        group.limit(_limits(settings))
        _enter(group.entrances)
        yield
    finally:
        _enter(before)
        clear(group.directories)


def clear(directories: tuple[Path, ...]) -> None:
    """Remove a group and those below it; what is still in use stays."""
    for directory in dict.fromkeys(directories):
        for place, _, _ in os.walk(directory, topdown=False):
            with suppress(OSError):
                os.rmdir(place)


def _limits(settings: SidecarSettings) -> GroupLimits:
    memory = settings.memory_bytes + OVERHEAD_BYTES if settings.memory_bytes else 1 << 62
    return GroupLimits(memory, PROCESSES, settings.cpus or float(os.cpu_count() or 1), ends_together=False)


def _record(settings: SidecarSettings, group: Group) -> None:
    if settings.socket is not None:
        lines = "".join(f"{directory}\n" for directory in dict.fromkeys(group.directories))
        (settings.socket.parent / GROUPS).write_text(lines)


def _membership(cgroups: Cgroups) -> tuple[str, ...]:
    """Where this process lives before it moves, as files to write its id to."""
    if cgroups.version == 1:
        return tuple(str(parent / "cgroup.procs") for parent in cgroups.parents)
    (jails,) = cgroups.parents
    main = jails.parent / "empla-main"
    return (str((main if main.is_dir() else jails.parent) / "cgroup.procs"),)


def _enter(entrances: tuple[str, ...]) -> None:
    for entrance in entrances:
        try:
            Path(entrance).write_text(str(os.getpid()))
        except OSError as error:
            log.warning("the control group of %s cannot be entered: %s", entrance, error)


def _sweep(cgroups: Cgroups) -> None:
    """Clear up after sidecars that were killed."""
    for parent in dict.fromkeys(cgroups.parents):
        for directory in parent.glob("empla-sidecar-*"):
            owner = _NAME.fullmatch(directory.name)
            if owner and not Path(f"/proc/{owner[1]}").exists():
                _kill_all(directory)
                clear((directory,))


def _kill_all(directory: Path) -> None:
    for procs in directory.rglob("cgroup.procs"):
        with suppress(OSError):
            for pid in members(procs.parent):
                os.kill(pid, signal.SIGKILL)
