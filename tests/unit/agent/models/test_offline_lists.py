"""The offline model over files that are made up anew each time: many layouts, many ways to ask, one true answer."""

import asyncio
import re
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.agent.models.deal_files import LAYOUTS, WITH_LABELS, WITH_OWNERS, DealFile, deal_files
from tests.unit.agent.models.office import Office, Reply

RECKONED = tuple(layout for layout in LAYOUTS if layout != "prose")
often = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def asked(file: DealFile, question: str, *, listing: bool = False) -> Reply:
    office = Office({file.path: file.text}, listing=listing)
    return asyncio.run(office.ask(question.format(f=file.path)))


def numbers(text: str) -> set[Decimal]:
    return {Decimal(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", text)}


@often
@given(
    deal_files(),
    st.sampled_from(
        (
            "Summarise {f} and tell me how many open deals it lists",
            "How many open deals are in {f}?",
            "How many deals in {f} are open?",
            "how many deals are still open according to {f}",
            "Count the open deals in {f}.",
            "In {f}, how many deals are open?",
            "What is the number of open deals in {f}?",
            "Hi! Please read {f} and tell me the number of open deals. Thanks",
        )
    ),
    st.booleans(),
)
def test_open_deals_are_counted(file: DealFile, question: str, listing: bool) -> None:
    reply = asked(file, question, listing=listing)
    answer = reply.text.rpartition("\n\n")[2]
    count = len(file.open())
    expected = rf"lists {count} (?:open \w+|\w+)" if count else r"lists no \(0\)"
    assert re.search(expected, answer), (answer, file.text)
    assert reply.names()[0] == "read_file"


@often
@given(
    deal_files(),
    st.sampled_from(
        (
            "which deals are open in {f}",
            "List the open deals in {f}",
            "What are the open deals in {f}?",
            "show me all open deals from {f}",
        )
    ),
)
def test_open_deals_are_named(file: DealFile, question: str) -> None:
    answer = asked(file, question).text
    assert all(deal.name in answer for deal in file.open()), (answer, file.text)
    assert not any(deal.name in answer for deal in file.closed()), (answer, file.text)


@often
@given(
    deal_files(RECKONED),
    st.sampled_from(
        ("which deals in {f} are closed?", "how many closed deals does {f} have", "which deals in {f} are not open?")
    ),
)
def test_closed_deals_are_named(file: DealFile, question: str) -> None:
    answer = asked(file, question).text
    assert all(deal.name in answer for deal in file.closed()), (answer, file.text)
    assert not any(deal.name in answer for deal in file.open()), (answer, file.text)


@often
@given(
    deal_files(RECKONED).filter(lambda file: bool(file.open())),
    st.sampled_from(
        (
            "what is the total value of the open deals in {f}",
            "What's the sum of all open deals in {f}?",
            "how much are the open deals in {f} worth in total?",
            "total open deal value in {f}",
        )
    ),
)
def test_values_are_added(file: DealFile, question: str) -> None:
    answer = asked(file, question).text
    assert sum(deal.value for deal in file.open()) in numbers(answer), (answer, file.text)


@often
@given(
    deal_files(RECKONED),
    st.sampled_from(("what is the average value of the deals in {f}", "average deal value in {f}?")),
)
def test_values_are_averaged(file: DealFile, question: str) -> None:
    answer = asked(file, question).text
    mean = Decimal(sum(deal.value for deal in file.deals)) / len(file.deals)
    assert any(abs(number - mean) < Decimal("0.01") for number in numbers(answer)), (answer, file.text)


@often
@given(
    deal_files(RECKONED),
    st.sampled_from(
        ("what is the largest deal in {f}?", "Which deal in {f} has the highest value?", "biggest deal in {f}")
    ),
)
def test_the_largest_is_found(file: DealFile, question: str) -> None:
    answer = asked(file, question).text
    most = max(deal.value for deal in file.deals)
    assert all(deal.name in answer for deal in file.deals if deal.value == most), (answer, file.text)
    assert most in numbers(answer), (answer, file.text)


@often
@given(
    deal_files(WITH_OWNERS),
    st.integers(0, 8),
    st.sampled_from(
        (
            "who owns {n} in {f}?",
            "Who is the owner of {n} according to {f}?",
            "who is responsible for the {n} deal? see {f}",
        )
    ),
)
def test_an_owner_is_looked_up(file: DealFile, index: int, question: str) -> None:
    deal = file.deals[index % len(file.deals)]
    answer = asked(file, question.replace("{n}", deal.name)).text
    assert deal.owner in answer, (answer, file.text)


@often
@given(
    deal_files(WITH_LABELS),
    st.integers(0, 8),
    st.sampled_from(("how many deals does {o} own in {f}?", "How many deals are owned by {o} in {f}?")),
)
def test_deals_of_one_owner_are_counted(file: DealFile, index: int, question: str) -> None:
    owner = file.deals[index % len(file.deals)].owner
    answer = asked(file, question.replace("{o}", owner)).text
    own = [deal for deal in file.deals if deal.owner == owner]
    assert re.search(rf"lists {len(own)} ", answer), (answer, file.text)
    assert all(deal.name in answer for deal in own), (answer, file.text)


@settings(often, max_examples=30)
@given(deal_files())
def test_a_file_that_is_not_named_is_found(file: DealFile) -> None:
    office = Office(
        {"readme.txt": "Nothing to see here.\n", file.path: file.text, "menu.md": "# Lunch\n- soup\n- salad\n"}
    )
    reply = asyncio.run(office.ask("How many open deals do we have?"))
    expected = rf"lists {len(file.open())} " if file.open() else r"no \(0\)"
    assert re.search(expected, reply.text), (reply.text, file.text)


@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_a_long_file_is_read_to_its_end(sep: str) -> None:
    rows = [f"Deal {n}{sep}{'open' if n % 3 == 0 else 'closed'}{sep}{n}" for n in range(9000)]
    office = Office({"big.csv": "\n".join([f"deal{sep}status{sep}value", *rows])}, piece=20_000)
    reply = asyncio.run(office.ask("How many open deals are in big.csv?"))
    assert "3000 open deals" in reply.text
    assert len(reply.calls) > 2


def test_a_file_that_is_too_long_is_not_passed_off_as_read() -> None:
    office = Office({"big.csv": "deal,status\n" + "".join(f"Deal {n},open\n" for n in range(5000))}, piece=1000)
    reply = asyncio.run(office.ask("How many open deals are in big.csv?"))
    assert "I read only the first 12,000 characters" in reply.text
