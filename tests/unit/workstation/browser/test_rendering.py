"""Lines cut to a size."""

import pytest

from workstation.local.browser.outline import Node
from workstation.local.browser.rendering import Line, excerpt, line_text, lines_of


def lines(count: int) -> list[Line]:
    return list(
        lines_of(
            [Node("list", ref="e0", children=[Node("button", name=f"b{n}", ref=f"e{n + 1}") for n in range(count)])], ""
        )
    )


def test_all_that_fits() -> None:
    got = excerpt(lines(3), 1000)
    assert not got.truncated
    assert got.refs == {"e0", "e1", "e2", "e3"}


@pytest.mark.parametrize("most", [1, 10, 100, 250, 500, 1000])
def test_never_more_than_asked_and_only_whole_lines(most: int) -> None:
    got = excerpt(lines(300), most)
    assert got.truncated
    assert len(got.text) <= most
    whole = {str(line) for line in lines(300)}
    assert all(line in whole or line.startswith("…"[: len(line)]) for line in got.text.splitlines())


def test_it_says_how_to_go_on_and_those_refs_hold() -> None:
    got = excerpt(lines(300), 1000)
    assert "list [ref=e0]" in got.text.splitlines()[-1]
    assert "e0" in got.refs
    assert "e300" not in got.refs


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a.test/x", "-> /x"),
        ("http://a.test", "-> /"),
        ("#", ""),
        ("javascript:void(0)", ""),
        ("/" + "p" * 30 + "?" + "q" * 60, "-> /" + "p" * 30 + "?…"),
        ("http://[bad/?" + "q" * 100, "-> http://[bad/?" + "q" * 46 + "…"),
    ],
)
def test_addresses_are_short(url: str, shown: str) -> None:
    assert line_text(Node("link", name="n", url=url), "http://a.test") == f'link "n" {shown}'.strip()
