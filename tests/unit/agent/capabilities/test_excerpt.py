"""What stays of a long text, whatever pieces it came in."""

from hypothesis import given
from hypothesis import strategies as st

from agent.capabilities.excerpt import Excerpt, whole_characters

pieces = st.lists(st.text(st.sampled_from("aé€😀\n"), max_size=30), max_size=20)


def cut(missing: int, offset: int) -> str:
    return f"[{missing} from {offset}]"


@given(pieces, st.integers(4, 40), st.integers(4, 40))
def test_the_beginning_and_the_end_are_kept_and_the_gap_is_exact(texts: list[str], head: int, tail: int):
    excerpt = Excerpt(head=head, tail=tail)
    whole = "".join(texts).encode()
    for text in texts:
        excerpt.add(text.encode())
    shown = excerpt.text(cut)
    if len(whole) <= head + tail:
        assert shown == whole.decode()
        return
    first, _, rest = shown.partition("\n… [")
    said, _, last = rest.partition("] …\n")
    missing, _, offset = said.partition(" from ")
    assert len(first.encode()) == int(offset) <= head
    assert len(last.encode()) <= tail
    assert whole == first.encode() + whole[int(offset) :][: int(missing)] + last.encode()
    assert "\ufffd" not in shown


@given(st.text(st.sampled_from("aé€😀"), min_size=1), st.integers(0, 3))
def test_a_cut_character_is_left_for_the_next_piece(text: str, back: int):
    data = text.encode()
    kept = whole_characters(data[: len(data) - back])
    kept.decode()
    assert len(data) - back - len(kept) < 4


def test_what_is_missing_in_between_is_counted():
    excerpt = Excerpt(head=4, tail=4)
    excerpt.add(b"abcdef", 0)
    excerpt.add(b"uvwxyz", 100)
    assert excerpt.text(cut) == "abcd\n… [98 from 4] …\nwxyz"


def test_what_begins_late_has_no_beginning():
    excerpt = Excerpt(head=4, tail=4)
    excerpt.add(b"yz", 100)
    assert excerpt.text(cut) == "\n… [100 from 0] …\nyz"
