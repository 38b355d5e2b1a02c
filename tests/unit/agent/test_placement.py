"""Where a program has its place, by the profile and by what it needs."""

import pytest

from agent.placement import SIDECAR_MEMORY, USUAL_MEMORY, Choice, Placement, placement_of
from empla.v1 import control_pb2
from workstation.errors import LimitExceeded
from workstation.interface import ExecLimits

NOTHING, USUAL = ExecLimits(), ExecLimits(memory_bytes=USUAL_MEMORY, wall_seconds=600)
MUCH, LONG = ExecLimits(memory_bytes=USUAL_MEMORY + 1), ExecLimits(wall_seconds=601)


@pytest.mark.parametrize("limits", [NOTHING, USUAL])
def test_what_fits_is_beside_the_employee_unless_the_profile_has_it_elsewhere(limits: ExecLimits):
    assert not Placement().needs_sidecar(limits)
    assert not Placement(compute=Choice.LOCAL).needs_sidecar(limits)
    assert Placement(compute=Choice.SIDECAR).needs_sidecar(limits)


@pytest.mark.parametrize("limits", [MUCH, LONG])
def test_more_memory_or_time_is_for_a_sidecar(limits: ExecLimits):
    assert Placement().needs_sidecar(limits)
    assert Placement(compute=Choice.SIDECAR).needs_sidecar(limits)
    with pytest.raises(LimitExceeded, match="compute = local"):
        Placement(compute=Choice.LOCAL).needs_sidecar(limits)


def test_more_than_a_sidecar_may_have_has_no_place():
    placement = Placement(sidecar_memory=2 << 30)
    assert placement.needs_sidecar(ExecLimits(memory_bytes=2 << 30))
    with pytest.raises(LimitExceeded, match="at most 2048 MB"):
        placement.needs_sidecar(ExecLimits(memory_bytes=(2 << 30) + 1))


def test_more_is_what_a_sidecar_may_have():
    assert Placement(sidecar_memory=2 << 30).more_than(0) == 2 << 30
    assert Placement(sidecar_memory=2 << 30).more_than(2 << 30) is None
    assert Placement(sidecar_memory=512 << 20).more_than(0) is None
    assert Placement(compute=Choice.LOCAL).more_than(0) is None


def test_a_profile_says_it_or_leaves_it_open():
    assert placement_of(control_pb2.Profile()) == Placement(Choice.AUTO, Choice.AUTO, SIDECAR_MEMORY)
    said = control_pb2.Workstation(compute="sidecar", browser="local", sidecar_memory_mb=300)
    assert placement_of(control_pb2.Profile(workstation=said)) == Placement(Choice.SIDECAR, Choice.LOCAL, 300 << 20)
    later = control_pb2.Workstation(compute="of a later build")
    assert placement_of(control_pb2.Profile(workstation=later)).compute is Choice.AUTO
