"""What the command line can end with besides success; docs/cli.md promises the exit codes.

The tree, with each class's exit code (2 is also click's own, for a command line that cannot be parsed)::

    Failure                1  the operation failed
    ├── InvalidInput       2  the control plane or a file's reader refuses what was given
    ├── Unreachable        3  no control plane answers
    ├── NotFound           4  there is no such employee, message, review, …
    ├── NotPermitted       5  no token, a wrong one, or one that may not do this
    └── Aborted          130  Ctrl-C, or a no to a question: what a shell reports of a program that Ctrl-C ended

Without an error a message that was sent can end with 6 or 7, and any command with 141.
"""

import json
from collections.abc import Mapping

import click

from controlplane.cli.safe_text import one_line

JSON_OUTPUT = "empla.json"
"""The key in a context's `meta` that is set when the command was given `--json`."""

CONTEXT = "empla.context"
"""The key in a context's `meta` that has what `--context` was given."""

WAITING = 6
"""The exit code of a message that waits for a person."""

STILL_IN_WORK = 7
"""The exit code of a message whose reply did not come in the time that was given."""

CLOSED_PIPE = 141
"""What a shell reports of a program whose output nobody reads any more."""

_LONGEST = 1000


class Failure(click.ClickException):
    """The operation failed; the message is one line and says what to do.

    `reason` is stable and for programs, `fields` names what was wrong with which field, `retry_after` is in seconds.
    """

    exit_code = 1
    usual_reason = "FAILED"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        fields: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason, self.fields, self.retry_after = reason or self.usual_reason, dict(fields or {}), retry_after
        self.ctx = click.get_current_context(silent=True)


class InvalidInput(Failure):
    """Something that was given is refused; the message names it."""

    exit_code = 2
    usual_reason = "INVALID"


class Unreachable(Failure):
    """No control plane answers at the address of the settings."""

    exit_code = 3
    usual_reason = "NO_CONTROL_PLANE"


class NotFound(Failure):
    """What was named does not exist."""

    exit_code = 4
    usual_reason = "UNKNOWN"


class NotPermitted(Failure):
    """There is no token, it is not valid, or its scope is too low."""

    exit_code = 5
    usual_reason = "NOT_PERMITTED"


class Aborted(Failure):
    """A person ended the command."""

    exit_code = 130
    usual_reason = "ABORTED"


def report(error: click.ClickException, *, as_json: bool = False) -> None:
    """Write `error` to standard error: as JSON when its command was given `--json`, or if so `as_json`."""
    ctx: click.Context | None = getattr(error, "ctx", None)
    if as_json or (ctx is not None and ctx.meta.get(JSON_OUTPUT)):
        click.echo(json.dumps({"error": _document(error)}, ensure_ascii=False), err=True)
    elif isinstance(error, Failure):
        click.echo(f"empla: {one_line(error.format_message(), _LONGEST)}", err=True)
    else:
        error.show()


def _document(error: click.ClickException) -> dict[str, object]:
    document: dict[str, object] = {"message": error.format_message(), "exit_code": error.exit_code}
    if not isinstance(error, Failure):
        return document | {"reason": "USAGE" if isinstance(error, click.UsageError) else Failure.usual_reason}
    known = {"reason": error.reason, "fields": error.fields, "retry_after_s": error.retry_after}
    return document | {key: value for key, value in known.items() if value}
