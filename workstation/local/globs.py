"""Globs over paths as text: `*`, `?` and `[…]` within a name, `**` for any number of directories."""

import re
from collections.abc import Callable
from fnmatch import translate


def path_filter(glob: str, *, case_sensitive: bool) -> Callable[[str], bool]:
    """A test of paths: a glob without `/` looks at the last name only, an empty one lets all pass."""
    flags = 0 if case_sensitive else re.IGNORECASE
    parts = [None if part == "**" else re.compile(translate(part), flags) for part in glob.split("/") if part]
    if not parts:
        return lambda path: True
    if "/" not in glob:
        last = parts[0]
        return lambda path: last is None or last.match(path.rpartition("/")[2]) is not None
    if parts[-1] is None:  # what is below, not the directory itself
        parts.append(re.compile(""))
    return lambda path: _fits(parts, path.split("/"))


def _fits(parts: list[re.Pattern[str] | None], names: list[str]) -> bool:
    """Keep all places in the pattern where we may be, name by name: no backtracking, whatever the pattern."""
    places = _with_skips({0}, parts)
    for name in names:
        places = _with_skips({after for place in places for after in _after(parts, place, name)}, parts)
    return len(parts) in places


def _after(parts: list[re.Pattern[str] | None], place: int, name: str) -> set[int]:
    if place == len(parts):
        return set()
    part = parts[place]
    if part is None:
        return {place}
    return {place + 1} if part.match(name) else set()


def _with_skips(places: set[int], parts: list[re.Pattern[str] | None]) -> set[int]:
    """`**` may also stand for no directory at all."""
    reached = set(places)
    for place, part in enumerate(parts):
        if part is None and place in reached:
            reached.add(place + 1)
    return reached
