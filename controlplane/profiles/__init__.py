"""The profiles that are shipped: what a role brings, each a readable TOML file."""

import tomllib
from importlib.resources import files

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError

from controlplane.errors import Invalid, Unknown
from empla.capabilities import (
    DECISIONS,
    MOST_IN_WORK,
    PLACES,
    RISKS,
    SHIPPED_CAPABILITIES,
    SIDECAR_MEMORY_MB,
    WHEN_BUSY,
)
from empla.egress import rule_of
from empla.v1 import control_pb2

MAX_INSTRUCTIONS = 64 * 1024
MAX_GOALS = 32
MAX_EGRESS = 256


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
        if wrong := _unknown_below(known, value, path + name):
            return wrong
    return ""


def _unknown_below(field: FieldDescriptor, value: object, path: str) -> str:
    nested = field.message_type
    if nested is None or nested.GetOptions().map_entry:
        return ""
    if field.is_repeated:
        places = [(item, f"{path}[{i}].") for i, item in enumerate(value)] if isinstance(value, list) else []
    else:
        places = [(value, f"{path}.")]
    found = (unknown_field(item, nested, place) for item, place in places if isinstance(item, dict))
    return next(filter(None, found), "")


def checked_profile(profile: control_pb2.Profile) -> control_pb2.Profile:
    """`profile` itself, if it keeps the limits of the contract; raises `Invalid`."""
    wrong = {}
    if not 1 <= len(profile.role) <= 200:
        wrong["profile.role"] = "1 to 200 characters"
    if len(profile.instructions.encode()) > MAX_INSTRUCTIONS:
        wrong["profile.instructions"] = f"at most {MAX_INSTRUCTIONS} bytes"
    if len(profile.goals) > MAX_GOALS:
        wrong["profile.goals"] = f"at most {MAX_GOALS}"
    if profile.autonomy not in control_pb2.Autonomy.values():
        wrong["profile.autonomy"] = "shadow, supervised or autonomous"
    if profile.model.provider not in ("", "auto", "anthropic", "openai", "offline"):
        wrong["profile.model.provider"] = "auto, anthropic, openai or offline"
    if unknown := sorted(set(profile.capabilities) - set(SHIPPED_CAPABILITIES)):
        names = ", ".join(map(repr, unknown))[:200]
        wrong["profile.capabilities"] = f"there is no {names}; there are: {', '.join(SHIPPED_CAPABILITIES)}"
    if profile.when_busy not in ("", *WHEN_BUSY):
        wrong["profile.when_busy"] = f"one of {', '.join(WHEN_BUSY)}"
    if profile.max_in_work > MOST_IN_WORK:
        wrong["profile.max_in_work"] = f"at most {MOST_IN_WORK}; 0 for the usual number"
    wrong |= _wrong_rules(profile) | _wrong_policy(profile) | _wrong_workstation(profile.workstation)
    if wrong:
        raise Invalid("the profile does not fit: " + "; ".join(f"{k}: {v}" for k, v in wrong.items()), fields=wrong)
    return profile


def _wrong_rules(profile: control_pb2.Profile) -> dict[str, str]:
    if len(profile.egress) > MAX_EGRESS:
        return {"profile.egress": f"at most {MAX_EGRESS} rules"}
    wrong = {}
    for i, rule in enumerate(profile.egress):
        try:
            rule_of(rule)
        except ValueError as error:
            wrong[f"profile.egress[{i}]"] = str(error)
    return wrong


def _wrong_policy(profile: control_pb2.Profile) -> dict[str, str]:
    wrong = {}
    for risk, decision in profile.policy.items():
        if risk not in RISKS:
            wrong["profile.policy"] = f"there is no risk {risk[:80]!r}; there are: {', '.join(RISKS)}"
        elif decision not in DECISIONS:
            wrong[f"profile.policy.{risk}"] = f"one of {', '.join(DECISIONS)}"
    return wrong


def _wrong_workstation(workstation: control_pb2.Workstation) -> dict[str, str]:
    wrong = {
        f"profile.workstation.{kind}": f"one of {', '.join(PLACES)}"
        for kind in ("compute", "browser")
        if getattr(workstation, kind) not in ("", *PLACES)
    }
    least, most = SIDECAR_MEMORY_MB
    if workstation.sidecar_memory_mb and not least <= workstation.sidecar_memory_mb <= most:
        wrong["profile.workstation.sidecar_memory_mb"] = f"from {least} to {most}"
    return wrong
