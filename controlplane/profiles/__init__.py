"""The profiles that are shipped: what a role brings, each a readable TOML file."""

import tomllib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from controlplane.errors import Invalid, Unknown
from controlplane.profiles.fields import Path, Wrong, field_name, profile_of, wrong_fields
from controlplane.profiles.schedules import wrong_schedules
from empla.capabilities import (
    DECISIONS,
    MOST_IN_WORK,
    MOST_PER_MINUTE,
    PLACES,
    RISKS,
    SHIPPED_CAPABILITIES,
    SIDECAR_MEMORY_MB,
    WHEN_BUSY,
)
from empla.egress import rule_of
from empla.goals import MAX_GOAL, MOST_ACTIVE_GOALS
from empla.hours import ActiveHours, ImpossibleHours
from empla.prices import MOST_DOLLARS
from empla.v1 import control_pb2

MAX_ROLE = 200
MAX_INSTRUCTIONS = 64 * 1024
MAX_EGRESS = 256
MAX_TOLD = 5
"""Mistakes that one refusal tells: it has to fit into the head of an answer."""
MAX_NAME = 200
PROVIDERS = ("auto", "anthropic", "openai", "offline")


class InvalidProfile(Invalid):
    """What is written is no profile; `wrong` has each mistake and its place in the document."""

    def __init__(self, wrong: Sequence[Wrong]) -> None:
        fields = {f"profile.{field_name(one.path)}"[:MAX_NAME]: one.why for one in wrong[:MAX_TOLD]}
        more = [f"{len(wrong) - MAX_TOLD} more"] if len(wrong) > MAX_TOLD else []
        super().__init__("the profile does not fit: " + "; ".join([*fields.values(), *more]), fields=fields)
        self.wrong = wrong


def shipped_names() -> list[str]:
    """The names of the profiles that are shipped, in order."""
    return sorted(path.name.removesuffix(".toml") for path in files(__name__).iterdir() if path.name.endswith(".toml"))


def shipped_text(name: str) -> str:
    """The file of the shipped profile called `name`; raises `Unknown`."""
    if name not in (known := shipped_names()):
        raise Unknown(f"there is no profile {name!r}; there are: {', '.join(known)}")
    return files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def shipped_profile(name: str) -> control_pb2.Profile:
    """The shipped profile called `name`; raises `Unknown`."""
    return parse_profile(tomllib.loads(shipped_text(name)))


def parse_profile(document: dict[str, Any]) -> control_pb2.Profile:
    """A profile from plain data, checked; raises `InvalidProfile`."""
    if wrong := list(wrong_fields(document)):
        raise InvalidProfile(wrong)
    return checked_profile(profile_of(document))


def checked_profile(profile: control_pb2.Profile) -> control_pb2.Profile:
    """`profile` itself, if it keeps the limits of the contract; time zones are read from files. Raises `InvalidProfile`."""
    checks = (_wrong_self, _wrong_work, _wrong_budget, _wrong_hours, _wrong_rules, _wrong_policy, wrong_schedules)
    if wrong := [one for check in checks for one in check(profile)]:
        raise InvalidProfile(wrong)
    return profile


def _wrong_self(profile: control_pb2.Profile) -> Iterator[Wrong]:
    if not 1 <= len(profile.role) <= MAX_ROLE:
        yield Wrong(("role",), f"role is what the employee is, in 1 to {MAX_ROLE} characters")
    if len(profile.instructions.encode()) > MAX_INSTRUCTIONS:
        yield Wrong(("instructions",), f"instructions are at most {MAX_INSTRUCTIONS} bytes")
    if len(profile.goals) > MOST_ACTIVE_GOALS:
        yield Wrong(("goals",), f"goals are at most {MOST_ACTIVE_GOALS}")
    for i, goal in enumerate(profile.goals):
        if not 1 <= len(goal.strip()) <= MAX_GOAL or "\0" in goal:
            yield Wrong(("goals", i), f"goals[{i}] is a goal in 1 to {MAX_GOAL} characters, none of them NUL")
    if profile.autonomy not in control_pb2.Autonomy.values():
        yield Wrong(("autonomy",), "autonomy is one of shadow, supervised, autonomous")
    if profile.model.provider not in ("", *PROVIDERS):
        yield Wrong(("model", "provider"), f"model.provider is one of {', '.join(PROVIDERS)}")
    for i, name in enumerate(profile.capabilities):
        if name not in SHIPPED_CAPABILITIES:
            known = ", ".join(SHIPPED_CAPABILITIES)
            yield Wrong(("capabilities", i), f"capabilities: there is no {name[:80]!r}; there are: {known}")


def _wrong_work(profile: control_pb2.Profile) -> Iterator[Wrong]:
    if profile.when_busy not in ("", *WHEN_BUSY):
        yield Wrong(("when_busy",), f"when_busy is one of {', '.join(WHEN_BUSY)}")
    if profile.max_in_work > MOST_IN_WORK:
        yield Wrong(("max_in_work",), f"max_in_work is at most {MOST_IN_WORK}; 0 for the usual number")
    for cap in ("sender_per_minute", "employee_per_minute"):
        if getattr(profile.rate_caps, cap) > MOST_PER_MINUTE:
            yield Wrong(("rate_caps", cap), f"rate_caps.{cap} is at most {MOST_PER_MINUTE}; 0 for the usual number")
    for kind in ("compute", "browser"):
        if getattr(profile.workstation, kind) not in ("", *PLACES):
            yield Wrong(("workstation", kind), f"workstation.{kind} is one of {', '.join(PLACES)}")
    least, most = SIDECAR_MEMORY_MB
    if profile.workstation.sidecar_memory_mb and not least <= profile.workstation.sidecar_memory_mb <= most:
        why = f"workstation.sidecar_memory_mb is from {least} to {most}"
        yield Wrong(("workstation", "sidecar_memory_mb"), why)


def _wrong_budget(profile: control_pb2.Profile) -> Iterator[Wrong]:
    for name in ("day_dollars", "message_dollars"):
        if not 0 <= getattr(profile.budget, name) <= MOST_DOLLARS:  # nor is NaN
            yield Wrong(("budget", name), f"budget.{name} is from 0 to {MOST_DOLLARS}; 0 for no limit")


def _wrong_hours(profile: control_pb2.Profile) -> Iterator[Wrong]:
    try:
        ActiveHours.parse(profile.loop.active_hours, profile.loop.time_zone)
    except ImpossibleHours as error:
        yield Wrong(("loop", error.field), f"loop.{error.field}: {error}")


def _wrong_rules(profile: control_pb2.Profile) -> Iterator[Wrong]:
    if len(profile.egress) > MAX_EGRESS:
        yield Wrong(("egress",), f"egress is at most {MAX_EGRESS} rules")
        return
    for i, rule in enumerate(profile.egress):
        for path, part in _parts(rule):
            try:
                rule_of(part)
            except ValueError as error:
                place: Path = ("egress", i, *path)
                yield Wrong(place, f"{field_name(place)}: {error}")


def _parts(rule: control_pb2.EgressRule) -> Iterator[tuple[Path, control_pb2.EgressRule]]:
    """Rules that are each wrong exactly when the field at that path is."""
    yield ("domain",), control_pb2.EgressRule(domain=rule.domain, private=rule.private)
    for i, port in enumerate(rule.ports):
        yield ("ports", i), control_pb2.EgressRule(domain="example.com", ports=[port])
    for i, method in enumerate(rule.methods):
        yield ("methods", i), control_pb2.EgressRule(domain="example.com", methods=[method])


def _wrong_policy(profile: control_pb2.Profile) -> Iterator[Wrong]:
    for risk, decision in profile.policy.items():
        path: Path = ("policy", risk)
        if risk not in RISKS:
            yield Wrong(path, f"policy: there is no risk {risk[:80]!r}; there are: {', '.join(RISKS)}", key=True)
        elif decision not in DECISIONS:
            yield Wrong(path, f"policy.{risk} is one of {', '.join(DECISIONS)}")
