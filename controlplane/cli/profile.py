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
    autonomy = document.get("autonomy")
    if isinstance(autonomy, str) and not autonomy.startswith("AUTONOMY_"):
        document["autonomy"] = f"AUTONOMY_{autonomy.upper()}"
    if wrong := unknown_field(document):
        raise InvalidInput(f"{path} is not a profile: {wrong}", reason="PROFILE_INVALID")
    try:
        return ParseDict(document, control_pb2.Profile())
    except (ParseError, TypeError) as error:
        why = " ".join(str(error).split())
        raise InvalidInput(f"{path} is not a profile: {why}", reason="PROFILE_INVALID") from error


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
