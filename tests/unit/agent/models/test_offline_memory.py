"""What the offline model takes from memory: what people told it, never what it once answered; files come first."""

import asyncio
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.models.interface import ChatMessage, ModelRequest, Tool
from agent.models.offline import OfflineModel
from agent.prompts import mark
from tests.unit.agent.models.deal_files import WITH_LABELS, DealFile, deal_files
from tests.unit.agent.models.office import Office

often = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def exchange(wrote: str, answered: str) -> str:
    """A conversation turn as the proactive loop keeps it."""
    return f"On 2026-11-20 Ann wrote: {wrote}\nI answered: {answered}"


@often
@given(
    deal_files(WITH_LABELS),
    st.integers(0, 8),
    st.sampled_from(("Is {n} still open?", "Is {n} open", "What is the status of {n}?", "who owns {n}?")),
    st.booleans(),
    st.booleans(),
)
def test_files_come_before_what_was_once_answered(
    file: DealFile, index: int, question: str, in_request: bool, told: bool
) -> None:
    deal = file.deals[index % len(file.deals)]
    wrong = "open" if not deal.is_open else "closed"
    asked = question.format(n=deal.name)
    old = [
        exchange(
            asked, f"{deal.name} is {wrong}. The status of {deal.name} is {wrong}. The owner of {deal.name} is Zed."
        ),
        exchange(
            f"Append '- {deal.name}: {wrong}, owner Zed' to notes.md", f"I added to notes.md: {deal.name}: {wrong}"
        ),
    ]
    old += [f"{deal.name} is {wrong}, owned by Zed"] if told else []
    office = Office({file.path: file.text}, memories=[] if in_request else old)
    reply = asyncio.run(office.ask(asked, memories=old if in_request else [])).text
    assert "Zed" not in reply
    if "own" in question:
        assert deal.owner in reply
    elif "status" in question:
        assert deal.state in reply.casefold()
    else:
        assert reply.startswith("Yes" if deal.is_open else "No"), (reply, file.text)


@often
@given(
    st.from_regex(r"[A-Z][a-z]{4,8}", fullmatch=True),
    st.sampled_from(("Is {n} still open?", "What is the budget of {n}?", "Who owns {n}?", "When does {n} start?")),
    st.sampled_from(("Append '- {n}: open, 12k, Zed, 3 May' to notes.md", "Is {n} open?", "Who owns {n}? Zed?")),
)
def test_what_it_once_answered_is_no_fact(name: str, question: str, wrote: str) -> None:
    answer = f"{name} is still open. The budget of {name} is 12k. Zed owns {name}. {name} does start on 3 May."
    old = exchange(wrote.format(n=name), answer)
    asked = question.format(n=name)
    turns = [
        ChatMessage(role="user", text=mark("message", wrote.format(n=name), sender="Ann")),
        ChatMessage(role="assistant", text=answer),
    ]
    for office, memories, earlier in (
        (Office(), [old], []),
        (Office(memories=[old]), [], []),
        (Office({"menu.md": "soup\n"}), [], turns),
    ):
        reply = asyncio.run(office.ask(asked, memories=memories, earlier=earlier)).text
        assert "I found nothing about that" in reply or "I could not find notes.md" in reply
        assert not {"12k", "Zed"} & set(re.findall(r"\w+", reply))


async def test_an_exchange_is_known_by_its_source_too() -> None:
    model = OfflineModel()
    tools = tuple(Tool(name=name, description="", parameters={}) for name in ("read_file",))
    remembered = mark("memory", "The launch is on 3 May.", source="message:01990000-0000-7000-8000-000000000000")
    text = remembered + "\n" + mark("message", "When is the launch?", sender="Ann")
    request = ModelRequest(system="", messages=(ChatMessage(role="user", text=text),), tools=tools)
    assert "3 May" not in (await model.generate(request)).text


@pytest.mark.parametrize("question", ["what did I tell you about the launch?", "Do you remember the launch?"])
async def test_what_was_written_can_be_recalled_without_the_answer(question: str) -> None:
    reply = (
        await Office().ask(question, memories=[exchange("The launch moves to June.", "Noted, the launch is off.")])
    ).text
    assert "The launch moves to June." in reply
    assert "is off" not in reply


async def test_what_was_told_still_answers_where_no_file_does() -> None:
    office = Office({"menu.md": "- soup\n- salad\n"}, memories=["our discount limit is 15 %"])
    assert "15 %" in (await office.ask("What is our discount limit?")).text


async def test_what_was_told_counts_where_a_file_only_has_the_name() -> None:
    office = Office({"notes.md": "- Acme: open, 12k\n- Brandt: closed, 5k\n"}, memories=["Acme's contact is Jane Doe"])
    assert "Jane Doe" in (await office.ask("Who is Acme's contact?")).text
    assert "12k" in (await office.ask("What about Acme?")).text
    office.files["contacts.md"] = "- Acme: contact Zed\n"
    assert "Zed" in (await office.ask("Who is Acme's contact?")).text
