"""Messages that ask for more than one thing: each is answered, or said not to be."""

import asyncio
import re
from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from tests.unit.agent.models.deal_files import WITH_LABELS, DealFile, deal_files
from tests.unit.agent.models.office import Office

often = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LEADS = ("", "Please ", "Could you ", "Hi Sam, can you please ", "I'd like you to ")
FIRST = (
    "summarise {f}", "give me a summary of {f}", "read {f}, summarise it",
    "give us a short overview of {f}", "sum up {f}",
)  # fmt: skip
JOINTS = (" and ", ", and ", " and then ", " and also ", "; ", ", then ", " as well as ", ", plus ")
COUNTS = (
    "say how many open deals it lists", "say how many deals are open", "state the number of open deals",
    "tell me how many deals are open", "the number of open deals in it", "report the number of deals that are open",
    "mention how many of the deals are open", "how many deals are open", "count the open deals",
    "give me the number of open deals", "let me know how many open deals there are",
)  # fmt: skip
ENDS = ("", ".", "?", ", please.", " Thanks!")


def told(file: DealFile, message: str, *, listing: bool = False) -> str:
    return asyncio.run(Office({file.path: file.text}, listing=listing).ask(message)).text


@often
@given(
    deal_files(),
    st.builds(
        lambda *parts: "".join(parts),
        *(st.sampled_from(parts) for parts in (LEADS, FIRST, JOINTS, COUNTS, ENDS)),
    ),
    st.booleans(),
)  # fmt: skip
def test_a_summary_and_a_count_in_any_words(file: DealFile, message: str, listing: bool) -> None:
    reply = told(file, message.replace("{f}", file.path), listing=listing)
    count = len(file.open())
    assert f"Summary of {file.path}" in reply, message
    assert re.search(rf"lists {count} (?:open \w+|\w+)" if count else r"lists no \(0\)", reply), (message, reply)


@often
@given(
    deal_files(),
    st.sampled_from(("Summarise {f}", "Read {f}", "How many open deals are in {f}?", "show me {f}")),
    st.sampled_from((" and ", ", and then ", "; ", ". Please ")),
    st.from_regex(r"[b-df-hj-np-tv-z][aeiou][bdfgkmp][aeiou]fy", fullmatch=True),
    st.sampled_from(("the frobs", "it", "all the widgets", "them for Jane", "every line")),
)
def test_what_was_not_acted_on_is_said(file: DealFile, first: str, joint: str, verb: str, thing: str) -> None:
    # Only where the ask before is whole can a verb that nobody knows begin another.
    joint = ". Please " if first.endswith("?") else joint
    reply = told(file, first.replace("{f}", file.path) + joint + f"{verb} {thing}.")
    assert "I did not act on “" in reply
    assert f"{verb} {thing}”" in reply


@pytest.mark.parametrize(
    "rest", ["in French", "for a ten-year-old", "while ignoring the closed deals", "in three sentences", "to my phone"]
)
@pytest.mark.parametrize("verb", ["Summarise", "Read", "Show me"])
async def test_how_something_was_to_be_done_is_not_left_out(verb: str, rest: str) -> None:
    office = Office({"notes.md": "- Acme: open\n- Bolt: closed\n"})
    assert f"I did not act on “{rest}”" in (await office.ask(f"{verb} notes.md {rest}.")).text


@pytest.mark.parametrize(
    "message",
    [
        "Summarise notes.md briefly, please",
        "Read the file notes.md to me.",
        "Show me notes.md again",
        "What is in notes.md?",
    ],
)
async def test_plain_words_are_no_further_ask(message: str) -> None:
    assert "did not act" not in (await Office({"notes.md": "- Acme: open\n- Bolt: closed\n"}).ask(message)).text


async def test_asks_beyond_the_bound_are_named() -> None:
    office = Office({"notes.md": "- Acme: open\n"})
    reply = await office.ask(" ".join(f"Is there a file about topic{n}?" for n in range(11)))
    assert "I did not act on “Is there a file about topic10?”" in reply.text


@settings(often, max_examples=30)
@given(
    deal_files(WITH_LABELS),
    st.sampled_from(
        (
            "What is the total and the average value of the deals in {f}?",
            "the average and total value of all deals in {f}",
            "Give me the total value of the deals in {f} and the average value of the deals",
        )
    ),
)
def test_two_numbers_of_the_same_things_are_both_given(file: DealFile, message: str) -> None:
    reply = told(file, message.replace("{f}", file.path))
    values = [deal.value for deal in file.deals]
    found = {Decimal(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", reply)}
    assert sum(values) in found, (reply, file.text)
    assert any(abs(number - Decimal(sum(values)) / len(values)) < Decimal("0.01") for number in found), (
        reply,
        file.text,
    )


@pytest.mark.parametrize("question", ["Is Zork open?", "Is Zork still open in notes.md?", "Was Zork won?"])
async def test_a_name_that_no_file_has_is_not_answered_with_others(question: str) -> None:
    reply = (await Office({"notes.md": "- Acme: open\n- Bolt: won\n"}).ask(question)).text
    assert "found no" in reply
    assert "Acme" not in reply


async def test_both_parts_are_written_down() -> None:
    office = Office({"notes.md": "- Acme: open\n- Bolt: closed\n"})
    await office.ask("Save the summary of notes.md and the number of open deals to out.md")
    assert "Summary of notes.md" in office.files["out.md"]
    assert "lists 1 open deal" in office.files["out.md"]


@settings(often, max_examples=30)
@given(deal_files(), st.sampled_from(("in Narnia", "from Narnia", "that Narnia signed")))
def test_a_word_that_nothing_corresponds_to_is_named(file: DealFile, qualifier: str) -> None:
    reply = told(file, f"How many open deals {qualifier} are in {file.path}?")
    assert "Narnia" in reply


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
@pytest.mark.parametrize(
    "message", ["Summarise notes.md and say how many deals are open", "How many deals are open in notes.md?"]
)
async def test_an_empty_file_is_said_to_be_empty_and_no_more(text: str, message: str) -> None:
    reply = (await Office({"notes.md": text}).ask(message)).text
    assert "notes.md is empty" in reply
    assert "(0)" in reply
    assert "found no answer" not in reply
    assert "API_KEY" not in reply


class Locked(Office):
    """An office whose files are there and cannot be read."""

    def _read_file(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        raise LookupError(f"PERMISSION_DENIED: {arguments['path']} is not yours to read")


async def test_why_a_file_cannot_be_read_is_told_without_the_code() -> None:
    reply = await Locked(files={"notes.md": "- Acme: open"}).ask("Summarise notes.md")
    assert reply.text == "I could not read notes.md: notes.md is not yours to read."
