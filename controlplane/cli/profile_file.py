"""A profile in a TOML or JSON file: read whole, or refused with file, line and column of each mistake."""

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from controlplane.cli.errors import InvalidInput
from controlplane.profiles import InvalidProfile, parse_profile
from controlplane.profiles.fields import Wrong, field_name
from controlplane.profiles.places import Places, line_and_column
from empla.v1 import control_pb2

_LANGUAGES = {".toml": "TOML", ".json": "JSON"}
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_OVERWRITTEN = "Cannot overwrite a value"
_HINTS = {
    "Invalid value": 'text stands in quotes, as in key = "text"',
    "Invalid statement": "a line is key = value, [table], [[table of a list]] or # comment",
}
"""What would be right, where tomllib's words do not tell."""


def is_file(profile: str) -> bool:
    """Tell whether `profile` means a file; names of shipped profiles have neither a suffix nor a slash."""
    return "/" in profile or Path(profile).suffix in _LANGUAGES


def read_profile(path: Path) -> control_pb2.Profile:
    """The profile in `path`; raises `InvalidInput`, which says `FILE:LINE:COLUMN: what is wrong` of each mistake."""
    language = _LANGUAGES.get(path.suffix)
    if language is None:
        raise InvalidInput(f"{path}: a profile is a .toml or a .json file")
    text = _text(path, language)
    document, places = _parsed(path, text, language)
    if places.repeated:
        twice = [Wrong(key, f"{field_name(key)} stands here for the second time", key=True) for key in places.repeated]
        raise _refused(path, text, places, twice)
    try:
        return parse_profile(document)
    except InvalidProfile as error:
        raise _refused(path, text, places, error.wrong) from error


def _text(path: Path, language: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise _invalid(path, before, len(before), f"not valid {language}: this is not UTF-8") from error


def _parsed(path: Path, text: str, language: str) -> tuple[dict[str, Any], Places]:
    try:
        document = json.loads(text) if language == "JSON" else tomllib.loads(text)
        places = Places(text, is_json=language == "JSON")
    except json.JSONDecodeError as error:
        raise _invalid(path, text, error.pos, f"not valid JSON: {error.msg}") from error
    except tomllib.TOMLDecodeError as error:
        raise _invalid(path, text, *_toml_mistake(text, str(error))) from error
    except (ValueError, RecursionError) as error:  # a number without end, or lists in lists in lists
        raise InvalidInput(f"{path} is not valid {language}: {error}", reason="PROFILE_INVALID") from error
    if not isinstance(document, dict):
        raise _invalid(path, text, places.of(()), "this is not a profile: it holds no fields")
    return document, places


def _toml_mistake(text: str, said: str) -> tuple[int, str]:
    """The offset that tomllib's message tells of, and what is wrong there."""
    place = _TOML_PLACE.search(said)
    what = said[: place.start()] if place else said
    hint, offset = "the text ends here", len(text.rstrip())
    if place and place[1]:
        lines = text.split("\n")[: int(place[1]) - 1]
        hint, offset = _HINTS.get(what, ""), sum(len(line) + 1 for line in lines) + int(place[2]) - 1
    if what == _OVERWRITTEN:  # it tells where the value ends
        places = Places(text[:offset], is_json=False)
        hint, offset = (
            "each key is written once",
            places.of(places.repeated[-1], key=True) if places.repeated else offset,
        )
    return offset, "; ".join(filter(None, [f"not valid TOML: {what}", hint]))


def _refused(path: Path, text: str, places: Places, wrong: Sequence[Wrong]) -> InvalidInput:
    found = sorted(((places.of(one.path, key=one.key), one) for one in wrong), key=lambda each: each[0])
    said = [f"{_place(path, text, offset)}: {one.why}" for offset, one in found]
    fields = {field_name(one.path): line for (_, one), line in zip(found, said, strict=True)}
    return InvalidInput("; ".join(said), reason="PROFILE_INVALID", fields=fields)


def _invalid(path: Path, text: str, offset: int, why: str) -> InvalidInput:
    return InvalidInput(f"{_place(path, text, offset)}: {why}", reason="PROFILE_INVALID")


def _place(path: Path, text: str, offset: int) -> str:
    line, column = line_and_column(text, offset)
    return f"{path}:{line}:{column}"
