"""`empla costs`: what models cost, by employee, model and day."""

from datetime import UTC, datetime

import click

from controlplane.cli.budgeting import dollars
from controlplane.cli.client import connected
from controlplane.cli.document import as_document
from controlplane.cli.output import json_option, print_json, print_table
from empla.v1 import control_pb2


@click.command()
@click.option("--employee", default="", metavar="NAME", help="Of this employee only.")
@click.option("--tenant", default="", metavar="NAME", help="Of this tenant only.")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="From this day (UTC) on.  [default: 30 days ago]"
)
@json_option
def costs(employee: str, tenant: str, since: datetime | None, as_json: bool) -> None:
    """List what models cost. Days are those of UTC; what has no price is counted in tokens only."""
    request = control_pb2.GetCostsRequest(employee=employee, tenant=tenant)
    if since is not None:
        request.since.FromDatetime(since.replace(tzinfo=UTC))
    with connected() as control_plane:
        found = control_plane.GetCosts(request).costs
    if as_json:
        print_json([as_document(cost) for cost in found])
        return
    print_table(
        ("DAY", "EMPLOYEE", "MODEL", "TOKENS IN", "TOKENS OUT", "COST"),
        map(_row, found),
        nothing="nothing was asked of a model",
    )
    if found:
        click.echo(f"together {dollars(sum(cost.cost_micros for cost in found))}")


def _row(cost: control_pb2.Cost) -> tuple[str, ...]:
    price = "no price" if cost.unpriced and not cost.cost_micros else dollars(cost.cost_micros)
    return (cost.day, cost.employee, cost.model, f"{cost.tokens_in:,}", f"{cost.tokens_out:,}", price)
