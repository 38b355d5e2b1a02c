"""`empla audit`: who changed what."""

import json

import click
from google.protobuf.json_format import MessageToDict

from controlplane.cli.client import connected
from controlplane.cli.document import as_document
from controlplane.cli.output import json_option, local_time, print_json, print_table
from controlplane.cli.pages import listed
from empla.v1 import control_pb2


@click.command()
@click.option("--tenant", default="", metavar="NAME", help="Only what is this tenant's.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many, at most."
)
@json_option
def audit(tenant: str, limit: int, as_json: bool) -> None:
    """Show who changed what, the newest first."""
    with connected() as control_plane:
        found = listed(control_plane.ListAudit, control_pb2.ListAuditRequest(tenant=tenant), "entries", limit)
    if as_json:
        print_json([as_document(item) for item in found])
        return
    header = ("WHEN", "WHO", "DID", "TO", "TENANT", "DETAIL")
    print_table(header, map(_row, found), nothing="nobody has changed anything yet")


def _row(item: control_pb2.AuditEntry) -> tuple[str, ...]:
    detail = json.dumps(MessageToDict(item.detail), ensure_ascii=False)
    return (local_time(item.occurred_at), item.actor, item.action, item.subject, item.tenant, detail[:120])
