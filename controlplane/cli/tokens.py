"""`empla tokens`: who may do what with the control plane."""

import click

from controlplane.cli.client import connected
from controlplane.cli.document import as_document, enum_word
from controlplane.cli.output import age, json_option, local_time, print_json, print_table
from controlplane.cli.pages import listed
from empla.v1 import control_pb2

SCOPES = {"read": control_pb2.SCOPE_READ, "operate": control_pb2.SCOPE_OPERATE, "admin": control_pb2.SCOPE_ADMIN}


@click.group()
def tokens() -> None:
    """Say who may use the control plane, and for what."""


@tokens.command()
@click.argument("name")
@click.option("--scope", type=click.Choice(list(SCOPES)), default="read", show_default=True, help="What it allows.")
@click.option("--tenant", default="", metavar="NAME", help="Whose it is.  [default: yours, or the tenant default]")
@click.option("--every-tenant", is_flag=True, help="Have it hold for all tenants.")
@click.option(
    "--days", type=click.IntRange(1, 36_500), help="For how long it is valid.  [default: until it is revoked]"
)
@json_option
def create(*, name: str, scope: str, tenant: str, every_tenant: bool, days: int | None, as_json: bool) -> None:
    """Create a token for who or what NAME says, and print its secret, which is shown only now."""
    if every_tenant and tenant:
        raise click.UsageError("give --tenant or --every-tenant, not both")
    request = control_pb2.CreateTokenRequest(
        name=name, scope=SCOPES[scope], tenant=tenant, every_tenant=every_tenant, valid_days=days or 0
    )
    with connected() as control_plane:
        created = control_plane.CreateToken(request)
    if as_json:
        print_json(as_document(created.token) | {"secret": created.secret})
        return
    token = created.token
    click.echo(f"token {token.name} ({token.token_id})")
    click.echo(f"  secret   {created.secret}   (keep it: it is not shown again)")
    click.echo(f"  allows   {scope}, of {token.tenant or 'every tenant'}")
    click.echo(f"  ends     {local_time(token.expires_at) or 'when it is revoked'}")
    click.echo(f"  used as  EMPLA_TOKEN={created.secret} empla employee list")


@tokens.command(name="list")
@click.option("--tenant", default="", metavar="NAME", help="Only this tenant's.")
@click.option("--all", "include_ended", is_flag=True, help="Revoked and expired ones too.")
@json_option
def list_(tenant: str, include_ended: bool, as_json: bool) -> None:
    """List tokens, without their secrets."""
    request = control_pb2.ListTokensRequest(tenant=tenant, include_ended=include_ended)
    with connected() as control_plane:
        found = listed(control_plane.ListTokens, request, "tokens")
    if as_json:
        print_json([as_document(item) for item in found])
        return
    header = ("TOKEN", "NAME", "SCOPE", "TENANT", "AGE", "EXPIRES", "REVOKED")
    print_table(header, map(_row, found), nothing="no tokens; make one with `empla tokens create NAME`")


def _row(item: control_pb2.Token) -> tuple[str, ...]:
    scope = enum_word(control_pb2.Scope.DESCRIPTOR, item.scope)
    ends = (local_time(item.expires_at) or "never", local_time(item.revoked_at))
    return (item.token_id, item.name, scope, item.tenant or "(every)", age(item.created_at), *ends)


@tokens.command()
@click.argument("token_id", metavar="ID")
@json_option
def revoke(token_id: str, as_json: bool) -> None:
    """Make the token ID invalid, at once and for good."""
    with connected() as control_plane:
        token = control_plane.RevokeToken(control_pb2.RevokeTokenRequest(token_id=token_id))
    if as_json:
        print_json(as_document(token))
    else:
        click.echo(f"{token.name}: revoked")
