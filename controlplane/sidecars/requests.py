"""What an employee may ask of a sidecar, and what it gets when it leaves that open."""

import math
import os
from dataclasses import dataclass

from controlplane.errors import Invalid
from controlplane.sidecars.table import KINDS, Resources
from empla.v1 import gateway_pb2 as pb

DEFAULT_MEMORY_BYTES = 2 << 30
LEAST_MEMORY_BYTES = 64 << 20
DEFAULT_TTL_SECONDS = 60
MAX_TTL_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Most:
    """The most that one sidecar may have."""

    memory_bytes: int

    def resources(self, request: pb.AcquireSidecarRequest) -> Resources:
        """What a request comes to; raises `Invalid`."""
        if request.kind not in KINDS:
            raise Invalid("this is no kind of sidecar", fields={"kind": "SIDECAR_KIND_COMPUTE or SIDECAR_KIND_BROWSER"})
        usual = min(DEFAULT_MEMORY_BYTES, self.memory_bytes)
        memory, processors = request.memory_bytes or usual, float(os.cpu_count() or 1)
        if not LEAST_MEMORY_BYTES <= memory <= self.memory_bytes:
            raise Invalid(
                "a sidecar does not get that much or that little memory",
                fields={"memory_bytes": f"{LEAST_MEMORY_BYTES} to {self.memory_bytes}"},
            )
        if not math.isfinite(request.cpus) or not 0 <= request.cpus <= processors:
            raise Invalid("there are not so many processors", fields={"cpus": f"0 to {processors:g}"})
        return Resources(KINDS[request.kind], memory, round(request.cpus, 3))


def ttl_of(request: pb.AcquireSidecarRequest) -> int:
    """The idle time in seconds; raises `Invalid`."""
    if request.idle_ttl_seconds > MAX_TTL_SECONDS:
        raise Invalid("the lease is too long", fields={"idle_ttl_seconds": f"at most {MAX_TTL_SECONDS}"})
    return request.idle_ttl_seconds or DEFAULT_TTL_SECONDS


def machine_memory() -> int:
    """How many bytes of memory this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
