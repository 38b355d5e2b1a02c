"""What is too long to show whole stays JSON of the same shape."""

import json
from typing import Any

import pytest

from empla.excerpt import json_excerpt


@pytest.mark.parametrize("value", [None, 1.5, "ä\n", {"path": "a", "lines": [1, 2]}, []])
def test_what_is_short_stays_as_it_is(value: Any):
    assert json.loads(json_excerpt(value, 200)) == value


def test_a_long_string_is_cut_and_says_so():
    code = "print('line')\n" * 1000
    text = json_excerpt({"code": code, "timeout": 60}, 2000)
    shown = json.loads(text)
    kept, _, rest = shown["code"].partition("… (")
    assert shown["timeout"] == 60
    assert code.startswith(kept)
    assert rest == f"{len(code) - len(kept)} more characters)"
    assert 1000 < len(text) <= 2000


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000,
        "\0" * 10_000,
        list(range(10_000)),
        [["deep" * 1000] * 100] * 100,
        {f"key {number}": "x" * number for number in range(1000)},
        {"k" * 5000: 1},
        10**4000,
    ],
    ids=["string", "escapes", "list", "lists", "object", "key", "number"],
)
@pytest.mark.parametrize("limit", [20, 100, 2000])
def test_whatever_it_is_it_is_json_within_the_limit(value: Any, limit: int):
    text = json_excerpt(value, limit)
    json.loads(text)
    assert len(text) <= limit


def test_many_levels_are_cut_too():
    value: Any = "x" * 3000
    for _ in range(200):
        value = [value]
    assert json_excerpt(value, 1000) == '[[[[[["(1 items)"]]]]]]'
