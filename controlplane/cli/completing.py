"""What a shell offers besides commands and options: names of employees and of contexts."""

import click
from click.shell_completion import CompletionItem

from controlplane.cli.client import connected, load_settings
from controlplane.cli.contexts import LOCAL, read_contexts
from controlplane.cli.errors import Failure
from empla.v1 import control_pb2

_SECONDS = 1.0
_MOST = 500


class EmployeeName(click.ParamType[str]):
    """The name of an employee, which a shell completes by asking the control plane."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so; none when the control plane is not there within a second, or refuses."""
        with ctx.scope(cleanup=False):
            return [CompletionItem(name) for name in employee_names(incomplete)]


EMPLOYEE = EmployeeName()


def employee_names(beginning: str) -> list[str]:
    """Names of employees that begin so; none when no control plane says any in time."""
    try:
        with connected() as control_plane:
            request = control_pb2.ListEmployeesRequest(page_size=_MOST)
            employees = control_plane.ListEmployees(request, timeout=_SECONDS).employees
    except Failure:
        return []
    return [item.name for item in employees if item.name.startswith(beginning)]


def context_names(beginning: str) -> list[str]:
    """Names of contexts that begin so."""
    try:
        known = read_contexts(load_settings().contexts_file).known
    except Failure:
        return []
    return [name for name in (LOCAL, *known) if name.startswith(beginning)]
