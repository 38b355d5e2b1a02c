"""`empla employee logs`: what an employee's processes wrote."""

import json
from collections.abc import Iterator

import click

from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.output import json_option
from controlplane.cli.safe_text import printable
from empla.v1 import control_pb2

_FOLLOW_SECONDS = 24 * 3600.0
_SHOWN = ("time", "level", "logger", "message", "exception")


@click.command()
@click.argument("name", type=EMPLOYEE)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes; Ctrl-C ends it.")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at first."
)
@json_option
def logs(name: str, follow: bool, lines: int, as_json: bool) -> None:
    """Print the last lines of an employee's log; with --json as they were written."""
    request = control_pb2.TailLogsRequest(employee=name, lines=lines, follow=follow)
    try:
        for line in _lines(request):
            click.echo(line if as_json else readable(line))
    except KeyboardInterrupt:
        if not follow:
            raise


def _lines(request: control_pb2.TailLogsRequest) -> Iterator[str]:
    with connected() as control_plane:
        stream = control_plane.TailLogs(request, timeout=_FOLLOW_SECONDS if request.follow else None)
        yield from (line.text for line in stream)


def readable(line: str) -> str:
    """A structured line as time, level, logger, message and what else it holds; any other line as it is."""
    try:
        record = json.loads(line)
    except ValueError:
        return printable(line)
    if not isinstance(record, dict) or "message" not in record:
        return printable(line)
    rest = " ".join(f"{key}={value}" for key, value in record.items() if key not in _SHOWN)
    head = f"{_clock(record)} {record.get('level', ''):<7} {record.get('logger', '')}: {record['message']}"
    trace = "\n" + record["exception"] if "exception" in record else ""
    return printable(f"{head}  {rest}".rstrip() + trace)


def _clock(record: dict[str, object]) -> str:
    return str(record.get("time", "")).partition("+")[0].replace("T", " ")
