"""The profiles that are shipped: what a role brings, each a readable TOML file."""

import tomllib
from importlib.resources import files

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import ParseDict, ParseError

from controlplane.errors import Invalid, Unknown
from empla.capabilities import SHIPPED_CAPABILITIES
from empla.v1 import control_pb2

MAX_INSTRUCTIONS = 64 * 1024
MAX_GOALS = 32


def shipped_profile(name: str) -> control_pb2.Profile:
    """The shipped profile called `name`; raises `Unknown`."""
    known = {path.name.removesuffix(".toml"): path for path in files(__name__).iterdir() if path.name.endswith(".toml")}
    if name not in known:
        raise Unknown(f"there is no profile {name!r}; there are: {', '.join(sorted(known))}")
    return parse_profile(tomllib.loads(known[name].read_text(encoding="utf-8")))


def parse_profile(fields: dict[str, object]) -> control_pb2.Profile:
    """A profile from plain fields, checked; raises `Invalid`, which names the field."""
    if wrong := unknown_field(fields):
        raise Invalid(f"the profile does not fit: {wrong}", fields={"profile": wrong})
    try:
        profile = ParseDict(fields, control_pb2.Profile())
    except ParseError as error:
        raise Invalid(f"the profile does not fit: {error}", fields={"profile": str(error)}) from error
    return checked_profile(profile)


def unknown_field(fields: dict[str, object], kind: Descriptor = control_pb2.Profile.DESCRIPTOR, path: str = "") -> str:
    """Says which field a profile does not have, and which it has; '' when all are known."""
    for name, value in fields.items():
        known = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
        if known is None:
            return (
                f"there is no field {path + name!r}; there are: {', '.join(path + field.name for field in kind.fields)}"
            )
        nested = known.message_type
        wrong = unknown_field(value, nested, f"{path}{name}.") if nested and isinstance(value, dict) else ""
        if wrong:
            return wrong
    return ""


def checked_profile(profile: control_pb2.Profile) -> control_pb2.Profile:
    """`profile` itself, if it keeps the limits of the contract; raises `Invalid`."""
    wrong = {}
    if not 1 <= len(profile.role) <= 200:
        wrong["profile.role"] = "1 to 200 characters"
    if len(profile.instructions.encode()) > MAX_INSTRUCTIONS:
        wrong["profile.instructions"] = f"at most {MAX_INSTRUCTIONS} bytes"
    if len(profile.goals) > MAX_GOALS:
        wrong["profile.goals"] = f"at most {MAX_GOALS}"
    if profile.model.provider not in ("", "auto", "anthropic", "openai", "offline"):
        wrong["profile.model.provider"] = "auto, anthropic, openai or offline"
    if unknown := sorted(set(profile.capabilities) - set(SHIPPED_CAPABILITIES)):
        names = ", ".join(map(repr, unknown))[:200]
        wrong["profile.capabilities"] = f"there is no {names}; there are: {', '.join(SHIPPED_CAPABILITIES)}"
    if wrong:
        raise Invalid("the profile does not fit: " + "; ".join(f"{k}: {v}" for k, v in wrong.items()), fields=wrong)
    return profile
