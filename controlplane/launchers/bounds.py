"""What bounds the processes of employees, as each said when it began (`agent/bounds.py`)."""

import json
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

log = logging.getLogger(__name__)

_GROUP = "empla-employee-"
"""How the groups begin that they make."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Of one launch: `kind` is `cgroup`, or `process` where its own limits hold instead."""

    epoch: int
    kind: str
    memory_bytes: int
    groups: tuple[Path, ...]


class BoundsRecords:
    """One file for each employee below `directory`; an employee writes its own when it is launched."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def place(self, employee_id: UUID) -> Path:
        """The file of an employee."""
        return self._directory / f"{employee_id}.json"

    def of(self, employee_id: UUID) -> Bound | None:
        """What bounds the employee's process; None when it said nothing, or nothing of use."""
        try:
            told = json.loads(self.place(employee_id).read_text())
            groups = tuple(map(Path, told["groups"]))
            return Bound(int(told["epoch"]), str(told["kind"]), int(told["memory_bytes"]), groups)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the bounds of employee %s cannot be read: %s", employee_id, error)
            return None

    def remove(self, employee_id: UUID, epoch: int) -> bool:
        """Remove the groups of launches up to `epoch`, which are gone; returns whether the last one's memory was used up."""
        bound = self.of(employee_id)
        if bound is None or bound.epoch > epoch:
            return False
        # What an employee wrote is not trusted further than its own group.
        groups = [place for place in bound.groups if place.name == f"{_GROUP}{employee_id}-{bound.epoch}"]
        used_up = any(map(_out_of_memory, groups))
        left = [group for group in groups if not _removed(group)]
        if not left:
            self.place(employee_id).unlink(missing_ok=True)
        return used_up and bound.epoch == epoch


def _removed(group: Path) -> bool:
    """Whether it is gone; one in which somebody is still ending stays for the next launch to remove."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        log.info("the control group %s is left: %s", group, error)
        return False
    return True


def _out_of_memory(group: Path) -> bool:
    """Whether the kernel killed somebody in the group for its memory: v1 and v2 say so in different files."""
    for name in ("memory.oom_control", "memory.events"):
        with suppress(OSError):
            fields = dict(line.split() for line in (group / name).read_text().splitlines())
            return int(fields.get("oom_kill", 0)) > 0
    return False
