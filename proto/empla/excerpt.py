"""JSON made shorter for people and programs to look at, and still JSON."""

import json
from typing import Any

_MOST_LEVELS = 6
_LEAST = 8
"""Characters that are left of a string at least."""


def json_excerpt(value: Any, limit: int) -> str:
    """`value` as JSON of at most `limit` characters (not under 20): what is long in it is cut, and says by how much."""
    text, most = json.dumps(value, ensure_ascii=False), limit
    while len(text) > limit:
        most = most * 3 // 4
        if most < _LEAST:
            return json.dumps(f"({len(json.dumps(value))} bytes)"[: limit - 2])
        text = json.dumps(_cut(value, most, _MOST_LEVELS), ensure_ascii=False)
    return text


def _cut(value: Any, most: int, levels: int) -> Any:
    """`value` with strings of `most` characters, an eighth as many items in each list or object, and `levels` of those."""
    items = max(2, most // 8)
    if isinstance(value, str):
        return value if len(value) <= most else f"{value[:most]}… ({len(value) - most} more characters)"
    if isinstance(value, list | dict) and value and not levels:
        return f"({len(value)} items)"
    if isinstance(value, list):
        left_out = [f"… ({len(value) - items} more)"] if len(value) > items else []
        return [_cut(item, most, levels - 1) for item in value[:items]] + left_out
    if isinstance(value, dict):
        left_out_names = {"…": f"{len(value) - items} more"} if len(value) > items else {}
        kept = list(value.items())[:items]
        return {_cut(name, most, 1): _cut(item, most, levels - 1) for name, item in kept} | left_out_names
    return value
