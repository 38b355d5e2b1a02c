"""A profile is refused, with the field and what it takes, when an employee could not live by it."""

import pytest

from controlplane.errors import Invalid
from controlplane.profiles import checked_profile, shipped_profile
from empla.capabilities import SHIPPED_CAPABILITIES
from empla.v1 import control_pb2


@pytest.mark.parametrize("names", [[], ["memory"], SHIPPED_CAPABILITIES])
def test_capabilities_that_there_are_can_be_granted(names: list[str]):
    profile = control_pb2.Profile(role="Clerk", capabilities=names)
    assert checked_profile(profile) is profile


def test_a_capability_that_there_is_not_is_refused_with_the_names_of_those_that_are():
    with pytest.raises(Invalid, match="there is no 'computer'; there are: workspace, compute, memory") as refused:
        checked_profile(control_pb2.Profile(role="Clerk", capabilities=["workspace", "computer"]))
    assert set(refused.value.fields) == {"profile.capabilities"}


def test_the_profile_that_is_shipped_keeps_its_own_rules():
    assert shipped_profile("sales-ae").role
