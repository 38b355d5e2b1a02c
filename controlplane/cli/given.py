"""What a command is given besides its options: text through standard input, and a person's yes."""

import sys

import click

from controlplane.cli.errors import InvalidInput


def given_text(text: str) -> str:
    """`text`, or for `-` what standard input has; raises `InvalidInput` for what is no text."""
    if text != "-":
        return text
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"standard input is not text in {error.encoding}") from error


def confirmed(question: str) -> None:
    """Return once a person says yes; raises `InvalidInput` where nobody can be asked, `click.Abort` for a no."""
    try:
        yes = click.confirm(question, err=True)
    except click.Abort as error:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)  # the question has left its line open
        raise InvalidInput("there is nobody to ask; add --yes if you are sure", reason="NOT_CONFIRMED") from error
    if not yes:
        raise click.Abort
