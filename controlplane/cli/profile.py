"""Profiles for `empla employee create`: the name of one that is shipped, or a TOML or JSON file."""

import json
import tomllib
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from controlplane.cli.errors import InvalidInput
from controlplane.profiles import unknown_field
from empla.v1 import control_pb2

_PARSERS = {".toml": tomllib.loads, ".json": json.loads}


def is_file(profile: str) -> bool:
    """Tell whether `profile` means a file; names of shipped profiles have neither a suffix nor a slash."""
    return "/" in profile or Path(profile).suffix in _PARSERS


def read_profile(path: Path) -> control_pb2.Profile:
    """The profile in `path`; raises `InvalidInput` that names the file, and the field where one is wrong."""
    document = _document(path)
    if (autonomy := document.get("autonomy")) is not None:
        document["autonomy"] = _autonomy(path, autonomy)
    if wrong := unknown_field(document):
        raise InvalidInput(f"{path} is not a profile: {wrong}", reason="PROFILE_INVALID")
    try:
        return ParseDict(document, control_pb2.Profile())
    except (ParseError, TypeError) as error:
        why = " ".join(str(error).split())
        raise InvalidInput(f"{path} is not a profile: {why}", reason="PROFILE_INVALID") from error


def _autonomy(path: Path, written: object) -> str:
    """The contract's name of an autonomy, which may be written as people say it."""
    known = {name.removeprefix("AUTONOMY_").lower(): name for name in control_pb2.Autonomy.keys()[1:]}
    if isinstance(written, str):
        name = written.removeprefix("AUTONOMY_").lower()
        if name in known:
            return known[name]
    said = f"autonomy is one of {', '.join(known)}, and not {written!r}"
    raise InvalidInput(f"{path} is not a profile: {said}", reason="PROFILE_INVALID", fields={"autonomy": said})


def _document(path: Path) -> dict[str, Any]:
    parse = _PARSERS.get(path.suffix)
    if parse is None:
        raise InvalidInput(f"{path}: a profile is a .toml or a .json file")
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{path} is not a profile: it holds no fields")
    return document
