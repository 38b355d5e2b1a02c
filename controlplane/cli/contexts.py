"""The control planes that the command line knows besides the one of this machine, in a file that is its owner's only.

`contexts.toml` is TOML: `current` names the one in use, `[contexts.NAME]` has `address` and, where they are given,
`http_address`, `token` or `token_file`, and `ca`.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from controlplane.cli.errors import InvalidInput, NotFound, NotPermitted

LOCAL = "local"
"""The control plane of this machine, as EMPLA_HOME and the other settings have it; no other context has this name."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Context:
    """How to reach a control plane: gRPC and HTTP addresses, the token or the file that has it, who signs for it."""

    address: str
    http_address: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Contexts:
    """All that is known, and which one is meant when a command names none."""

    known: Mapping[str, Context] = field(default_factory=dict)
    current: str = LOCAL

    def get(self, name: str) -> Context:
        """The context of that name; raises `NotFound`."""
        if name not in self.known:
            names = ", ".join([LOCAL, *sorted(self.known)])
            raise NotFound(f"there is no context {name}; those there are: {names}", reason="CONTEXT_UNKNOWN")
        return self.known[name]


def checked_name(name: str) -> str:
    """`name`, if a context may be called so; raises `InvalidInput`."""
    if name == LOCAL:
        raise InvalidInput(f"{LOCAL} is the control plane of this machine; choose another name")
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name for a context: letters, digits, '.', '_' and '-', at most 63")
    return name


def read_contexts(path: Path) -> Contexts:
    """What the file says, nothing when there is none; raises `InvalidInput` and `NotPermitted`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        known = {name: Context(**fields) for name, fields in document.get("contexts", {}).items()}
        found = Contexts(known, document.get("current", LOCAL))
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise NotPermitted(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path} is not what `empla context add` writes: {error}; mend or remove it") from error
    strays = [value for context in known.values() for value in asdict(context).values() if not isinstance(value, str)]
    if strays or not isinstance(found.current, str):
        raise InvalidInput(f"{path} is not what `empla context add` writes: every value is a text; mend or remove it")
    return found


def write_contexts(path: Path, contexts: Contexts) -> None:
    """Replace the file as a whole, readable by its owner only; raises `NotPermitted`."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)
            file.write(_toml(contexts))
        temporary.replace(path)
    except OSError as error:
        raise NotPermitted(f"{path} cannot be written: {error.strerror}") from error


def _toml(contexts: Contexts) -> str:
    lines = [f"current = {_quoted(contexts.current)}"]
    for name, context in sorted(contexts.known.items()):
        lines += ["", f"[contexts.{_quoted(name)}]"]
        lines += [f"{key} = {_quoted(value)}" for key, value in asdict(context).items() if value]
    return "\n".join(lines) + "\n"


def _quoted(text: Any) -> str:
    """A basic string of TOML: what JSON writes is one, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
