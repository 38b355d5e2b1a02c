"""Which messages a routing rule fits."""

import pytest

from controlplane.routing import Rule
from empla.store.ids import new_id


@pytest.mark.parametrize(
    ("condition", "sender", "conversation", "fits"),
    [
        ({}, "anybody", "", True),
        ({"sender": "*@acme.com"}, "Ada@ACME.com", "t", True),
        ({"sender": "*@acme.com"}, "ada@acme.com.evil.net", "t", False),
        ({"sender": "*@acme.com", "conversation": "sales-*"}, "ada@acme.com", "sales-1", True),
        ({"sender": "*@acme.com", "conversation": "sales-*"}, "ada@acme.com", "support-1", False),
        ({"conversation": "?*"}, "ada", "", False),
        ({"sender": "a[1-3]"}, "a2", "", True),
        ({"sender": "a.b"}, "axb", "", False),
        ({"sender": "a" * 500}, "a" * 501, "", True),  # of a longer name only what can be stored is looked at
    ],
)
def test_all_patterns_must_fit_the_whole_name_in_any_case(
    condition: dict[str, str], sender: str, conversation: str, fits: bool
):
    rule = Rule(new_id(), new_id(), 1, condition, new_id(), "ada")
    assert rule.fits(sender, conversation) is fits


def test_a_pattern_that_is_meant_to_take_long_does_not():
    rule = Rule(new_id(), new_id(), 1, {"sender": "*a" * 250 + "b"}, new_id(), "ada")
    assert not rule.fits("a" * 500, "")
