"""Questions with a qualifier, and questions that go on about the things of the one before."""

import asyncio
import re
from collections.abc import Sequence
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.models.interface import ChatMessage
from agent.prompts import mark
from tests.unit.agent.models.deal_files import LAYOUTS, WITH_LABELS, DealFile, deal_files
from tests.unit.agent.models.office import Office

often = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RECKONED = tuple(layout for layout in LAYOUTS if layout != "prose")
WHICH = (
    "Which ones?",
    "Which ones are those?",
    "Which are they?",
    "And which ones?",
    "List them",
    "What are they?",
    "name them",
)
TOTALS = (
    "What is the total value of those?",
    "what are they worth in total?",
    "What's their total value?",
    "How much are those worth altogether?",
)


def talk(files: dict[str, str], messages: Sequence[str]) -> list[str]:
    """The replies of one conversation."""
    office = Office(files)
    turns: list[ChatMessage] = []
    replies: list[str] = []
    for message in messages:
        reply = asyncio.run(office.ask(message, earlier=turns)).text
        replies.append(reply)
        said = mark("message", message, sender="Ann")
        turns += [ChatMessage(role="user", text=said), ChatMessage(role="assistant", text=reply)]
    return replies


def numbers(text: str) -> set[Decimal]:
    return {Decimal(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", text)}


@often
@given(
    deal_files(RECKONED).filter(lambda file: bool(file.open())),
    st.sampled_from(
        (
            "How many open deals are in {f}?",
            "how many deals in {f} are open",
            "Summarise {f} and say how many deals are open",
        )
    ),
    st.sampled_from(WHICH),
    st.sampled_from(TOTALS),
)
def test_a_conversation_keeps_to_its_things(file: DealFile, first: str, which: str, total: str) -> None:
    _, named, summed = talk({file.path: file.text}, [first.replace("{f}", file.path), which, total])
    assert all(deal.name in named for deal in file.open()), (named, file.text)
    assert not any(deal.name in named for deal in file.closed()), (named, file.text)
    assert sum(deal.value for deal in file.open()) in numbers(summed), (summed, file.text)


@often
@given(
    deal_files(RECKONED).filter(lambda file: bool(file.open())),
    st.sampled_from(("Which deals are open in {f}", "List the open deals in {f}", "How many deals are open in {f}")),
    st.sampled_from((", and ", " and ", "? ", ". ")),
    st.sampled_from(TOTALS),
)
def test_one_message_keeps_to_its_things(file: DealFile, first: str, joint: str, total: str) -> None:
    [reply] = talk({file.path: file.text}, [first.replace("{f}", file.path) + joint + total])
    assert sum(deal.value for deal in file.open()) in numbers(reply), (reply, file.text)


@often
@given(
    deal_files(WITH_LABELS).filter(lambda file: bool(file.open())),
    st.integers(0, 8),
    st.sampled_from(("How many of those are owned by {o}?", "Which of them does {o} own?")),
)
def test_it_is_narrowed_down_further(file: DealFile, index: int, question: str) -> None:
    owner = file.open()[index % len(file.open())].owner
    _, reply = talk({file.path: file.text}, [f"How many open deals are in {file.path}?", question.format(o=owner)])
    for deal in file.deals:
        assert (deal.name in reply) is (deal.is_open and deal.owner == owner), (reply, file.text)


@often
@given(deal_files(WITH_LABELS))
def test_another_state_takes_the_place_of_the_first(file: DealFile) -> None:
    _, reply = talk({file.path: file.text}, [f"How many open deals are in {file.path}?", "And which ones are closed?"])
    assert all((deal.name in reply) is not deal.is_open for deal in file.deals), (reply, file.text)


@often
@given(deal_files(RECKONED).filter(lambda file: bool(file.open())))
def test_a_file_that_was_found_is_gone_on_with(file: DealFile) -> None:
    files = {"menu.md": "# Lunch\n- soup\n- salad\n", file.path: file.text}
    _, _, reply = talk(files, ["Summarise menu.md", "How many open deals do we have at the moment?", "Which ones?"])
    assert all(deal.name in reply for deal in file.open()), (reply, file.text)
    assert not any(deal.name in reply for deal in file.closed()), (reply, file.text)


OUTCOMES = ("lost", "won")


@often
@given(
    st.lists(st.sampled_from(("open", "lost", "won")), min_size=3, max_size=9),
    st.sampled_from(("", "closed ", "Closed-")),
    st.sampled_from(
        (
            ("How many deals did we {v}?", "How many deals have we {s}?", "How many deals were {s} in crm.md?"),
            ("how many deals were closed {s}", "How many deals are closed-{s} in crm.md?", "count the {s} deals"),
        )
    ),
    st.integers(0, 2),
    st.sampled_from((("lost", "lose"), ("won", "win"))),
)
def test_what_was_done_to_things_is_their_state(
    states: list[str], before: str, wordings: tuple[str, ...], index: int, outcome: tuple[str, str]
) -> None:
    said = [state if state == "open" else before + state for state in states]
    rows = "".join(f"| Deal{n} | {state} | {n + 1}k |\n" for n, state in enumerate(said))
    message = wordings[index].format(s=outcome[0], v=outcome[1])
    [reply] = talk({"crm.md": "| Deal | Status | Value |\n|---|---|---|\n" + rows}, [message])
    count = states.count(outcome[0])
    assert re.search(rf"lists {count} " if count else r"lists no \(0\)|marks none", reply), (message, reply)


async def test_a_list_of_priced_things_is_one_of_deals() -> None:
    office = Office(
        {"notes.md": "* **Acme** (open): 12k\n* **Echo** (lost): 1k\n", "todo.md": "- [ ] milk\n- [x] eggs\n"}
    )
    assert (await office.ask("How many deals did we lose?")).text == "notes.md lists 1 lost deal: Echo."
    reply = (await office.ask("How many open positions do we have?")).text
    assert reply.startswith("No file says that it is about open positions")
