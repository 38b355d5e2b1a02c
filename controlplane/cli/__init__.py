"""The command `empla`: starts the control plane, and talks to a running one over gRPC.

Every command lives in a module of its own that is imported when it is used, so that `empla --help` and `empla send` start
fast. Exit codes are drawn in `controlplane.cli.errors`.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import takewhile
from typing import Any

import click

from controlplane.cli.errors import CLOSED_PIPE, CONTEXT, Aborted, Failure, InvalidInput, report

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
    "schedules": "Have employees do things later, or again and again.",
    "alerts": "See what needs somebody's attention, and what did.",
    "channel": "Connect the places that messages come from.",
    "routing": "Say which employee gets what comes by a channel.",
    "files": "See and change what lies in employees' workspaces.",
    "egress": "Say which places on the network an employee may reach.",
    "sidecars": "See and stop the workstations that employees have for a while.",
    "tenants": "Keep the employees of several companies or teams apart.",
    "tokens": "Say who may use the control plane, and for what.",
    "audit": "See who changed what.",
    "compute": "Choose the packages that the employees' sandboxed programs find.",
    "backup": "Write one archive of the database and all workspaces.",
    "restore": "Check a backup, or restore it into an empty home.",
    "context": "Say to which control planes this command line talks.",
    "completion": "Have a shell complete commands, options and names.",
}
"""Each command, which is the attribute of that name in the module of that name, with its line of help."""
_OF_THIS_MACHINE = ("up", "doctor", "profile", "compute", "context", "completion", "backup", "restore")
"""Those that ask no control plane, or none but this machine's: they take no `--context`."""


def _remember_context(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        ctx.meta[CONTEXT] = value
    return value


def _context_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    from controlplane.cli.completing import context_names  # noqa: PLC0415 - only a shell that completes needs it

    return context_names(incomplete)


def _context_option() -> click.Option:
    return click.Option(
        ["--context"],
        metavar="NAME",
        expose_value=False,
        is_eager=True,
        callback=_remember_context,
        shell_complete=_context_names,
        help="The control plane that is meant; see `empla context`.",
    )


def _give_context(command: click.Command) -> None:
    """Have each command below take `--context`, as it is given before the command's name, too."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _give_context(below)
    elif not any(option.name == "context" for option in command.params):
        command.params.append(_context_option())


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
        if cmd_name not in _OF_THIS_MACHINE:
            _give_context(command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; one whose output nobody reads any more ends without a word."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())  # or what is buffered fails once more when Python ends
            ctx.exit(CLOSED_PIPE)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command line; unless `standalone_mode` is off, report errors and exit."""
        # gRPC's core writes to the terminal what our own errors say better; it reads this when it is imported.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        asked = "--json" in takewhile("--".__ne__, sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        try:
            code = super().main(args, standalone_mode=False, **extra)
        except click.ClickException as error:
            # A line that cannot be parsed has not told its options.
            report(error, as_json=isinstance(error, click.UsageError) and asked)
            sys.exit(error.exit_code)
        except UnicodeEncodeError:  # bytes of the command line or of standard input that no message can carry
            report(InvalidInput("what was given is not valid UTF-8"), as_json=asked)
            sys.exit(InvalidInput.exit_code)
        except click.Abort:
            report(Aborted("aborted"), as_json=asked)
            sys.exit(Aborted.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="empla", prog_name="empla")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Digital employees that are always on: run them, talk to them, see what they do."""
    if CONTEXT in ctx.meta and ctx.invoked_subcommand in _OF_THIS_MACHINE:
        raise click.UsageError(f"`{ctx.invoked_subcommand}` is about this machine and takes no --context.")


main.params.append(_context_option())
