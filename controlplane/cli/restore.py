"""`empla restore`: a backup is checked, or made into a home of its own."""

import asyncio
from pathlib import Path

import click

from controlplane.backup.checking import Checked, check
from controlplane.backup.restoring import restore as restore_backup
from controlplane.cli.backup import progress, said, summary, told_of
from controlplane.cli.client import load_settings
from controlplane.cli.output import json_option, print_json


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--check", "only_check", is_flag=True, help="Read all of it, compare every hash, and change nothing.")
@click.option("--home", type=click.Path(path_type=Path), help="Where to restore it; else EMPLA_HOME.")
@click.option("--start", is_flag=True, help="Have those employees run that ran: the old installation runs no more.")
@json_option
def restore(file: Path, only_check: bool, home: Path | None, start: bool, as_json: bool) -> None:
    """Restore the backup FILE into an empty EMPLA_HOME, and an empty database if EMPLA_DATABASE_URL is set.

    Employees are stopped afterwards, unless you say --start. What had not come to its end when the backup was taken may
    have gone on since: whatever leaves for it, or can be done only once, waits in `empla reviews list`.
    """
    settings = load_settings()
    if home is not None:
        settings = settings.model_copy(update={"home": home})
    with said("the check" if only_check else "the restore"), progress() as told:
        made = None if only_check else restore_backup(settings, file, start=start, told=told)
        checked = check(file, told) if made is None else asyncio.run(made)
    if as_json:
        print_json(_document(checked))
        return
    taken = f"taken {checked.header.taken_at.astimezone():%Y-%m-%d %H:%M:%S} by empla {checked.header.build}"
    click.echo(f"{'whole' if only_check else 'restored'}: {taken}\n{told_of(checked.manifest)}")
    if not only_check:
        click.echo(_what_now(checked, start=start))


def _document(checked: Checked) -> dict[str, object]:
    header = {"taken_at": checked.header.taken_at.isoformat(), "build": checked.header.build}
    return header | {"migrations": len(checked.header.schema_checksums)} | summary(checked.manifest)


def _what_now(checked: Checked, *, start: bool) -> str:
    lines = ["next: `empla up`; then `empla reviews list` has what may have been done or sent since"]
    if not start:
        lines.append("employees are stopped: once the old installation runs no more, `empla employee start NAME`")
    if checked.manifest.packages is not None:
        lines.append("the packages of sandboxed programs are to be installed again: `empla compute packages add NAME`")
    return "\n".join(lines)
