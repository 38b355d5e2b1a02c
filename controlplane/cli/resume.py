"""`empla resume`: the end of a pause."""

import click

from controlplane.cli.client import connected
from controlplane.cli.output import json_option, print_json
from controlplane.cli.pause import target
from controlplane.cli.safe_text import printable
from empla.v1 import control_pb2


@click.command()
@click.argument("employee", required=False)
@click.option("--tenant", metavar="NAME", help="Every employee of this tenant.")
@json_option
def resume(employee: str | None, tenant: str | None, as_json: bool) -> None:
    """Have EMPLOYEE, or all of a tenant, go on. Where the day's budget is spent, it is granted once more for today."""
    request = control_pb2.ResumeRequest(**target(employee, tenant))
    with connected() as control_plane:
        resumed = control_plane.Resume(request)
    if as_json:
        print_json({"resumed": resumed.employees})
    elif employee and not resumed.employees:
        click.echo(printable(f"{employee}: resumed, and still paused: `empla employee show {employee}` says why"))
    else:
        click.echo(printable(f"{employee or f'{resumed.employees} employees of {tenant}'}: resumed"))
