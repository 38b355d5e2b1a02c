"""docs/hooks.md tells every moment with every field, and its example is what it says."""

import dataclasses
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from agent import moments
from agent.hooks import Hooks
from agent.moments import CallOutcome, MessageMoment, Moment

GUIDE = (Path(__file__).parents[3] / "docs" / "hooks.md").read_text()
ROWS = [line.split("|") for line in GUIDE.splitlines() if line.startswith("| `")]
KINDS = [
    kind
    for kind in vars(moments).values()
    if isinstance(kind, type) and issubclass(kind, Moment) and kind not in (Moment, MessageMoment)
]


def fields(kind: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("kind", KINDS)
def test_each_moment_is_told_with_its_own_fields(kind: type[Moment]):
    [row] = [row for row in ROWS if f"`{kind.__name__}`" in row[1]]
    own = fields(kind) - fields(MessageMoment if issubclass(kind, MessageMoment) else Moment)
    together = set().union(*(fields(one) for one in KINDS if f"`{one.__name__}`" in row[1]))
    told = set(re.findall(r"`(\w+)`", row[3]))
    assert own <= told <= together


def test_every_outcome_of_a_call_is_explained():
    told = "".join(row[1] for row in ROWS)
    assert all(f"`{outcome}`" in told for outcome in get_args(CallOutcome.__value__))


def test_what_all_have_is_told():
    before = GUIDE[: GUIDE.index("| moment |")]
    assert all(f"`{name}`" in before for name in fields(MessageMoment))


def test_the_example_makes_hooks():
    [example] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    made: dict[str, Any] = {}
    exec(compile(example, "docs/hooks.md", "exec"), made)
    assert isinstance(made["hooks"], Hooks)
