"""`empla alerts`: what needs somebody's attention, and what did."""

import click

from controlplane.cli.client import connected
from controlplane.cli.document import as_document
from controlplane.cli.output import json_option, local_time, print_json, print_table
from controlplane.cli.pages import listed
from empla.v1 import control_pb2


@click.command()
@click.option("--employee", default="", metavar="NAME", help="Only this employee's.")
@click.option("--open", "open_only", is_flag=True, help="Only those that are not over.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many.")
@json_option
def alerts(employee: str, *, open_only: bool, limit: int, as_json: bool) -> None:
    """See what needs somebody's attention, and what did: open alerts first, then the newest."""
    request = control_pb2.ListAlertsRequest(employee=employee, open_only=open_only)
    with connected() as control_plane:
        found = listed(control_plane.ListAlerts, request, "alerts", limit)
    if as_json:
        print_json([as_document(item) for item in found])
        return
    header = ("ALERT", "OF", "STATE", "SINCE", "CLEARED", "WHY")
    print_table(header, map(_row, found), nothing="no alerts")


def _row(item: control_pb2.Alert) -> tuple[str, ...]:
    subject = f"{item.tenant}/{item.employee}" if item.employee else "the control plane"
    state = "over" if item.HasField("cleared_at") else "open"
    return (item.kind, subject, state, local_time(item.since), local_time(item.cleared_at), item.detail)
