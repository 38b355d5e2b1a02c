"""What one employee's process may take: by a control group of its own, or where there are none by its own limits.

`python -m agent.bounds` tries it, and says which of the two this machine has.
"""

import json
import logging
import os
import resource
import sys
from pathlib import Path

from agent.identity import Identity
from workstation.errors import SandboxUnavailable
from workstation.local.jail.cgroups import EMPLOYEE_GROUP, Group, GroupLimits, find_cgroups

PROCESSES = 4096
"""Threads count, and those of a browser are many."""
WEIGHT = 33
"""Of 100: what the kernel gives to a process that is nice by 5."""

log = logging.getLogger(__name__)


def bound(identity: Identity, memory_bytes: int, record: Path) -> None:
    """Bound this process, with what it starts outside of sandboxes, and say in the file `record` what bounds it."""
    try:
        group = _entered(f"{EMPLOYEE_GROUP}{identity.employee_id}-{identity.epoch}", memory_bytes)
    except (SandboxUnavailable, OSError) as error:
        log.warning("no control group of its own, so the process limits its memory itself: %s", error)
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        kind, groups = "process", []
    else:
        kind, groups = "cgroup", [str(directory) for directory in group.directories]
    told = {"epoch": identity.epoch, "kind": kind, "memory_bytes": memory_bytes, "groups": groups}
    partial = record.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(told))
        partial.rename(record)
    except OSError as error:
        log.warning("nobody is told what bounds this process, so its control group will be left: %s", error)


def _entered(name: str, memory_bytes: int) -> Group:
    group = find_cgroups().create(name)
    try:
        group.limit(GroupLimits(memory_bytes, PROCESSES, float(os.cpu_count() or 1), weight=WEIGHT))
        for entrance in group.entrances:
            Path(entrance).write_text(str(os.getpid()))
    except OSError:
        group.remove()
        raise
    return group


def _main() -> int:
    try:
        group = find_cgroups().create(f"{EMPLOYEE_GROUP}trial-{os.getpid()}")
    except (SandboxUnavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    group.remove()
    print("each in a control group")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
