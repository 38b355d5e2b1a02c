"""The command `empla`: starts the control plane, and talks to a running one over gRPC.

Every command lives in a module of its own that is imported when it is used, so that `empla --help` and `empla send` start
fast. Exit codes are drawn in `controlplane.cli.errors`.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from controlplane.cli.errors import Failure, InvalidInput, report

_COMMANDS = {
    "up": "Start the control plane, its database and the employees of this machine.",
    "doctor": "Check this machine and say what to do about what is missing.",
    "chat": "Talk to an employee.",
    "send": "Send one message and print the reply.",
    "employee": "Create, start, stop and look after employees.",
    "pause": "Have employees begin nothing more, at once.",
    "resume": "Have paused employees go on.",
    "budget": "See and set what models may cost.",
    "costs": "See what models cost.",
    "profile": "See what roles an employee can be given.",
    "message": "See what became of messages.",
    "reviews": "See and decide what waits for a person.",
    "memory": "See what employees remember, and have it forgotten.",
    "goals": "See what employees work for by themselves, and set them goals.",
    "schedules": "See to what employees do later, or again and again.",
    "alerts": "See what needs somebody's attention, and what did.",
    "channel": "Connect the places that messages come from.",
    "egress": "Say which places on the network an employee may reach.",
    "sidecars": "See and stop the workstations that employees have for a while.",
    "tenants": "Keep the employees of several companies or teams apart.",
    "tokens": "Say who may use the control plane, and for what.",
    "audit": "See who changed what.",
    "compute": "See to what the employees' sandboxed programs find.",
    "backup": "Write one archive of the database and all workspaces.",
    "restore": "Check a backup, or restore it into an empty home.",
}
"""Each command, which is the attribute of that name in the module of that name, with its line of help."""


class Commands(click.Group):
    """Imports a command when it is used; ends with the exit codes of `controlplane.cli.errors`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which a newcomer needs them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; None when there is no such command."""
        if cmd_name not in _COMMANDS:
            return None
        module = f"{__name__}.{cmd_name}"
        try:
            command = getattr(import_module(module), cmd_name)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise Failure(f"this build does not have the command `{cmd_name}`") from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command line; unless `standalone_mode` is off, report errors and exit."""
        # gRPC's core writes to the terminal what our own errors say better; it reads this when it is imported.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        try:
            code = super().main(args, standalone_mode=False, **extra)
        except click.ClickException as error:
            report(error)
            sys.exit(error.exit_code)
        except UnicodeEncodeError:  # bytes of the command line or of standard input that no message can carry
            report(InvalidInput("what was given is not valid UTF-8"))
            sys.exit(InvalidInput.exit_code)
        except click.Abort:
            click.echo("empla: aborted", err=True)
            sys.exit(130)  # what a shell reports for a program that Ctrl-C ended
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="empla", prog_name="empla")
def main() -> None:
    """Digital employees that are always on: run them, talk to them, see what they do."""
