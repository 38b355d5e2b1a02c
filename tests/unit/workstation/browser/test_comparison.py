"""What of a tree is told when it changed."""

from workstation.local.browser.comparison import NOTHING, changed_lines
from workstation.local.browser.outline import Node


def told(before: list[Node], now: list[Node]) -> list[str]:
    return [str(line) for line in changed_lines(before, now, "")]


def button(number: int, text: str = "") -> Node:
    return Node("button", name=f"b{number}", ref=f"e{number}", text=text)


def part(*children: Node) -> Node:
    return Node("main", ref="e100", children=list(children))


def test_nothing() -> None:
    assert told([part(button(1))], [part(button(1))]) == [f"- {NOTHING}"]


def test_what_is_new_stands_in_its_place() -> None:
    assert told([part(button(1))], [part(button(1), button(2))]) == ["- main [ref=e100]", '  - button "b2" [ref=e2]']


def test_what_is_gone_is_said_without_its_ref() -> None:
    assert told([part(button(1), button(2))], [part(button(1))]) == ["- main [ref=e100]", '  - gone: button "b2"']


def test_what_says_something_else() -> None:
    assert told([part(button(1), button(2))], [part(button(1, "x"), button(2))])[1:] == ['  - button "b1" [ref=e1]: x']


def test_a_row_that_is_put_first_is_all_that_changed() -> None:
    rows = [Node("row", text=f"row {n}") for n in range(60)]
    assert told([part(*rows)], [part(Node("row", text="new"), *rows)])[1:] == ["  - row: new"]


def test_another_order_is_told() -> None:
    rows = [Node("row", text=f"row {n}") for n in range(3)]
    assert len(told([part(*rows)], [part(*reversed(rows))])) > 1
