"""How answers look: aligned tables for people, JSON for programs, dimmed asides on a terminal."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.cli.errors import JSON_OUTPUT
from controlplane.cli.safe_text import one_line, printable

_TEXT_LINES = 20


def _remember(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    ctx.meta[JSON_OUTPUT] = value
    return value


def json_option[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--json`, as the parameter `as_json`; it is parsed first, so that usage errors are JSON too."""
    decorate = click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=_remember, help="Print JSON, for programs."
    )
    return decorate(command)


def print_json(document: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, nothing: str) -> None:
    """Print aligned columns under `header`, or the line `nothing`."""
    for line in table_lines(header, rows, nothing=nothing):
        click.echo(line)


def table_lines(header: Sequence[str], rows: Iterable[Sequence[str]], *, nothing: str) -> list[str]:
    """Aligned columns under `header`, or the line `nothing`."""
    lines = [list(map(one_line, row)) for row in rows]
    if not lines:
        return [nothing]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [header, *lines]
    ]


def dim(text: str, *, err: bool = False) -> str:
    """`text` as an aside: dimmed on a terminal that may be coloured."""
    stream = sys.stderr if err else sys.stdout
    coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, dim=True) if coloured else text


def quoted(text: str, margin: str = "  | ") -> Iterator[str]:
    """The first lines of somebody's `text`, set apart from what is ours."""
    lines = printable(text).splitlines()
    yield from (margin + line for line in lines[:_TEXT_LINES])
    if len(lines) > _TEXT_LINES:
        yield dim(f"{margin}… {len(lines) - _TEXT_LINES} more lines; --json has all")


def counted(number: int, one: str) -> str:
    """`1 employee`, `2 employees`."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def milliseconds(value: float) -> str:
    """A duration for people: `0.4 ms`, `37 ms`, `2.31 s`, `4 min 10 s`."""
    if value < 10:
        return f"{value:.1f} ms"
    if value < 1000:
        return f"{value:.0f} ms"
    if value < 60_000:
        return f"{value / 1000:.2f} s"
    return f"{value // 60_000:.0f} min {value % 60_000 / 1000:.0f} s"


def local_time(stamp: Timestamp) -> str:
    """`stamp` in the time zone of this machine, to the second; '' for one that is not set."""
    if not stamp.seconds:
        return ""
    return stamp.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(stamp: Timestamp) -> str:
    """How long ago `stamp` was: `12s`, `5m`, `3h`, `2d`; '' for one that is not set."""
    if not stamp.seconds:
        return ""
    seconds = max(0, int(datetime.now(UTC).timestamp()) - stamp.seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
