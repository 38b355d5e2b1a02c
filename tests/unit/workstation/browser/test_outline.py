"""Playwright's trees, as hostile pages make them."""

import pytest

from workstation.local.browser.outline import DEEPEST, Node, plain, read_outline


def only(written: str) -> Node:
    [node] = read_outline(written)
    return node


def test_a_line_with_everything() -> None:
    node = only(
        '- textbox "Na \\"me\\"" [disabled] [ref=f1e2] [cursor=pointer]:\n  - /placeholder: Your name\n  - text: Ann'
    )
    assert (node.role, node.name, node.states, node.ref, node.pointer) == (
        "textbox",
        'Na "me"',
        ["disabled"],
        "f1e2",
        True,
    )
    assert node.placeholder == "Your name"
    assert [child.text for child in node.children] == ["Ann"]


def test_quoted_keys_and_values() -> None:
    node = only("""- 'button "it''s: x" [ref=e1]': "a: \\x01\\"b\\" \\\\x41" """.rstrip())
    assert (node.name, node.ref, node.text) == ("it's: x", "e1", 'a: "b" \\x41')


@pytest.mark.parametrize("end", ["\\n", "\\r", "\\x0b", "\\x85", "\\u2028", "\\u2029"])
def test_no_text_makes_a_line_or_a_ref_of_its_own(end: str) -> None:
    node = only(f'- button "a{end}- button [ref=e2]" [ref=e1]')
    assert len(node.name.splitlines()) == 1
    assert "[ref=" not in node.name
    assert node.ref == "e1"


def test_depth_is_bounded() -> None:
    written = "\n".join("  " * depth + f"- list [ref=e{depth}]:" for depth in range(5000))
    depth, nodes = 0, read_outline(written)
    while nodes:
        depth, nodes = depth + 1, nodes[-1].children
    assert depth == DEEPEST + 1


def test_texts_are_bounded_and_whole_unicode() -> None:
    assert len(plain("a" * 100_000)) == 4000
    plain("a\ud800b").encode()
    assert plain("👩‍👩‍👧 a\u202eb") == "👩‍👩‍👧 a\u202eb"


def test_what_may_not_be_told_is_masked_everywhere() -> None:
    written = '- button "x secret" [ref=e1]:\n  - /url: /?p=secret\n  - text: secret'
    node = read_outline(written, lambda text: text.replace("secret", "-"))[0]
    assert "secret" not in repr(node)
