"""Ways in which a request ends other than with the answer it asked for."""

from workstation.egress.access import Outcome
from workstation.egress.policy import EgressRefused

_USUAL_PORTS = (80, 443)
"""Those of a rule that names none."""


class Ending(Exception):
    """The request ends here.

    `status` is what the client is told if it has no answer yet, 0: it cannot be told; `reason` is a clause that calls the
    request "it"; `advice` says what can be done.
    """

    def __init__(self, outcome: Outcome, status: int, reason: str) -> None:
        super().__init__(reason)
        self.outcome, self.status, self.reason = outcome, status, reason
        self.advice = ""

    @property
    def clause(self) -> str:
        """The reason, and what can be done."""
        return f"{self.reason}, {self.advice}" if self.advice else self.reason


def forbidden(error: EgressRefused, host: str, port: int) -> Ending:
    """The rules do not allow it."""
    ending = Ending(Outcome.REFUSED, 403, str(error))
    ending.advice = (
        "and no rule can allow that"
        if error.final
        else f"and an operator can allow it in the employee's profile ({_allowing(error, host, port)})"
    )
    return ending


def _allowing(error: EgressRefused, host: str, port: int) -> str:
    """The command that writes the rule: one that allows this, and as little else as the rules that there are."""
    at = "" if port in _USUAL_PORTS else f" --port {port}"
    methods = "".join(f" --method {method}" for method in error.methods)
    return f"empla egress allow EMPLOYEE {host}{at}{methods}{' --private' if error.private else ''}"


def invalid(reason: str, status: int = 400) -> Ending:
    """It is no request that a proxy serves."""
    return Ending(Outcome.REFUSED, status, reason)


def failed(status: int, reason: str) -> Ending:
    """The other side did not do its part."""
    return Ending(Outcome.FAILED, status, reason)


def limited(status: int, reason: str) -> Ending:
    """It reached a bound of the proxy."""
    return Ending(Outcome.LIMITED, status, reason)
