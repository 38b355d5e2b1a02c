"""`empla channel`: the places that messages come from and replies go to."""

import click

from controlplane.cli.client import connected, load_settings
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document
from controlplane.cli.output import age, json_option, print_json, print_table
from controlplane.cli.signing import curl_example
from controlplane.cli.target import chosen_target
from empla.v1 import control_pb2


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
    help="Who gets the messages.  [default: routing rules choose]",
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
    employee, replies = item.employee or "(rules)", item.callback_url
    return (item.name, item.kind, employee, item.receive_path, replies, age(item.created_at))
