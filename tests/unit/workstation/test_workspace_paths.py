"""Paths as text: reversible, printable, and never out of the workspace."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workstation.errors import FileSystemError, InvalidPath, PathOutsideWorkspace
from workstation.paths import decode, encode, join, resolve, split

names = st.binary(min_size=1, max_size=40).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_"))


@given(names)
@example(b"\\x41")
@example("a\u200db".encode())
@example(b"\xed\xb3\xbf")  # what a lone surrogate would be
def test_any_name_becomes_text_that_prints_and_comes_back(raw: bytes) -> None:
    text = encode(raw)
    assert text.isprintable()
    assert text.encode().decode() == text
    assert decode(text) == raw


@given(st.lists(names.filter(lambda raw: raw not in (b".", b"..")), min_size=1, max_size=5))
def test_a_path_of_any_names_resolves_to_itself(parts: list[bytes]) -> None:
    raw = b"/".join(parts)
    assert resolve(encode(raw)) == raw


def outcome(text: str) -> tuple[bytes, FileSystemError | None]:
    try:
        return resolve(text), None
    except (InvalidPath, PathOutsideWorkspace) as error:
        return b"", error


@given(st.text(max_size=60))
def test_no_text_resolves_to_what_could_lead_out(text: str) -> None:
    raw, error = outcome(text)
    if error is not None:
        assert str(error).encode()
        assert error.path.isprintable()
        return
    assert raw
    assert b"\0" not in raw
    assert raw == b"." or not {b"", b".", b".."} & set(raw.split(b"/"))


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        (".", b"."),
        ("a/..", b"."),
        ("./a//b/", b"a/b"),
        ("a/../b", b"b"),
        (r"\u00e9", "é".encode()),
        ("é", "é".encode()),
    ],
)
def test_clean_paths(text: str, raw: bytes) -> None:
    assert resolve(text) == raw


def test_the_limit_counts_bytes() -> None:
    assert resolve("é" * 5, limit=10)
    with pytest.raises(InvalidPath):
        resolve("é" * 6, limit=10)
    with pytest.raises(InvalidPath):
        resolve("x" * 10_000_000)


def test_split_and_join() -> None:
    assert split(b"a/b/c") == (b"a/b", b"c")
    assert split(b"a") == (b".", b"a")
    assert join(b".", b"a") == b"a"
    assert join(b"a", b"b") == b"a/b"
