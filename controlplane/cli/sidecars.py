"""`empla sidecars`: the workstations that employees have for a while."""

from uuid import UUID

import click

from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document, enum_word
from controlplane.cli.errors import NotFound
from controlplane.cli.output import age, json_option, local_time, print_json
from controlplane.cli.safe_text import printable
from controlplane.cli.watch import Listing, show_list, watch_option
from empla.v1 import control_pb2

_HEADER = ("SIDECAR", "EMPLOYEE", "KIND", "STATE", "LAUNCHER", "PID", "MEMORY", "UP", "EXPIRES")


@click.group()
def sidecars() -> None:
    """See and stop the workstations that employees have for a while."""


@sidecars.command(name="list")
@click.option("--employee", type=EMPLOYEE, default="", metavar="NAME", help="Only this employee's.")
@watch_option
@json_option
def list_(employee: str, watch: bool, as_json: bool) -> None:
    """List the sidecars that run."""

    def look() -> Listing:
        with connected() as control_plane:
            found = control_plane.ListSidecars(control_pb2.ListSidecarsRequest(employee=employee)).sidecars
        nothing = "no sidecars run; employees get them when work needs one"
        return Listing([as_document(item) for item in found], _HEADER, list(map(_row, found)), nothing)

    show_list(look, as_json=as_json, watch=watch)


def _row(item: control_pb2.Sidecar) -> tuple[str, ...]:
    what = (item.sidecar_id, item.employee, _kind(item), item.state, item.launcher)
    return (
        *what,
        str(item.pid or ""),
        _mebibytes(item.memory_bytes),
        age(item.created_at),
        local_time(item.expires_at),
    )


@sidecars.command()
@click.argument("sidecar_id", metavar="ID")
@json_option
def show(sidecar_id: str, as_json: bool) -> None:
    """Show the sidecar ID."""
    with connected() as control_plane:
        found = control_plane.ListSidecars(control_pb2.ListSidecarsRequest()).sidecars
    item = next((item for item in found if item.sidecar_id == sidecar_id), None)
    if item is None:
        raise _unknown(sidecar_id)
    if as_json:
        print_json(as_document(item))
    else:
        _print(item)


def _print(item: control_pb2.Sidecar) -> None:
    click.echo(f"{item.sidecar_id}  {_kind(item)}  {item.state}")
    rows = {
        "employee": f"{item.tenant}/{item.employee}, epoch {item.epoch}",
        "runs as": f"{item.launcher} {item.pid or ''}".strip(),
        "address": item.address,
        "memory": _mebibytes(item.memory_bytes),
        "processors": f"{item.cpus:g}" if item.cpus else "all",
        "created": local_time(item.created_at),
        "expires": f"{local_time(item.expires_at)}, {item.idle_ttl_seconds} s after its last use",
    }
    for label, value in rows.items():
        click.echo(f"  {label:<12}{printable(value)}")


@sidecars.command()
@click.argument("sidecar_id", metavar="ID")
@json_option
def stop(sidecar_id: str, as_json: bool) -> None:
    """End the sidecar ID at once; what runs in it is lost."""
    if not _is_id(sidecar_id):
        raise _unknown(sidecar_id)
    with connected() as control_plane:
        control_plane.StopSidecar(control_pb2.StopSidecarRequest(sidecar_id=sidecar_id))
    if as_json:
        print_json({"sidecar_id": sidecar_id, "stopped": True})
    else:
        click.echo(f"{sidecar_id}: stopped")


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _unknown(sidecar_id: str) -> NotFound:
    why = f"no sidecar {sidecar_id} runs: it has ended, or there was none; `empla sidecars list` shows those that run"
    return NotFound(why, reason="SIDECAR_UNKNOWN")


def _kind(item: control_pb2.Sidecar) -> str:
    return enum_word(control_pb2.SidecarKind.DESCRIPTOR, item.kind)


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
