"""Named statements: found by name, refused when malformed, at import and not at midnight."""

import sys
from pathlib import Path

import pytest

from empla.store.errors import QueriesInvalid
from empla.store.queries import load_queries, parse_queries

GOOD = """-- Statements of the tests.

-- name: first
-- Returns one row.
SELECT 1;

-- name: second
-- Returns $1
-- and says so on two lines.
SELECT $1::int -- a comment inside
"""


def test_statements_by_name() -> None:
    queries = parse_queries(GOOD, "here")
    assert list(queries) == ["first", "second"]
    assert queries["first"].endswith("SELECT 1;")
    assert queries.second.startswith("-- Returns $1")


def test_missing_name() -> None:
    queries = parse_queries(GOOD, "pkg/file.sql")
    with pytest.raises(QueriesInvalid, match=r"pkg/file\.sql has no statement named 'third'"):
        queries["third"]
    with pytest.raises(QueriesInvalid, match=r"pkg/file\.sql has no statement named 'third'"):
        _ = queries.third
    assert "third" not in queries


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT 1;", "without a '-- name:' line"),
        ("SELECT 0;\n" + GOOD, "without a '-- name:' line"),
        (GOOD + "-- name: first\n-- Again.\nSELECT 2;", "two statements named 'first'"),
        ("-- name: bare\nSELECT 1;", "needs a comment line"),
        ("-- name: nothing\n-- Says a lot.\n", "has no statement"),
        ("-- name: not a name\n-- Text.\nSELECT 1;", "is not a name"),
        ("-- name:\n-- Text.\nSELECT 1;", "is not a name"),
    ],
)
def test_malformed(text: str, problem: str) -> None:
    with pytest.raises(QueriesInvalid, match=problem):
        parse_queries(text, "here")


def test_loads_from_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package_with_queries"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "queries.sql").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_queries("package_with_queries", "queries.sql").first
    with pytest.raises(QueriesInvalid, match="cannot be read"):
        load_queries("package_with_queries", "other.sql")
    with pytest.raises(QueriesInvalid, match="cannot be read"):
        load_queries("no_such_package", "queries.sql")
    sys.modules.pop("package_with_queries")
