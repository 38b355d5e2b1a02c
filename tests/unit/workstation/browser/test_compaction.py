"""Trees made small, and what must not get lost on the way."""

from workstation.local.browser.compaction import compact
from workstation.local.browser.outline import read_outline
from workstation.local.browser.rendering import lines_of


def small(written: str, **options: bool) -> str:
    """The compact tree of what Playwright wrote."""
    return "\n".join(map(str, lines_of(compact(read_outline(written.strip("\n")), **options), "http://a.test")))


def test_wrappers_that_say_nothing_are_dropped() -> None:
    tree = """
- generic [active] [ref=e1]:
  - generic [ref=e2]:
    - button "In" [ref=e3]
"""
    assert small(tree) == '- button "In" [ref=e3]'


def test_what_can_be_clicked_keeps_its_ref() -> None:
    assert small("- generic [ref=e1] [cursor=pointer]: Press me") == '- generic "Press me" [ref=e1]'
    assert small('- generic "Sum" [ref=e1]') == '- generic "Sum" [ref=e1]'


def test_in_a_part_everything_keeps_its_ref() -> None:
    assert small("- paragraph [ref=e1]: words") == "- text: words"
    assert small("- paragraph [ref=e1]: words", all_refs=True) == "- paragraph [ref=e1]: words"


def test_a_row_is_one_line_and_its_controls_stand_below() -> None:
    tree = """
- row [ref=e1]:
  - cell "one" [ref=e2]
  - cell [ref=e3]:
    - button "Buy" [ref=e4]
  - cell "three" [ref=e5]
"""
    assert small(tree) == '- row: one |  | three\n  - button "Buy" [ref=e4]'


def test_a_heading_that_is_a_link_is_the_link() -> None:
    tree = """
- heading [level=3] [ref=e1]:
  - link "Title" [ref=e2] [cursor=pointer]:
    - /url: http://a.test/p/1
"""
    assert small(tree) == '- link "Title" [h3] [ref=e2] -> /p/1'


def test_the_text_of_a_label_is_not_told_twice() -> None:
    tree = """
- generic [ref=e1]:
  - checkbox "Oak" [ref=e2]
  - text: Oak
"""
    assert small(tree) == '- checkbox "Oak" [ref=e2]'


def test_cards_stay_apart_and_a_lone_group_does_not() -> None:
    card = '  - generic [ref=e1]:\n    - text: a\n    - button "b" [ref=e2]'
    assert small(f"- main [ref=e9]:\n{card}\n{card}").count("- group") == 2
    assert "- group" not in small(f"- main [ref=e9]:\n{card}")


def test_items_of_a_list_stay_apart() -> None:
    assert small("- list [ref=e1]:\n  - listitem [ref=e2]: one\n  - listitem [ref=e3]: two").count("- text") == 2


def test_a_list_of_options_tells_what_is_chosen_however_long_it_is() -> None:
    options = "\n".join(f'  - option "o{n}"{" [selected]" if n == 90 else ""}' for n in range(100))
    told = small(f'- combobox "Size" [ref=e1]:\n{options}')
    assert "o90 (selected)" in told
    assert "… 60 more" in told
    assert len(told) < 500


def test_a_link_made_of_other_things_is_named_by_their_words() -> None:
    tree = """
- link [ref=e1] [cursor=pointer]:
  - /url: "#"
  - heading "News" [level=2] [ref=e2]
  - paragraph [ref=e3]: of today
"""
    assert small(tree) == '- link "News · of today" [ref=e1]'


def test_buttons_in_what_can_be_clicked_are_not_lost() -> None:
    tree = """
- generic [ref=e1] [cursor=pointer]:
  - text: row
  - button "Delete" [ref=e2]
"""
    assert "[ref=e1]" in small(tree)
    assert 'button "Delete" [ref=e2]' in small(tree)
