"""Lists, once or with `--watch` again and again: drawn anew on a terminal, as lines of JSON for programs."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import Any

import click

from controlplane.cli.outages import lasting
from controlplane.cli.output import print_json, table_lines

LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Listing:
    """What there is: documents for programs, and a table for people or the line `nothing`."""

    documents: list[dict[str, Any]]
    header: Sequence[str]
    rows: list[tuple[str, ...]]
    nothing: str

    def lines(self) -> list[str]:
        """The table."""
        return table_lines(self.header, self.rows, nothing=self.nothing)


def watch_option[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Give a list `--watch`, as the parameter `watch`."""
    decorate = click.option("--watch", is_flag=True, help="Go on with what changes; Ctrl-C ends it.")
    return decorate(command)


def show_list(look: Callable[[], Listing], *, as_json: bool, watch: bool) -> None:
    """Print what `look` finds; with `watch` every 2 s, and of JSON a line `{"items": …}` whenever it is another."""
    if watch:
        ended_by_hand(_watched, lasting(lambda: _looks(look), patient=False), as_json=as_json)
        return
    found = look()
    if as_json:
        print_json(found.documents)
    else:
        print_lines(found.lines())


def ended_by_hand[**P](show: Callable[P, None], *arguments: P.args, **options: P.kwargs) -> None:
    """Call `show`, for which Ctrl-C is the usual end."""
    try:
        show(*arguments, **options)
    except KeyboardInterrupt:
        return


def print_lines(lines: Iterable[str]) -> None:
    """Print what may be many lines."""
    click.echo("\n".join(lines))


def _looks(look: Callable[[], Listing]) -> Iterator[Listing]:
    while True:
        yield look()
        time.sleep(LOOK_SECONDS)


def _watched(rounds: Iterable[Listing], *, as_json: bool) -> None:
    screen, before = Screen(), None
    for found in rounds:
        if not as_json:
            screen.draw(found.lines())
        elif found.documents != before:
            before = found.documents
            print_json_line({"items": found.documents})


def print_json_line(document: Any) -> None:
    """Print one JSON document on one line."""
    click.echo(json.dumps(document, ensure_ascii=False))


class Screen:
    """Lines that are drawn over those before, in one write each time; off a terminal below them, if they differ."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._drawn: list[str] = []

    def draw(self, lines: list[str]) -> None:
        """Show `lines` instead of what was shown before; those for which there is no room are counted."""
        if not self._terminal:
            if lines != self._drawn:
                print_lines(["", *lines] if self._drawn else lines)
        else:
            lines = _fitting(lines, get_terminal_size().lines)
            back = f"\x1b[{len(self._drawn)}A" if self._drawn else ""
            # Without the terminal's line wrap, one line of ours is one of its own.
            text = "".join(f"{line}\x1b[K\n" for line in lines)
            click.echo(f"{back}\x1b[?7l{text}\x1b[J\x1b[?7h", nl=False)
        self._drawn = lines


def _fitting(lines: list[str], height: int) -> list[str]:
    if len(lines) < height:
        return lines
    kept = max(height - 2, 1)
    return [*lines[:kept], f"… {len(lines) - kept} more"]
