"""The way out to the network: a forward proxy that resolves names itself and lets through what a policy allows."""

from workstation.egress.access import Access, Outcome
from workstation.egress.door import Door
from workstation.egress.limits import EgressLimits
from workstation.egress.policy import EgressPolicy, EgressRefused, EgressRule
from workstation.egress.proxy import EgressProxy
from workstation.egress.resolver import Resolve

__all__ = [
    "Access",
    "Door",
    "EgressLimits",
    "EgressPolicy",
    "EgressProxy",
    "EgressRefused",
    "EgressRule",
    "Outcome",
    "Resolve",
]
