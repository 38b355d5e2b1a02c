"""`empla backup`: one archive of the database and of every workspace, while everything runs."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import asyncpg
import click

from controlplane.backup.errors import BackupError, InUse
from controlplane.backup.manifest import Manifest
from controlplane.backup.taking import Told, take
from controlplane.cli.client import load_settings
from controlplane.cli.errors import Failure, InvalidInput
from controlplane.cli.output import counted, dim, json_option, print_json
from controlplane.errors import LaunchFailed
from empla.store.errors import StoreError

_WIDTH = 70


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--browsers", is_flag=True, help="With the cookies and logins of the employees' browsers.")
@json_option
def backup(file: Path, browsers: bool, as_json: bool) -> None:
    """Write a backup to FILE, or to standard output if it is -.

    It has the database of one moment and every employee's files; employees go on working meanwhile. Whoever has it can
    read all messages, and sign for your channels: keep it as secret as EMPLA_HOME. `empla restore FILE --check` reads it.
    """
    settings = load_settings()
    to_pipe = str(file) == "-"
    if to_pipe and as_json:
        raise InvalidInput("standard output cannot be both the backup and JSON: name a file")
    with said("the backup"), progress() as told:
        if to_pipe:
            spare = settings.home if settings.home.is_dir() else Path.cwd()
            manifest = asyncio.run(take(settings, sys.stdout.buffer, spare, browsers=browsers, told=told))
        else:
            with _whole(file) as out:
                manifest = asyncio.run(take(settings, out, file.absolute().parent, browsers=browsers, told=told))
    if as_json:
        print_json(summary(manifest))
    else:
        click.echo(told_of(manifest), err=to_pipe)


@contextmanager
def _whole(file: Path) -> Iterator[BinaryIO]:
    """A new file, readable by its owner only, that has its name once it is complete."""
    partial = file.with_name(f"{file.name}.partial")
    if file.exists():
        raise InUse(f"{file} is there already: name another file")
    if not file.parent.is_dir():
        raise InvalidInput(f"there is no directory {file.parent}: make it, or name a file in another one")
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def said(what: str) -> Iterator[None]:
    """Errors as the command line has them."""
    try:
        yield
    except BackupError as error:
        raise Failure(str(error), reason=_reason(error)) from error
    except (StoreError, asyncpg.PostgresError, LaunchFailed, OSError) as error:
        raise Failure(f"{what} was not finished: {error}") from error


def _reason(error: BackupError) -> str:
    """The name of the error as programs have reasons: NOT_UP_TO_DATE."""
    return "".join(f"_{letter}" if letter.isupper() else letter for letter in type(error).__name__)[1:].upper()


@contextmanager
def progress() -> Iterator[Told]:
    """What is being done, on one line of a terminal that is written over again and again."""
    shown = sys.stderr.isatty()

    def tell(text: str) -> None:
        if shown:
            click.echo(f"\r{dim(text[:_WIDTH].ljust(_WIDTH), err=True)}\r", nl=False, err=True)

    try:
        yield tell
    finally:
        tell("")


def summary(manifest: Manifest) -> dict[str, Any]:
    """A backup for programs."""
    return {
        "bytes": sum(member.size for member in manifest.members()),
        "unpacked_bytes": manifest.unpacked,
        "rows": sum(table.rows for table in manifest.tables),
        "employees": sorted(manifest.employees.values()),
        "workspaces": sum(tree.kind == "workspaces" for tree in manifest.trees),
        "browsers": sum(tree.kind == "browsers" for tree in manifest.trees),
        "files": sum(tree.entries for tree in manifest.trees),
        "left_out": sum(tree.left_out for tree in manifest.trees),
        "changed": sum(tree.changed for tree in manifest.trees),
    }


def told_of(manifest: Manifest) -> str:
    """A backup for people."""
    of = summary(manifest)
    employees, files = counted(len(manifest.employees), "employee"), counted(of["files"], "file")
    trees = f"{counted(of['workspaces'], 'workspace')} and {counted(of['browsers'], 'browser')}"
    lines = [f"{employees}, {counted(of['rows'], 'row')}, {files} in {trees}, {counted(of['bytes'], 'byte')}"]
    if of["left_out"]:
        lines.append(f"left out: {of['left_out']} pipes, sockets, devices, or files that could not be read")
    if of["changed"]:
        lines.append(f"{of['changed']} files were written to each time that they were read: their parts may not fit")
    return "\n".join(lines)
