"""What the command line can end with besides success.

The tree, with each class's exit code (2 is also click's own, for a command line that cannot be parsed)::

    Failure                1  the operation failed
    ├── InvalidInput       2  the control plane or a file's reader refuses what was given
    ├── Unreachable        3  no control plane answers
    ├── NotFound           4  there is no such employee, message, review, …
    └── NotPermitted       5  no token, a wrong one, or one that may not do this
"""

import json
from collections.abc import Mapping

import click

from controlplane.cli.safe_text import one_line

JSON_OUTPUT = "empla.json"
"""The key in a context's `meta` that is set when the command was given `--json`."""

_LONGEST = 1000


class Failure(click.ClickException):
    """The operation failed; the message is one line and says what to do.

    `reason` is stable and for programs, `fields` names what was wrong with which field, `retry_after` is in seconds.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        fields: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason, self.fields, self.retry_after = reason, dict(fields or {}), retry_after
        self.ctx = click.get_current_context(silent=True)


class InvalidInput(Failure):
    """Something that was given is refused; the message names it."""

    exit_code = 2


class Unreachable(Failure):
    """No control plane answers at the address of the settings."""

    exit_code = 3


class NotFound(Failure):
    """What was named does not exist."""

    exit_code = 4


class NotPermitted(Failure):
    """There is no token, it is not valid, or its scope is too low."""

    exit_code = 5


def report(error: click.ClickException) -> None:
    """Write `error` to standard error: as JSON when its command was given `--json`."""
    ctx: click.Context | None = getattr(error, "ctx", None)
    if ctx is not None and ctx.meta.get(JSON_OUTPUT):
        click.echo(json.dumps({"error": _document(error)}, ensure_ascii=False), err=True)
    elif isinstance(error, Failure):
        click.echo(f"empla: {one_line(error.format_message(), _LONGEST)}", err=True)
    else:
        error.show()


def _document(error: click.ClickException) -> dict[str, object]:
    document: dict[str, object] = {"message": error.format_message(), "exit_code": error.exit_code}
    if isinstance(error, Failure):
        known = {"reason": error.reason, "fields": error.fields, "retry_after_s": error.retry_after}
        document |= {key: value for key, value in known.items() if value}
    return document
