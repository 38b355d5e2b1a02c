"""`empla files`: what lies in employees' workspaces."""

import base64
import sys
from collections.abc import Iterator
from typing import BinaryIO

import click

from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document
from controlplane.cli.errors import NotFound
from controlplane.cli.output import age, json_option, print_json, print_table
from empla.v1 import control_pb2

CALL_SECONDS = 660.0
"""A little more than the control plane takes at most."""
PIECE_BYTES = 1 << 20
ABSENT = "absent"


@click.group()
def files() -> None:
    """See and change what lies in employees' workspaces."""


@files.command()
@click.argument("employee", type=EMPLOYEE, metavar="NAME")
@click.argument("path", default="", metavar="[PATH]")
@json_option
def ls(employee: str, path: str, as_json: bool) -> None:
    """List the directory PATH of the employee NAME, or its whole workspace's top."""
    found = list[control_pb2.File]()
    request = control_pb2.ListFilesRequest(employee=employee, path=path)
    with connected() as control_plane:
        while True:
            page = control_plane.ListFiles(request, timeout=CALL_SECONDS)
            found += page.files
            if not page.truncated:
                break
            request.after = found[-1].path.rpartition("/")[2]
    if as_json:
        print_json([as_document(item) for item in found])
    else:
        print_table(("KIND", "SIZE", "AGE", "PATH"), map(_row, found), nothing="nothing is in there")


def _row(item: control_pb2.File) -> tuple[str, ...]:
    return (item.kind, str(item.size) if item.kind == "file" else "", age(item.modified_at), item.path)


@files.command()
@click.argument("employee", type=EMPLOYEE, metavar="NAME")
@click.argument("path")
@json_option
def cat(employee: str, path: str, as_json: bool) -> None:
    """Print the file PATH of the employee NAME as it is; with --json, as base64."""
    request = control_pb2.ReadFileRequest(employee=employee, path=path)
    with connected() as control_plane:
        chunks = (chunk.data for chunk in control_plane.ReadFile(request, timeout=CALL_SECONDS))
        if as_json:
            data = b"".join(chunks)
            print_json({"path": path, "size": len(data), "base64": base64.b64encode(data).decode()})
            return
        for data in chunks:
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@files.command()
@click.argument("employee", type=EMPLOYEE, metavar="NAME")
@click.argument("path")
@click.argument("source", type=click.File("rb"), default="-", metavar="[FILE]")
@click.option("-p", "--parents", is_flag=True, help="Make missing directories.")
@click.option("--new", is_flag=True, help="Only if nothing is there yet.")
@json_option
def put(*, employee: str, path: str, source: BinaryIO, parents: bool, new: bool, as_json: bool) -> None:
    """Have the file PATH of the employee NAME hold what FILE or standard input does; it appears whole or not at all."""
    first = control_pb2.WriteFileRequest(
        employee=employee, path=path, parents=parents, expected_version=ABSENT if new else ""
    )
    try:
        with connected() as control_plane:
            written = control_plane.WriteFile(_upload(first, source), timeout=CALL_SECONDS)
    except NotFound as error:
        if parents or error.reason != "NOT_FOUND":  # of the file; an employee has a reason of its own
            raise
        raise NotFound(f"{error.message}; -p makes what is missing", reason=error.reason) from error
    if as_json:
        print_json(as_document(written))
    else:
        click.echo(f"{written.path}: {written.size} bytes")


def _upload(first: control_pb2.WriteFileRequest, source: BinaryIO) -> Iterator[control_pb2.WriteFileRequest]:
    yield first
    while data := source.read(PIECE_BYTES):
        yield control_pb2.WriteFileRequest(data=data)
    yield control_pb2.WriteFileRequest(end=True)


@files.command()
@click.argument("employee", type=EMPLOYEE, metavar="NAME")
@click.argument("path")
@click.option("-r", "--recursive", is_flag=True, help="A directory with all that it holds.")
@json_option
def rm(*, employee: str, path: str, recursive: bool, as_json: bool) -> None:
    """Remove the file or directory PATH of the employee NAME."""
    with connected() as control_plane:
        request = control_pb2.RemoveFileRequest(employee=employee, path=path, recursive=recursive)
        control_plane.RemoveFile(request, timeout=CALL_SECONDS)
    if as_json:
        print_json({"path": path, "removed": True})
    else:
        click.echo(f"{path}: removed")
