"""Our enums as the wire numbers them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from workstation.errors import InvalidArgument


def numbers[Kind: StrEnum](kinds: type[Kind], enum: Any) -> dict[Kind, Any]:
    """The number of each kind in an enum of the wire, whose values are named like the kinds, after the prefix of all."""
    prefix = enum.Name(0).removesuffix("_UNSPECIFIED")
    return {kind: enum.Value(f"{prefix}_{kind.name}") for kind in kinds}


def choice[Kind](table: Mapping[Kind, int], value: int, what: str) -> Kind:
    """What a number of the wire means here. Raises `InvalidArgument` for one that this build does not know."""
    for kind, number in table.items():
        if number == value:
            return kind
    raise InvalidArgument(f"there is no {what} {value}")
