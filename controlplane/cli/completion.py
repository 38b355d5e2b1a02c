"""`empla completion`: a shell completes what it is told by the command itself."""

import click
from click.shell_completion import get_completion_class

_WHERE = {
    "bash": "source <(empla completion bash), in ~/.bashrc",
    "zsh": "source <(empla completion zsh), in ~/.zshrc after compinit",
    "fish": "empla completion fish > ~/.config/fish/completions/empla.fish",
}
_HELP = "\n\n".join(f"{shell}: {how}" for shell, how in _WHERE.items())


@click.command(help=f"Print what has SHELL complete commands, options and the names of employees.\n\n{_HELP}")
@click.argument("shell", type=click.Choice(list(_WHERE)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the shell's part; for each completion it runs `empla`, which says what there is."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "empla", "_EMPLA_COMPLETE").source())
