"""`empla profile`: the profiles that are shipped, to use as they are or to begin one's own with."""

import click

from controlplane.cli.document import as_document
from controlplane.cli.errors import NotFound
from controlplane.cli.output import json_option, print_json, print_table
from controlplane.errors import Unknown
from controlplane.profiles import shipped_names, shipped_profile, shipped_text
from empla.v1 import control_pb2


@click.group()
def profile() -> None:
    """See what roles an employee can be given; docs/profiles.md tells how to write one.

    These are the profiles of this version, whichever control plane runs.
    """


@profile.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List the profiles that are shipped."""
    profiles = {name: shipped_profile(name) for name in shipped_names()}
    if as_json:
        print_json([{"name": name, **as_document(one)} for name, one in profiles.items()])
        return
    header = ("NAME", "ROLE", "AUTONOMY", "CAPABILITIES")
    print_table(header, (_row(name, one) for name, one in profiles.items()), nothing="no profiles")


def _row(name: str, one: control_pb2.Profile) -> tuple[str, ...]:
    return (name, one.role, as_document(one)["autonomy"], ", ".join(one.capabilities))


@profile.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Print the file of a shipped profile: `empla profile show support > mine.toml` begins one of your own."""
    try:
        text, found = shipped_text(name), shipped_profile(name)
    except Unknown as error:
        raise NotFound(str(error), reason=error.reason) from error
    if as_json:
        print_json({"name": name, **as_document(found)})
    else:
        click.echo(text, nl=False)
