"""Where an employee's programs and pages are: beside it, or in a sidecar. This is the one who chooses."""

from dataclasses import dataclass
from enum import StrEnum

from empla.v1 import control_pb2
from workstation.errors import LimitExceeded
from workstation.interface import ExecLimits
from workstation.local.compute import default_limits

USUAL = default_limits().exec
"""What a program may use beside the employee, and usually elsewhere."""
USUAL_MEMORY = USUAL.memory_bytes or 0
SIDECAR_MEMORY = 4 << 30


class Choice(StrEnum):
    """What a profile says of a kind of work: where it fits, beside the employee, or in a sidecar."""

    AUTO = "auto"
    LOCAL = "local"
    SIDECAR = "sidecar"


@dataclass(frozen=True, slots=True)
class Placement:
    """A profile's `[workstation]`; `sidecar_memory` is the most bytes that one sidecar may be given."""

    compute: Choice = Choice.AUTO
    browser: Choice = Choice.AUTO
    sidecar_memory: int = SIDECAR_MEMORY

    def needs_sidecar(self, limits: ExecLimits) -> bool:
        """Whether a program with these limits is one for a sidecar; raises `LimitExceeded` when there is no place for it."""
        memory = limits.memory_bytes or 0
        more = memory > USUAL_MEMORY or (limits.wall_seconds or 0) > (USUAL.wall_seconds or 0)
        if self.compute is Choice.LOCAL and more:
            raise LimitExceeded(
                f"this employee has {USUAL_MEMORY >> 20} MB and {USUAL.wall_seconds:g} s for a program, and no sidecars "
                "([workstation] compute = local in its profile)",
                limit="memory_bytes",
                allowed=USUAL_MEMORY,
            )
        if self.compute is Choice.LOCAL or (self.compute is Choice.AUTO and not more):
            return False
        if memory > self.sidecar_memory:
            raise LimitExceeded(
                f"a sidecar of this employee has at most {self.sidecar_memory >> 20} MB "
                "([workstation] sidecar_memory_mb in its profile)",
                limit="memory_bytes",
                allowed=self.sidecar_memory,
            )
        return True

    def more_than(self, memory: int) -> int | None:
        """The bytes that a program may be given for which `memory` was too little; None when there is no more."""
        most = USUAL_MEMORY if self.compute is Choice.LOCAL else self.sidecar_memory
        return most if most > max(memory, USUAL_MEMORY) else None


def placement_of(profile: control_pb2.Profile) -> Placement:
    """What a profile says; what this build does not know is as if it said nothing."""
    said = profile.workstation
    return Placement(_choice(said.compute), _choice(said.browser), said.sidecar_memory_mb << 20 or SIDECAR_MEMORY)


def _choice(said: str) -> Choice:
    return Choice(said) if said in Choice else Choice.AUTO
