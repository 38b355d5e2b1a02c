"""Policy: what is decided about actions that are risky once text of others was read."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue, TypeAdapter

from agent.errors import ActionDenied, ApprovalNeeded
from empla.v1 import control_pb2

log = logging.getLogger(__name__)


class Risk(StrEnum):
    """What may do harm: giving data to a site, taking a file from one, giving it files, making a schedule, or forgetting."""

    SUBMIT = "submit"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    SCHEDULE = "schedule"
    FORGET = "forget"


class Decision(StrEnum):
    """What becomes of a risky action: it is done, a person is asked, or it is not done."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


ASKED = "a person must approve it"
"""Begins what is said of something that was not done for want of approval."""


@dataclass(frozen=True, slots=True)
class Risky:
    """One reason for which an action is risky; `what` would be done, in words for who decides: `upload a.pdf to x.org`.

    `between` are who gives and who gets, when that was known only once it was held back.
    """

    risk: Risk
    what: str
    between: tuple[str, ...] = ()

    def to_json(self) -> JsonValue:
        """As it is kept beside the approval that it waits for."""
        return {"risk": self.risk, "what": self.what, "between": list(self.between)}

    @classmethod
    def from_json(cls, kept: JsonValue) -> "Risky":
        """Read it again."""
        return _RISKY.validate_python(kept)


_RISKY = TypeAdapter(Risky)


@dataclass(frozen=True, slots=True)
class Policy:
    """The decisions of one employee; what is not named is allowed."""

    decisions: Mapping[Risk, Decision] = field(default_factory=dict)

    def decide(self, risk: Risk) -> Decision:
        """What becomes of an action of this risk."""
        return self.decisions.get(risk, Decision.ALLOW)

    def refusal(self, risk: Risk) -> str:
        """Why something of this risk does not happen; '' if it may."""
        match self.decide(risk):
            case Decision.ALLOW:
                return ""
            case Decision.ASK:
                return f"{ASKED} (policy.{risk} of the profile says ask)"
            case Decision.DENY:
                return f"this employee may not (policy.{risk} of its profile)"

    def check(self, action: str, reasons: Iterable[Risky], *, approved: bool = False) -> None:
        """Raise `ActionDenied` or `ApprovalNeeded` unless everything is allowed; what is denied stays so when `approved`."""
        decided = [(self.decide(reason.risk), reason) for reason in reasons]
        for decision, reason in decided:
            if decision is Decision.DENY:
                raise ActionDenied(
                    f"POLICY_DENIED: {action} was not done: this employee may not {reason.what} "
                    f"(policy.{reason.risk} of its profile)"
                )
        for decision, reason in decided:
            if decision is Decision.ASK and not approved:
                raise ApprovalNeeded(
                    f"{action} was not done: {ASKED}, for it would {reason.what} "
                    f"(policy.{reason.risk} of the profile says ask)"
                )


_BY_AUTONOMY = {
    control_pb2.AUTONOMY_AUTONOMOUS: Decision.ALLOW,
    control_pb2.AUTONOMY_SHADOW: Decision.DENY,
}


def policy_of(profile: control_pb2.Profile, autonomy: control_pb2.Autonomy.ValueType) -> Policy:
    """What a profile decides; about all else the autonomy that is in force does."""
    usual = _BY_AUTONOMY.get(autonomy, Decision.ASK)
    return Policy({risk: _decision(risk, profile.policy.get(risk, usual)) for risk in Risk})


def _decision(risk: Risk, written: str) -> Decision:
    try:
        return Decision(written)
    except ValueError:  # of a control plane that knows other decisions
        log.warning("policy.%s is %r, which this build does not know: it is taken for deny", risk, written[:80])
        return Decision.DENY
