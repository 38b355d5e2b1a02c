"""The ControlPlane service: what operators and programs ask for, each answered from the tables or by their owners."""

from controlplane.calls.access import AccessCalls
from controlplane.calls.alerts import AlertCalls
from controlplane.calls.budgets import BudgetCalls
from controlplane.calls.channels import ChannelCalls
from controlplane.calls.employees import EmployeeCalls
from controlplane.calls.files import FileCalls
from controlplane.calls.goals import GoalCalls
from controlplane.calls.memory import MemoryCalls
from controlplane.calls.messages import MessageCalls
from controlplane.calls.overview import OverviewCalls
from controlplane.calls.pauses import PauseCalls
from controlplane.calls.reviews import ReviewCalls
from controlplane.calls.schedules import ScheduleCalls
from controlplane.calls.sidecars import SidecarCalls
from controlplane.calls.watching import WatchCalls


class ControlPlane(
    EmployeeCalls,
    MessageCalls,
    ReviewCalls,
    GoalCalls,
    ScheduleCalls,
    MemoryCalls,
    SidecarCalls,
    PauseCalls,
    BudgetCalls,
    ChannelCalls,
    FileCalls,
    AccessCalls,
    AlertCalls,
    OverviewCalls,
    WatchCalls,
):
    """See control.proto for what each RPC promises."""
