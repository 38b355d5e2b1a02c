"""`empla budget`: what models may cost, and what is left of that today."""

import click

from controlplane.cli.budgeting import budget_text, dollars
from controlplane.cli.client import connected
from controlplane.cli.document import as_document
from controlplane.cli.errors import InvalidInput
from controlplane.cli.output import json_option, print_json
from controlplane.cli.safe_text import printable
from empla.prices import MOST_DOLLARS
from empla.v1 import control_pb2


@click.group()
def budget() -> None:
    """See and set what models may cost; that of an employee stands in its profile, as `[budget]`."""


@budget.command()
@click.argument("employee", required=False)
@click.option("--tenant", metavar="NAME", help="Of a tenant.  [default: the token's]")
@json_option
def show(employee: str | None, tenant: str | None, as_json: bool) -> None:
    """Show the budget of EMPLOYEE, or of a tenant, and what is spent of it today."""
    if employee is not None and tenant is not None:
        raise InvalidInput("name either an EMPLOYEE or a --tenant")
    request = control_pb2.GetBudgetRequest(tenant=tenant or "")
    if employee is not None:
        request.employee = employee
    with connected() as control_plane:
        status = control_plane.GetBudget(request)
    _print(status, as_json=as_json)


@budget.command(name="set")
@click.option("--tenant", default="", metavar="NAME", help="Of this tenant.  [default: the token's]")
@click.option("--day-dollars", type=click.FloatRange(0, MOST_DOLLARS), metavar="AMOUNT", help="0: no limit.")
@click.option("--day-tokens", type=click.IntRange(0, 2**32 - 1), metavar="NUMBER", help="0: no limit.")
@json_option
def set_(tenant: str, day_dollars: float | None, day_tokens: int | None, as_json: bool) -> None:
    """Say what the employees of a tenant may spend together on each day (UTC); what is not named stays as it is."""
    if day_dollars is None and day_tokens is None:
        raise click.UsageError("Say what to set: --day-dollars or --day-tokens; 0 is no limit.")
    with connected() as control_plane:
        now = control_plane.GetBudget(control_pb2.GetBudgetRequest(tenant=tenant)).budget
        request = control_pb2.SetBudgetRequest(
            tenant=tenant,
            day_dollars=now.day_dollars if day_dollars is None else day_dollars,
            day_tokens=now.day_tokens if day_tokens is None else day_tokens,
        )
        status = control_plane.SetBudget(request)
    _print(status, as_json=as_json)


def _print(status: control_pb2.BudgetStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(as_document(status))
        return
    spent = f"{dollars(status.spent_micros)} and {status.spent_tokens:,} tokens"
    held = f"{dollars(status.reserved_micros)} and {status.reserved_tokens:,} tokens"
    again = f", granted {status.granted} times today" if status.granted > 1 else ""
    click.echo(printable(f"{status.owner}: {budget_text(status.budget) or 'no budget'}{again}"))
    click.echo(f"  spent on {status.day} (UTC): {spent}{'; it is spent: the rest waits' if status.spent else ''}")
    click.echo(f"  held for calls of models in work: {held}")
