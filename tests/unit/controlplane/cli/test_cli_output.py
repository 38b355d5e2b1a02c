"""What people see."""

import io

import pytest

from controlplane.cli import output
from controlplane.cli.document import enum_word
from controlplane.cli.safe_text import one_line, printable
from empla.v1 import control_pb2


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0.0 ms"), (0.44, "0.4 ms"), (37.2, "37 ms"), (2311, "2.31 s"), (250_000, "4 min 10 s")],
)
def test_durations(value: float, shown: str) -> None:
    assert output.milliseconds(value) == shown


def test_one_is_not_many() -> None:
    assert [output.counted(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


def test_one_line_is_cut_with_an_ellipsis() -> None:
    assert one_line("a\n b\t c") == "a b c"
    assert one_line("x" * 100, 10) == "x" * 9 + "…"


def test_printable_keeps_what_people_write() -> None:
    text = "Grüße\t👩‍💻\nعربى"
    assert printable(text) == text


def test_words_of_enums() -> None:
    kind = control_pb2.ObservedState.DESCRIPTOR
    assert enum_word(kind, control_pb2.OBSERVED_STATE_BACKING_OFF) == "backing_off"
    assert enum_word(kind, 0) == "unspecified"
    assert enum_word(kind, 99) == "99"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_asides_are_dimmed_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output.dim("x") == "x"
    monkeypatch.setattr("sys.stdout", _Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.dim("x") != "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.dim("x") == "x"
