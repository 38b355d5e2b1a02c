"""`empla tenants`: those whose employees, messages and tokens never meet."""

import click

from controlplane.cli.client import connected
from controlplane.cli.document import as_document
from controlplane.cli.output import age, json_option, print_json, print_table
from controlplane.cli.pages import listed
from empla.v1 import control_pb2


@click.group()
def tenants() -> None:
    """Keep the employees of several companies or teams apart."""


@tenants.command()
@click.argument("name")
@json_option
def create(name: str, as_json: bool) -> None:
    """Create the tenant NAME."""
    with connected() as control_plane:
        tenant = control_plane.CreateTenant(control_pb2.CreateTenantRequest(name=name))
    if as_json:
        print_json(as_document(tenant))
    else:
        click.echo(f"{tenant.name}: created; `empla tokens create NAME --tenant {tenant.name}` lets somebody in")


@tenants.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List the tenants."""
    with connected() as control_plane:
        found = listed(control_plane.ListTenants, control_pb2.ListTenantsRequest(), "tenants")
    if as_json:
        print_json([as_document(item) for item in found])
        return
    rows = ((item.name, item.tenant_id, "paused" if item.paused else "", age(item.created_at)) for item in found)
    print_table(("NAME", "TENANT", "STATE", "AGE"), rows, nothing="no tenants; make one with `empla tenants create`")
