"""What the offline model changes in a file: the field that is meant and nothing else, or nothing at all."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from tests.unit.agent.models.deal_files import WITH_LABELS, Deal, DealFile, deal_files
from tests.unit.agent.models.office import ALL_TOOLS, Office

often = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WITH_STATES = (*WITH_LABELS, "dashes", "brackets", "colons", "plain")
WORDINGS = (
    "Change {n} to {s} in {f}",
    "Please mark {n} as {s} in {f}.",
    "In {f}, set {n} to {s}",
    "set the status of {n} to {s} in {f}",
    "Update {n}'s status to {s} in {f}, please",
    "could you move the {n} deal to {s} in {f}?",
    "change {n} in {f} from {o} to {s}",
)
TOOLS = st.sampled_from((ALL_TOOLS, (*ALL_TOOLS, "edit_file")))


def told(file: DealFile, message: str, tools: Sequence[str] = ALL_TOOLS) -> tuple[str, str]:
    """The reply and the file's text afterwards."""
    office = Office({file.path: file.text}, tools=tools)
    reply = asyncio.run(office.ask(message))
    return reply.text, office.files[file.path]


def worded(wording: str, file: DealFile, deal: Deal, state: str) -> str:
    return wording.format(n=deal.name, s=state, f=file.path, o=deal.state)


def other_lines(before: str, after: str) -> list[tuple[str, str]]:
    assert len(before.split("\n")) == len(after.split("\n"))
    return [pair for pair in zip(before.split("\n"), after.split("\n"), strict=True) if pair[0] != pair[1]]


@often
@given(
    deal_files(WITH_STATES),
    st.integers(0, 8),
    st.sampled_from(("closed", "won", "lost", "open", "on hold")),
    st.sampled_from(WORDINGS),
    TOOLS,
)
def test_an_entry_changes_its_status_and_nothing_else_changes(
    file: DealFile, index: int, state: str, wording: str, tools: Sequence[str]
) -> None:
    deal = file.deals[index % len(file.deals)]
    assume(state != deal.state)
    reply, text = told(file, worded(wording, file, deal, state), tools)
    [(before, after)] = other_lines(file.text, text)
    assert "changed nothing" not in reply
    at = before.casefold().rindex(deal.state)
    assert after.casefold() == before.casefold()[:at] + state + before.casefold()[at + len(deal.state) :], reply
    assert text.count(deal.name) == file.text.count(deal.name)


@often
@given(
    deal_files(("boxes",)),
    st.integers(0, 8),
    st.sampled_from(
        ("Mark {n} as done in {f}", "tick off {n} in {f}", "Change {n} to closed in {f}", "close {n} in {f}")
    ),
)
def test_a_box_is_ticked(file: DealFile, index: int, wording: str) -> None:
    deal = file.deals[index % len(file.deals)]
    reply, text = told(file, worded(wording, file, deal, ""))
    if not deal.is_open:
        assert "already" in reply
        assert text == file.text
    else:
        [(before, after)] = other_lines(file.text, text)
        assert after == before.replace("[ ]", "[x]")
        assert deal.name in after


@often
@given(
    deal_files(("sections", "prose")),
    st.integers(0, 8),
    st.sampled_from(("closed", "won", "open")),
    st.sampled_from(WORDINGS[:4]),
)
def test_a_status_that_has_no_place_of_its_own_is_left(file: DealFile, index: int, state: str, wording: str) -> None:
    deal = file.deals[index % len(file.deals)]
    reply, text = told(file, worded(wording, file, deal, state))
    assert "I changed nothing" in reply
    assert text == file.text


@often
@given(
    deal_files(WITH_STATES),
    st.integers(0, 8),
    st.sampled_from(
        (
            "Change {n} to parked in {f}",
            "replace {n} with closed in {f}",
            "set {n} to Nobody in {f}",
            "change Zork to won in {f}",
        )
    ),
)
def test_what_may_mean_two_things_is_asked_back(file: DealFile, index: int, wording: str) -> None:
    reply, text = told(file, worded(wording, file, file.deals[index % len(file.deals)], ""))
    assert reply.startswith("I changed nothing")
    assert text == file.text


@often
@given(
    deal_files(WITH_LABELS),
    st.integers(0, 8),
    st.sampled_from(("Set the owner of {n} to Zoe in {f}", "change {n}'s owner to Zoe in {f}")),
)
def test_another_field_is_changed_by_its_name(file: DealFile, index: int, wording: str) -> None:
    deal = file.deals[index % len(file.deals)]
    _, text = told(file, worded(wording, file, deal, ""))
    [(before, after)] = other_lines(file.text, text)
    at = before.rindex(deal.owner)
    assert after == before[:at] + "Zoe" + before[at + len(deal.owner) :]


@pytest.mark.parametrize(
    ("text", "message", "expected"),
    [
        ("cost 12 or 12.5 or 112\n", "change 12 to 15 in a.txt", "cost 15 or 12.5 or 112\n"),
        ("a cat, a category\n", "replace cat with dog in a.txt", "a dog, a category\n"),
        ("a cat, a category\n", 'replace "cat" with "dog" in a.txt', "a dog, a dogegory\n"),
        ("- Acme: open\n- Open Labs: open\n", "mark Open Labs as won in a.txt", "- Acme: open\n- Open Labs: won\n"),
        ("- Acme: open\r\n- Bolt: open\r\n", "close Bolt in a.txt", "- Acme: open\r\n- Bolt: closed\r\n"),
        ("- Acme: open\n- Acme: open, again\n", "close Acme in a.txt", "- Acme: open\n- Acme: open, again\n"),
        ("- Acme: open\n", "change Acme to closed in a.txt if Jane agrees", "- Acme: open\n"),
        ("- Acme: op\ufffden\n- Bolt: open\n", "close Bolt in a.txt", "- Acme: op\ufffden\n- Bolt: open\n"),
    ],
)
async def test_only_what_is_meant_is_changed(text: str, message: str, expected: str) -> None:
    for tools in (ALL_TOOLS, (*ALL_TOOLS, "edit_file")):
        office = Office({"a.txt": text}, tools=tools)
        reply = await office.ask(message)
        assert office.files["a.txt"] == expected
        assert ("changed nothing" in reply.text or "language model" in reply.text) is (text == expected)


async def test_a_change_without_a_file_asks_for_it() -> None:
    office = Office({"a.md": "- Acme: open\n"})
    assert "in which file" in (await office.ask("Mark Acme as closed")).text
    assert office.files["a.md"] == "- Acme: open\n"


async def test_what_a_tool_says_is_told_without_its_code():
    class Full(Office):
        def _move_file(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
            raise LookupError(f"NOT_FOUND: there is no {arguments['to']}, for there is no directory new")

    office = Full({"a.txt": ""})
    reply = await office.ask("Move a.txt to new/b.txt")
    assert reply.text == "That did not work: there is no new/b.txt, for there is no directory new."
