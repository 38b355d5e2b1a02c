"""What can go wrong in an employee.

All are `AgentError`; models have a tree of their own (`agent.models.interface`), and `NotEnded` is no failure::

    AgentError
    ├── Superseded              another launch owns this employee: the process stops itself
    ├── Cancelled               somebody wants this work stopped for good
    ├── Paused                  the employee may not work now; it goes on later, from what is recorded
    ├── TransitionRefused       the row is no longer where this move starts: nothing was written
    ├── IllegalTransition       no edge allows this move: a bug in the caller
    ├── GatewayUnavailable      the control plane refuses this process for good
    ├── EmbeddingUnavailable    no vectors of texts can be had now
    │   └── NoEmbeddingModel    nor later: the control plane has no model for it, and says why
    ├── HooksNotLoaded          no installed package brings these hooks
    ├── SidecarEnded            the sidecar is no longer there, or no longer this employee's
    ├── StepFailed              a step cannot succeed by trying again; says why to the review
    │   ├── EffectAmbiguous     an action was begun and never recorded as finished, and is not safe to repeat
    │   ├── BudgetSpent         what a message may cost is spent
    │   └── ApprovalNeeded      an action was not done: the policy wants a person to approve it
    └── CapabilityError         an action failed; the model reads the message and may try something else
        ├── ActionUnknown       there is no such action, or its capability is off for this employee
        ├── ArgumentsInvalid    the arguments do not fit the action's schema
        ├── ActionDenied        the employee's policy does not allow it
        ├── ActionTimedOut      the action's deadline passed
        ├── SidecarUnavailable  no sidecar can be had, and nothing was begun; says why, and when to try again
        └── ActionFailed        the action itself failed
"""

from typing import ClassVar, Literal

from pydantic import JsonValue


class AgentError(Exception):
    """Something about an employee failed."""


class NotEnded(Exception):
    """What is done stops here for now, and neither failed nor came to its end: `outcome` says what it does instead."""

    outcome: ClassVar[Literal["waiting", "paused"]]


class Superseded(AgentError):
    """A newer launch of this employee exists; this process must write nothing more and stop."""


class Cancelled(AgentError):
    """The unit is to be stopped; says who wants that, and why."""


class Paused(AgentError, NotEnded):
    """The employee is paused: a person wants that, or the budget of the day is spent or held for calls that go on."""

    outcome = "paused"


class TransitionRefused(AgentError):
    """The unit is not in the state, step and attempt that the move names; nothing was written."""


class IllegalTransition(AgentError):
    """The state machine has no such edge."""


class GatewayUnavailable(AgentError):
    """The control plane does not accept this process, and trying again will not change that."""


class EmbeddingUnavailable(AgentError):
    """No vectors of texts can be had now; what is looked for is found by its words only."""


class NoEmbeddingModel(EmbeddingUnavailable):
    """This machine has no model that makes vectors of texts; the message says why."""


class HooksNotLoaded(AgentError):
    """No installed package brings hooks of this name, or what it brings are none; the message says which."""


class SidecarEnded(AgentError):
    """The sidecar was stopped, died, or its lease ran out; what ran in it is gone."""


class StepFailed(AgentError):
    """The step cannot succeed by being tried again; a person has to look."""


class EffectAmbiguous(StepFailed):
    """An action was begun, its result was never recorded, and repeating it could do harm."""


class BudgetSpent(StepFailed):
    """What models may cost for this message is spent; the next call might cost more than is left."""


class ApprovalNeeded(StepFailed):
    """The employee's policy lets a person decide about the action; it was not done, and the message says what it is.

    `held`, as JSON: what the action led to and was held back, when that was known only once it was done.
    """

    def __init__(self, message: str, held: JsonValue = None) -> None:
        super().__init__(message)
        self.held = held


class CapabilityError(AgentError):
    """An action failed in a way that the model may react to."""


class ActionUnknown(CapabilityError):
    """No such action, or its capability is off for this employee."""


class ArgumentsInvalid(CapabilityError):
    """The arguments do not fit the action's schema; the message says which."""


class ActionDenied(CapabilityError):
    """The employee's policy does not allow the action."""


class ActionTimedOut(CapabilityError):
    """The action did not end before its deadline."""


class SidecarUnavailable(CapabilityError):
    """No sidecar can be had now; what was to be done there was not begun. `retry_after` is in seconds, if known."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        later = f"; try again in {retry_after:.0f} s" if retry_after else ""
        super().__init__(f"NO_SIDECAR: nothing was begun, for there is no sidecar for it: {message}{later}")
        self.retry_after = retry_after


class ActionFailed(CapabilityError):
    """The action ran and failed; the message says how."""
