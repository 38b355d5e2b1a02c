"""Protocol buffers as plain data for `--json`: the names of the contract, numbers as numbers, enums as short words."""

from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

_WELL_KNOWN = "google.protobuf."


def as_document(message: Message) -> dict[str, Any]:
    """All fields of `message`: what is absent is None, an enum's value is its name without the prefix, in lower case.

    protobuf's own JSON would write 64-bit numbers as strings and leave empty fields out.
    """
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def _field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_value(item, field) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _value(value, field)


def _value(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        well_known = field.message_type.full_name.startswith(_WELL_KNOWN)
        return MessageToDict(value) if well_known else as_document(value)
    return enum_word(field.enum_type, value) if field.enum_type is not None else value


def enum_word(kind: EnumDescriptor, number: int) -> str:
    """`running` for DESIRED_STATE_RUNNING; the number itself when this build does not know it."""
    member = kind.values_by_number.get(number)
    if member is None:
        return str(number)
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return member.name.removeprefix(prefix).lower()
