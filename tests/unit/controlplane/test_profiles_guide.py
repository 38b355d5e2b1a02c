"""docs/profiles.md tells every field that the contract has, and its examples are what they say."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor

from controlplane.cli.errors import InvalidInput
from controlplane.cli.profile_file import read_profile
from controlplane.profiles import parse_profile, shipped_names
from empla.capabilities import DECISIONS, PLACES, RISKS, SHIPPED_CAPABILITIES, WHEN_BUSY
from empla.v1 import control_pb2

GUIDE = (Path(__file__).parents[3] / "docs" / "profiles.md").read_text()
ROWS = dict(re.findall(r"^\| `([a-z_.]+)` \| (.*) \|$", GUIDE, re.MULTILINE))


def fields(kind: Descriptor, path: str = "") -> Iterator[str]:
    for field in kind.fields:
        nested = field.message_type
        if nested is None or field.is_repeated:
            yield path + field.name
        if nested is not None and not nested.GetOptions().map_entry:
            yield from fields(nested, f"{path}{field.name}.")


def test_every_field_is_told_and_no_other():
    assert set(ROWS) == {*fields(control_pb2.Profile.DESCRIPTOR), *(f"policy.{risk}" for risk in RISKS)}


def test_every_word_that_a_field_takes_is_told():
    for field, words in {
        "capabilities": SHIPPED_CAPABILITIES,
        "when_busy": WHEN_BUSY,
        "policy": DECISIONS,
        "workstation.compute": PLACES,
        "autonomy": ("shadow", "supervised", "autonomous"),
    }.items():
        assert set(re.findall(r"`([a-z]+)`", ROWS[field])) >= set(words), field


def test_the_example_has_every_field_and_is_a_profile():
    [example] = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    profile = parse_profile(tomllib.loads(example))
    assert {field.name for field in control_pb2.Profile.DESCRIPTOR.fields if field.name not in example} == set()
    assert profile.egress[1].private


def test_every_profile_that_is_shipped_is_named_with_a_link():
    assert re.findall(r"\]\(\.\./controlplane/profiles/(.*)\.toml\)", GUIDE) == [
        "sales-ae",
        "csm",
        "support",
        "sdr",
        "researcher",
    ]
    assert len(shipped_names()) == 5


def test_a_mistake_is_told_as_the_guide_shows(tmp_path: Path):
    [shown] = re.findall(r"^empla: (mine\.toml:.*)$", GUIDE, re.MULTILINE)
    mine = tmp_path / "mine.toml"
    mine.write_text('role = "Clerk"' + "\n" * 11 + 'when_busy = "later"\n')
    with pytest.raises(InvalidInput) as refused:
        read_profile(mine)
    assert refused.value.message.removeprefix(f"{tmp_path}/") == shown
