"""`empla channel`: the places that messages come from and replies go to."""

from typing import Any, cast

import click

from controlplane.cli.client import connected, load_settings
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document
from controlplane.cli.errors import NotFound
from controlplane.cli.given import confirmed
from controlplane.cli.output import age, json_option, print_json, print_table
from controlplane.cli.safe_text import printable
from controlplane.cli.signing import curl_example
from controlplane.cli.target import chosen_target
from empla.v1 import control_pb2

DELETE_SECONDS = 300.0
"""Each message that is open is cancelled by itself."""


@click.group()
def channel() -> None:
    """Connect the places that messages come from."""


@channel.command()
@click.argument("name")
@click.option(
    "--employee",
    type=EMPLOYEE,
    default="",
    metavar="NAME",
    help="Who gets the messages.  [default: whom they name; see `empla routing`]",
)
@click.option("--callback", default="", metavar="URL", help="Where replies are posted; http or https.")
@json_option
def create(name: str, employee: str, callback: str, as_json: bool) -> None:
    """Create a signed webhook channel and print its secret, which is shown only now."""
    request = control_pb2.CreateChannelRequest(name=name, kind="webhook", employee=employee, callback_url=callback)
    target = chosen_target(load_settings())
    with connected(target) as control_plane:
        created = control_plane.CreateChannel(request)
    example = curl_example(target.http_address, created.channel.receive_path, created.secret)
    if as_json:
        print_json(as_document(created.channel) | {"secret": created.secret, "example": example})
    else:
        click.echo(_introduction(created) + "\n\n" + example, nl=False)


def _introduction(created: control_pb2.CreateChannelResponse) -> str:
    made = created.channel
    replies = made.callback_url or "nowhere; create the channel with --callback to have them posted"
    return "\n".join((
        f"channel {made.name} ({made.channel_id})",
        f"  secret    {created.secret}   (keep it: it is not shown again)",
        f"  receives  POST {made.receive_path}",
        f"  replies   {replies}",
        "",
        "A signed message:",
    ))  # fmt: skip


@channel.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List the channels."""
    with connected() as control_plane:
        channels = control_plane.ListChannels(control_pb2.ListChannelsRequest()).channels
    if as_json:
        print_json([as_document(item) for item in channels])
        return
    header = ("NAME", "KIND", "EMPLOYEE", "RECEIVES AT", "REPLIES TO", "AGE")
    print_table(header, map(_row, channels), nothing="no channels; create one with `empla channel create NAME`")


def _row(item: control_pb2.Channel) -> tuple[str, ...]:
    return (item.name, item.kind, _whose(item), item.receive_path, item.callback_url, age(item.created_at))


def _whose(item: control_pb2.Channel) -> str:
    own = item.employee or "(as they say)"
    if not item.rules:
        return own
    return f"{len(item.rules)} {'rule' if len(item.rules) == 1 else 'rules'}, then {own}"


@channel.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Also while something of it is open; that is cancelled.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(*, name: str, force: bool, yes: bool, as_json: bool) -> None:
    """Take no more messages by the channel NAME; what came by it can be read as before."""
    with connected() as control_plane:
        found = channel_named(control_plane, name)
        if not yes:
            open_ = "; its open messages are cancelled, its schedules end" if force else ""
            confirmed(printable(f"Nothing comes by {found.tenant}/{found.name} any more{open_}.\nDelete {found.name}?"))
        request = control_pb2.DeleteChannelRequest(channel_id=found.channel_id, force=force)
        control_plane.DeleteChannel(request, timeout=DELETE_SECONDS)
    if as_json:
        print_json({"channel": name, "deleted": True})
    else:
        click.echo(f"{name}: deleted")


def channel_named(control_plane: Any, name: str) -> control_pb2.Channel:
    """The channel of that name or id; raises `NotFound`."""
    for found in control_plane.ListChannels(control_pb2.ListChannelsRequest()).channels:
        if name in (found.name, found.channel_id):
            return cast("control_pb2.Channel", found)
    raise NotFound(f"there is no channel {name}; `empla channel list` shows them", reason="CHANNEL_UNKNOWN")
