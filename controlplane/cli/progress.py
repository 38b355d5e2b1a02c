"""A sign of life on the terminal while something takes long."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from threading import Event, Thread

import click

from controlplane.cli.safe_text import one_line

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_SECONDS = 0.1
_PATIENCE_SECONDS = 0.5


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on standard error `what` goes on and for how long, from half a second on; only if that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    ended = Event()
    thread = Thread(target=_show, args=(one_line(what), ended), name="sign of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(what: str, ended: Event) -> None:
    began = time.monotonic()
    if ended.wait(_PATIENCE_SECONDS):
        return
    for frame in cycle(_FRAMES):
        click.echo(f"\r\x1b[K{frame} {what} ({time.monotonic() - began:.0f} s)", nl=False, err=True)
        if ended.wait(_FRAME_SECONDS):
            break
    click.echo("\r\x1b[K", nl=False, err=True)
