"""The form of a written profile: which fields the contract has, and what kind of value each takes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict

from empla.v1 import control_pb2

type Path = tuple[str | int, ...]
"""The way to a field in a document: `("egress", 1, "ports", 0)`."""

_LARGEST = (1 << 32) - 1
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Wrong:
    """A mistake in a written profile; `why` names the field and says what would be right.

    With `key`, the mistake is the name of the field; without, it is the value.
    """

    path: Path
    why: str
    key: bool = False


def field_name(path: Path) -> str:
    """`egress[1].ports[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def wrong_fields(document: dict[str, Any]) -> Iterator[Wrong]:
    """What of the document is no field of a profile, or has a value of another kind than the field."""
    return _wrong_table(control_pb2.Profile.DESCRIPTOR, document, ())


def profile_of(document: dict[str, Any]) -> control_pb2.Profile:
    """The profile of a document in which `wrong_fields` finds nothing."""
    autonomy = document.get("autonomy")
    return ParseDict(document | {"autonomy": autonomy and _autonomies()[autonomy]}, control_pb2.Profile())


def _autonomies() -> dict[str, str]:
    """The contract's name of each autonomy, by that name and by the word that people use."""
    names = control_pb2.Autonomy.keys()[1:]
    return {name.removeprefix("AUTONOMY_").lower(): name for name in names} | {name: name for name in names}


def _wrong_table(kind: Descriptor, table: dict[str, Any], at: Path) -> Iterator[Wrong]:
    seen = set()
    for name, value in table.items():
        path = (*at, name)
        field = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
        if field is None:
            known = ", ".join(field_name((*at, field.name)) for field in kind.fields)
            yield Wrong(path, f"there is no field {field_name(path)!r}; there are: {known}", key=True)
        elif field.name in seen:
            yield Wrong(path, f"{field_name(path)} stands here for the second time: write it once", key=True)
        elif value is not None:  # JSON's null is a field that is not there
            seen.add(field.name)
            yield from _wrong_field(field, value, path)


def _wrong_field(field: FieldDescriptor, value: object, path: Path) -> Iterator[Wrong]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        if not isinstance(value, dict):
            yield _other_kind(path, "a table", value)
            return
        kind = field.message_type.fields_by_name["value"]
        for name, item in value.items():
            yield from _wrong_value(kind, item, (*path, name))
    elif not field.is_repeated:
        yield from _wrong_value(field, value, path)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _wrong_value(field, item, (*path, i))
    else:
        yield _other_kind(path, "a list", value)


def _wrong_value(field: FieldDescriptor, value: object, path: Path) -> Iterator[Wrong]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE if field.message_type is not None and isinstance(value, dict):
            yield from _wrong_table(field.message_type, value, path)
        case FieldDescriptor.CPPTYPE_MESSAGE:
            yield _other_kind(path, "a table", value)
        case FieldDescriptor.CPPTYPE_ENUM if not (isinstance(value, str) and value in _autonomies()):
            yield _other_kind(path, "one of shadow, supervised, autonomous", value)
        case FieldDescriptor.CPPTYPE_STRING if not (isinstance(value, str) and _is_unicode(value)):
            yield _other_kind(path, "a text in quotes", value)
        case FieldDescriptor.CPPTYPE_BOOL if not isinstance(value, bool):
            yield _other_kind(path, "true or false", value)
        case FieldDescriptor.CPPTYPE_UINT32 if type(value) is not int or not 0 <= value <= _LARGEST:
            yield _other_kind(path, f"a whole number from 0 to {_LARGEST}", value)
        case FieldDescriptor.CPPTYPE_DOUBLE if not _is_finite(value):
            yield _other_kind(path, "a number", value)


def _other_kind(path: Path, wanted: str, value: object) -> Wrong:
    return Wrong(path, f"{field_name(path)} is {wanted}, and not {_shown(value)}")


def _shown(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a table"
        case list():
            return "a list"
        case str() | int() | float() | None:
            return repr(value)[:_LONGEST_SHOWN]
        case _:
            return str(value)  # a date or a time


def _is_unicode(text: str) -> bool:
    """Whether no half of a surrogate pair stands alone in it, as JSON's escapes can write it."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_finite(value: object) -> bool:
    """Whether it is a number that a field can hold."""
    try:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False
