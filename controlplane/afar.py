"""What is seen of an employee from afar, by control planes that do not watch its process.

They go by what the leader has put on record, and by what those tell that have its stream or have had it.
"""

import time
from dataclasses import dataclass

from controlplane.backoff import STEADY_SECONDS
from controlplane.employees import EmployeeRecord
from controlplane.failures import observed_failing
from controlplane.gateway import Elsewhere, Stream, Streams
from controlplane.planes import RENEW_SECONDS
from empla.v1 import control_pb2

NEWS_SECONDS = 2 * RENEW_SECONDS
"""How old it may be what another control plane tells of an employee: it is told and read every second."""


@dataclass(frozen=True, slots=True)
class Life:
    """How the process of an employee that should run does."""

    starting: bool
    """There is none, or it has not attached yet and may still do so."""
    silent_seconds: float
    crashes: int
    """Failures of its own in a row; none once it has lived for a while."""
    unstarted: int = 0
    """Failures in a row that were others', as long as it has no process."""


def observed_from_afar(
    record: EmployeeRecord, streams: Streams, silent_after: float
) -> control_pb2.ObservedState.ValueType:
    """What is to be seen of an employee."""
    if record.process is None:
        if record.desired_state != "running":
            return control_pb2.OBSERVED_STATE_STOPPED
        return observed_failing(record.failures.failures, record.failures.own)
    seen = _seen(record, streams)
    if record.desired_state != "running" or record.draining is not None or _drains(seen):
        return control_pb2.OBSERVED_STATE_STOPPING
    if seen is not None:
        return control_pb2.OBSERVED_STATE_ATTACHED
    is_new = _unheard_seconds(record, streams) < silent_after
    return control_pb2.OBSERVED_STATE_STARTING if is_new else control_pb2.OBSERVED_STATE_LOST


def life_from_afar(record: EmployeeRecord, streams: Streams, silent_after: float) -> Life | None:
    """How the employee's process does; None when it is not to run."""
    observed, own = observed_from_afar(record, streams, silent_after), record.failures.own
    if record.desired_state != "running" or observed == control_pb2.OBSERVED_STATE_STOPPING:
        return None
    if record.process is None:
        return Life(starting=True, silent_seconds=0, crashes=own, unstarted=record.failures.failures - own)
    starting = observed == control_pb2.OBSERVED_STATE_STARTING
    last = _seen(record, streams) or streams.left.get(record.employee_id)
    silent = time.monotonic() - last.seen_at - told_late(last) if last else _age(record, streams)
    silent = 0.0 if starting else max(0.0, min(silent, _unheard_seconds(record, streams)))
    return Life(starting, silent, crashes=0 if _age(record, streams) > STEADY_SECONDS else own)


def told_late(stream: Stream | Elsewhere | None) -> float:
    """How many seconds of an employee's silence are no news: it may have been heard since."""
    return NEWS_SECONDS if isinstance(stream, Elsewhere) else 0.0


def pid_of(record: EmployeeRecord) -> int:
    """The pid of an employee's process, as it is on record; 0: there is none."""
    return int((record.process or {}).get("pid", 0))


def _seen(record: EmployeeRecord, streams: Streams) -> Stream | Elsewhere | None:
    seen = streams.seen(record.employee_id)
    return seen if seen is not None and seen.launch.epoch == record.epoch else None


def _drains(seen: Stream | Elsewhere | None) -> bool:
    return seen is not None and seen.heartbeat is not None and seen.heartbeat.state == "draining"


def _age(record: EmployeeRecord, streams: Streams) -> float:
    """Seconds since the launch."""
    return streams.clock.time() - record.launched_at.timestamp() if record.launched_at else 0.0


def _unheard_seconds(record: EmployeeRecord, streams: Streams) -> float:
    """For how long the launch could have been heard here."""
    return min(_age(record, streams), time.monotonic() - streams.hears_since)
