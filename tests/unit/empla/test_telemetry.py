"""How a log behaves that cannot be written to."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from empla.telemetry import LogHandler


@pytest.fixture
def full() -> Iterator[TextIO]:
    """A file on a disk without any room."""
    with Path("/dev/full").open("wb", buffering=0) as raw:
        yield io.TextIOWrapper(raw, write_through=True)


def test_a_line_that_finds_no_room_is_dropped_and_a_wrong_one_is_told(full: TextIO, capsys: pytest.CaptureFixture[str]):
    handler = LogHandler(full)
    handler.handle(logging.makeLogRecord({"msg": "a line"}))
    assert capsys.readouterr().err == ""
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    assert "not all arguments" in (told := capsys.readouterr().err) or "%d format" in told
