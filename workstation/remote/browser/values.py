"""Text and numbers as they cross the wire, which has not all that Python has."""

import re

from workstation.errors import InvalidArgument

MOST_BYTES = (8 << 20) - (64 << 10)
"""Of what makes up most of a message: `workstation.proto` allows 8 MiB with all that is around it."""
INT64_MAX, UINT32_MAX, SINT32_MAX = (1 << 63) - 1, (1 << 32) - 1, (1 << 31) - 1

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def shown(text: str) -> str:
    """Text of a page, or an id, as it crosses: half a character is none and becomes `?`, of which no id is made."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def exact(text: str) -> str:
    """Text that must arrive as it is. Raises `InvalidArgument` for half a character."""
    if _SURROGATE.search(text):
        raise InvalidArgument("the text is not valid Unicode")
    return text


def storage_text(state: str) -> str:
    """The JSON of cookies and storage as it crosses: sites keep halves of characters, which JSON can escape."""
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", state)


def within(number: int, least: int, most: int) -> int:
    """The number, or the nearest that the wire has: all beyond it are refused, or mean the same."""
    return max(least, min(number, most))


def above_zero(number: float, what: str) -> float:
    """A number of which the wire's 0 means the default. Raises `InvalidArgument` for one that is not above 0."""
    if number <= 0:
        raise InvalidArgument(f"{what} is above 0, not {number}")
    return number


def count(number: int, what: str) -> int:
    """As `above_zero`, for an unsigned number."""
    return within(int(above_zero(number, what)), 1, UINT32_MAX)
