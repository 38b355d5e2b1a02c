import pytest
from hypothesis import given
from hypothesis import strategies as st

from workstation.local.browser.names import numbered, safe_name
from workstation.paths import encode, resolve


@pytest.mark.parametrize(
    ("proposed", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("Bericht für März.pdf", "Bericht für März.pdf"),
        ("../../etc/passwd", "_._etc_passwd"),
        (".bashrc", "bashrc"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("a\x00b\nc", "abc"),
        ("", "download"),
        ("..", "download"),
        ("con.txt", "_con.txt"),
        ("a\\b:c", "a_b_c"),
        ("trailing. ", "trailing"),
    ],
)
def test_names_are_made_safe(proposed: str, name: str) -> None:
    assert safe_name(proposed) == name


@given(st.text(max_size=600), st.integers(1, 1000))
def test_any_name_is_one_name_that_prints(proposed: str, number: int) -> None:
    name = numbered(safe_name(proposed), number)
    raw = name.encode()
    assert 0 < len(raw) <= 255
    assert name.isprintable()
    assert not name.startswith(".")
    assert resolve(f"downloads/{name}") == b"downloads/" + raw
    assert encode(raw) == name


@pytest.mark.parametrize(
    ("name", "second"), [("a.txt", "a (2).txt"), ("a", "a (2)"), ("a.tar.gz", "a (2).tar.gz"), ("v1.2", "v1 (2).2")]
)
def test_the_number_stands_before_the_suffix(name: str, second: str) -> None:
    assert (numbered(name, 1), numbered(name, 2)) == (name, second)


def test_a_long_name_keeps_its_suffix() -> None:
    assert numbered(safe_name("ä" * 300 + ".tar.gz"), 1000).endswith(" (1000).tar.gz")
