"""`empla pause`: the kill switch."""

import click

from controlplane.cli.client import connected
from controlplane.cli.errors import InvalidInput
from controlplane.cli.output import json_option, print_json
from controlplane.cli.safe_text import printable
from empla.v1 import control_pb2


def target(employee: str | None, tenant: str | None) -> dict[str, str]:
    """The one thing that is to be paused or resumed, as the field of a request."""
    if (employee is None) == (tenant is None):
        raise InvalidInput("name either an EMPLOYEE or a --tenant")
    return {"employee": employee} if employee is not None else {"tenant": tenant or ""}


@click.command()
@click.argument("employee", required=False)
@click.option("--tenant", metavar="NAME", help="Every employee of this tenant.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever asks later.")
@json_option
def pause(employee: str | None, tenant: str | None, reason: str, as_json: bool) -> None:
    """Have EMPLOYEE, or all of a tenant, begin nothing more: no step, no action, no cycle, until `empla resume`.

    What a model or an action does at this moment comes to its end. Messages are stored and wait.
    """
    request = control_pb2.PauseRequest(reason=reason, **target(employee, tenant))
    with connected() as control_plane:
        paused = control_plane.Pause(request)
    if as_json:
        print_json({"paused": paused.employees})
    elif not paused.employees and employee:
        click.echo(printable(f"{employee} was paused before"))
    else:
        click.echo(printable(f"{employee or f'{paused.employees} employees of {tenant}'}: paused"))
