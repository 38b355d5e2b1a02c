"""What a control plane says of employees whose processes another one watches."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.afar import NEWS_SECONDS, Life, life_from_afar, observed_from_afar
from controlplane.backoff import CRASH_LOOP
from controlplane.employees import EmployeeRecord
from controlplane.failures import Failures
from controlplane.gateway import Elsewhere, Launch, Streams
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import gateway_pb2

LOST_AFTER = 30.0
ADA = EmployeeRecord(
    employee_id=new_id(),
    tenant_id=new_id(),
    tenant="default",
    name="ada",
    kept_profile={},
    autonomy="supervised",
    desired_state="running",
    pause=None,
    limits_dollars=False,
    limits_tokens=False,
    epoch=2,
    created_at=datetime.now(UTC),
    launched_at=None,
    attached_at=None,
    process={"pid": 7},
)
GONE = replace(ADA, process=None)

type ToldHere = Callable[[], tuple[EmployeeRecord, Streams]]
"""What is on record and what is told, made when the test begins: both have times."""


def launched(seconds: float, **fields: object) -> EmployeeRecord:
    return replace(ADA, launched_at=datetime.now(UTC) - timedelta(seconds=seconds), **fields)  # type: ignore[arg-type]


def told(silent: float, *, epoch: int = 2, state: str = "idle") -> Elsewhere:
    beat = gateway_pb2.Heartbeat(state=state)
    return Elsewhere(Launch(ADA.employee_id, epoch), "tests", beat, 0.0, time.monotonic() - silent, "unix:/there")


def streams(*, here: Elsewhere | None = None, left: Elsewhere | None = None, hears: float = 3600) -> Streams:
    made = Streams()
    made.elsewhere = {ADA.employee_id: here} if here else {}
    made.left = {ADA.employee_id: left} if left else {}
    made.hears_since = time.monotonic() - hears
    return made


@pytest.mark.parametrize(
    ("told_here", "state"),
    [
        (lambda: (replace(GONE, desired_state="stopped"), streams()), pb.OBSERVED_STATE_STOPPED),
        (lambda: (GONE, streams()), pb.OBSERVED_STATE_STARTING),
        (lambda: (replace(GONE, failures=Failures(failures=1)), streams()), pb.OBSERVED_STATE_BACKING_OFF),
        (
            lambda: (replace(GONE, failures=Failures(failures=9, own=CRASH_LOOP)), streams()),
            pb.OBSERVED_STATE_CRASH_LOOPING,
        ),
        (lambda: (launched(100), streams(here=told(1))), pb.OBSERVED_STATE_ATTACHED),
        (lambda: (launched(100), streams(here=told(1, epoch=1))), pb.OBSERVED_STATE_LOST),
        (lambda: (launched(100), streams(left=told(1))), pb.OBSERVED_STATE_LOST),
        (lambda: (launched(10), streams()), pb.OBSERVED_STATE_STARTING),
        (lambda: (launched(100), streams(hears=10)), pb.OBSERVED_STATE_STARTING),
        (lambda: (launched(100, draining=5.0), streams(here=told(1))), pb.OBSERVED_STATE_STOPPING),
        (lambda: (launched(100, desired_state="stopped"), streams(here=told(1))), pb.OBSERVED_STATE_STOPPING),
        (lambda: (launched(100), streams(here=told(1, state="draining"))), pb.OBSERVED_STATE_STOPPING),
    ],
)
def test_what_is_observed(told_here: ToldHere, state: pb.ObservedState.ValueType):
    assert observed_from_afar(*told_here(), LOST_AFTER) == state


@pytest.mark.parametrize(
    ("told_here", "life"),
    [
        (lambda: (replace(GONE, desired_state="stopped"), streams()), None),
        (lambda: (launched(100, draining=5.0), streams(here=told(1))), None),
        (
            lambda: (replace(GONE, failures=Failures(failures=5, own=3)), streams()),
            Life(True, 0, crashes=3, unstarted=2),
        ),
        (lambda: (launched(10, failures=Failures(own=3)), streams(here=told(1))), Life(False, 0, crashes=3)),
        (lambda: (launched(100, failures=Failures(own=3)), streams(here=told(1))), Life(False, 0, crashes=0)),
        (lambda: (launched(100), streams(here=told(20))), Life(False, 20 - NEWS_SECONDS, crashes=0)),
        (lambda: (launched(100), streams(left=told(20))), Life(False, 20 - NEWS_SECONDS, crashes=0)),
        (lambda: (launched(100), streams()), Life(False, 100, crashes=0)),
        (lambda: (launched(10), streams()), Life(True, 0, crashes=0)),
        # This control plane has just come, or stood still: nobody else is silent for that.
        (lambda: (launched(100), streams(here=told(20), hears=5)), Life(False, 5, crashes=0)),
        (lambda: (launched(100), streams(hears=10)), Life(True, 0, crashes=0)),
    ],
)
def test_how_its_process_does(told_here: ToldHere, life: Life | None):
    found = life_from_afar(*told_here(), LOST_AFTER)
    assert (found and replace(found, silent_seconds=0)) == (life and replace(life, silent_seconds=0))
    if found and life:
        assert found.silent_seconds == pytest.approx(life.silent_seconds, abs=5)
