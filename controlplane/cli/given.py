"""Text that a command was given, on its command line or through standard input."""

import sys

from controlplane.cli.errors import InvalidInput


def given_text(text: str) -> str:
    """`text`, or for `-` what standard input has; raises `InvalidInput` for what is no text."""
    if text != "-":
        return text
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"standard input is not text in {error.encoding}") from error
