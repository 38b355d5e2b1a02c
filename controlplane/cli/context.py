"""`empla context`: the control planes that the command line can talk to."""

import ssl
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from controlplane.cli.client import load_settings
from controlplane.cli.contexts import LOCAL, Context, Contexts, checked_name, read_contexts, write_contexts
from controlplane.cli.errors import Failure, InvalidInput, NotPermitted
from controlplane.cli.output import json_option, print_json, print_table
from controlplane.cli.target import checked_token, context_name
from controlplane.settings import Settings, host_and_port


@click.group()
def context() -> None:
    """Say to which control planes this command line can talk, and to which it does.

    Without a context it is the one of this machine, which is also called local.
    """


@context.command()
@click.argument("name")
@click.option("--address", required=True, metavar="HOST:PORT", help="Its gRPC address; unix:/PATH is one as well.")
@click.option("--http-address", default="", metavar="HOST:PORT_OR_URL", help="Where it takes webhooks.")
@click.option("--token-file", type=click.Path(path_type=Path), help="The file that has the token, read at each use.")
@click.option("--token-stdin", is_flag=True, help="Read the token from standard input, and keep it.")
@click.option("--ca", type=click.Path(path_type=Path), help="Who signs its certificate, as PEM: it is called by TLS.")
@json_option
def add(
    name: str,
    *,
    address: str,
    http_address: str,
    token_file: Path | None,
    token_stdin: bool,
    ca: Path | None,
    as_json: bool,
) -> None:
    """Make a control plane known as NAME.

    Without a token the context takes the one that EMPLA_TOKEN has at each use.
    """
    book = _Book.opened()
    if checked_name(name) in book.contexts.known:
        raise Failure(
            f"there is a context {name} already: `empla context remove {name}` goes first", reason="ALREADY_EXISTS"
        )
    if token_file and token_stdin:
        raise click.UsageError("Give the token by one of --token-file and --token-stdin.")
    made = Context(
        address=_address(address),
        http_address=http_address if "://" in http_address or not http_address else _address(http_address),
        token=checked_token(sys.stdin.read(), "standard input") if token_stdin else "",
        token_file=_token_file(token_file) if token_file else "",
        ca=_ca(ca) if ca else "",
    )
    book = book.changed(known={**book.contexts.known, name: made})
    book.show(name, as_json=as_json, said=f"{name}: known; `empla context use {name}` makes it the one that is meant")


def _address(text: str) -> str:
    try:
        return text if text.startswith("unix:/") else host_and_port(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is no address: it {error}") from error


def _token_file(path: Path) -> str:
    try:
        checked_token(path.read_text(encoding="utf-8", errors="replace"), str(path))
    except OSError as error:
        raise NotPermitted(f"{path} cannot be read: {error.strerror}") from error
    return str(path.absolute())


def _ca(path: Path) -> str:
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise InvalidInput(f"{path} holds no certificate as PEM") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    return str(path.absolute())


@context.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List the contexts; the one that is meant is marked."""
    book = _Book.opened()
    rows = [book.document(name) for name in (LOCAL, *sorted(book.contexts.known))]
    if as_json:
        print_json(rows)
        return
    header = ("", "NAME", "ADDRESS", "HTTP", "TOKEN", "CA")
    print_table(header, (_row(row) for row in rows), nothing="")


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    texts = (row[key] for key in ("name", "address", "http_address", "token", "ca"))
    return ("*" if row["current"] else "", *texts)


@context.command()
@click.argument("name", required=False)
@json_option
def show(name: str | None, as_json: bool) -> None:
    """Show the context NAME, or the one that is meant; the token itself is not shown."""
    book = _Book.opened()
    book.show(name or context_name(book.settings), as_json=as_json)


@context.command()
@click.argument("name")
@json_option
def use(name: str, as_json: bool) -> None:
    """Have commands mean the context NAME from now on; `local` is this machine."""
    book = _Book.opened()
    if name != LOCAL:
        book.contexts.get(name)
    book = book.changed(current=name)
    meant = context_name(book.settings)
    said = f"{name}: in use" + (f", but this shell's environment says {meant}" if meant != name else "")
    book.show(name, as_json=as_json, said=said)


@context.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Forget the context NAME; of the control plane itself nothing changes."""
    book = _Book.opened()
    book.contexts.get(name)
    known = {key: value for key, value in book.contexts.known.items() if key != name}
    current = LOCAL if book.contexts.current == name else book.contexts.current
    book.changed(known=known, current=current)
    if as_json:
        print_json({"name": name, "removed": True, "current": current})
    else:
        click.echo(f"{name}: removed; {current} is in use")


@dataclass(frozen=True, slots=True)
class _Book:
    """The contexts with the settings that say where they are kept and which one this shell means."""

    settings: Settings
    contexts: Contexts

    @classmethod
    def opened(cls) -> "_Book":
        settings = load_settings()
        return cls(settings, read_contexts(settings.contexts_file))

    def changed(self, **changes: Any) -> "_Book":
        """With these changes, which are kept."""
        contexts = replace(self.contexts, **changes)
        write_contexts(self.settings.contexts_file, contexts)
        return replace(self, contexts=contexts)

    def document(self, name: str) -> dict[str, Any]:
        """A context as it may be shown; raises `NotFound`."""
        if name == LOCAL:
            token = "EMPLA_TOKEN" if self.settings.token else str(self.settings.token_file)
            shown = Context(self.settings.grpc_address, self.settings.http_address)
        else:
            shown = self.contexts.get(name)
            token = "kept with the context" if shown.token else shown.token_file or "EMPLA_TOKEN"
        meant = name == context_name(self.settings)
        where = {"address": shown.address, "http_address": shown.http_address}
        return {"name": name, **where, "token": token, "ca": shown.ca, "current": meant}

    def show(self, name: str, *, as_json: bool, said: str = "") -> None:
        """Print the context, or for people only what is `said` of it."""
        document = self.document(name)
        if as_json:
            print_json(document)
        elif said:
            click.echo(said)
        else:
            for label, value in document.items():
                if value:
                    click.echo(f"{label:<13} {'yes' if value is True else value}")
