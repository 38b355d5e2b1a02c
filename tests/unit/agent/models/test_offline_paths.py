"""What the offline model does with names of files that are not the workspace's."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.models.offline.files import file_names
from tests.unit.agent.models.office import Office

NAMES = st.from_regex(r"[a-z]{3,8}(?:\.(?:md|txt|pem))?", fullmatch=True)
FOLDERS = st.from_regex(r"[a-z]{2,6}", fullmatch=True)
OUTSIDE = st.one_of(
    st.builds(lambda up, name: "../" * up + name, st.integers(1, 4), NAMES),
    st.builds(lambda one, two, name: f"/{one}/{two}/{name}", FOLDERS, FOLDERS, NAMES),
    st.builds(lambda name: f"/{name}", NAMES),
    st.builds(lambda folder, up, name: f"{folder}/" + "../" * (up + 1) + name, FOLDERS, st.integers(1, 3), NAMES),
    st.builds(lambda folder, name: f"./{folder}/../../{name}", FOLDERS, NAMES),
)
READING = ("Read {p}", "read the file {p}", "Show me {p} please", "Please open '{p}'.", "What is in {p}?", "Summarise {p}",
           "Read {p} and tell me how many open deals it lists")  # fmt: skip


@pytest.mark.parametrize("path", ["../../token.md", "/etc/hosts.txt", "../secret.txt", "./notes.md"])
def test_a_path_that_leads_elsewhere_is_still_seen_as_one(path: str):
    assert file_names(f"Please read {path} to me") == [path.removeprefix("./")]


@pytest.mark.parametrize(
    "text",
    [
        "see https://example.com/a.html",
        "what is 3/4.5?",
        "mail ada@example.com/x.md",
        "5 EUR /month and/or more",
        "1/2 or n/a",
        "either / or ...",
    ],
)
def test_addresses_and_fractions_name_no_file(text: str):
    assert file_names(text) == []


@settings(max_examples=80, deadline=None)
@given(OUTSIDE, st.sampled_from(READING), st.booleans())
def test_a_path_that_leads_out_is_tried_and_said_to(path: str, wording: str, listing: bool) -> None:
    office = Office({"notes.md": "# Notes\nThe token is at the gate.\n"}, listing=listing)
    message = wording.format(p=path)
    reply = asyncio.run(office.ask(message, memories=[f"{message}: the password is swordfish"]))
    assert [call.arguments["path"] for call in reply.calls if call.name == "read_file"][:1] == [path.removeprefix("./")]
    assert f"I cannot reach {path.removeprefix('./')}: that lies outside my workspace." in reply.text
    assert "swordfish" not in reply.text


@settings(max_examples=40, deadline=None)
@given(OUTSIDE, st.sampled_from(("Write 'hi' to {p}", "Append 'hi' to {p}", 'Save "hi" in {p}')))
def test_nothing_is_written_outside(path: str, wording: str) -> None:
    office = Office({"notes.md": "mine"})
    reply = asyncio.run(office.ask(wording.format(p=path)))
    assert "outside my workspace" in reply.text
    assert office.files == {"notes.md": "mine"}


async def test_a_detour_that_stays_inside_is_no_way_out() -> None:
    office = Office({"notes.md": "Lunch is at noon.\n"})
    assert "Lunch is at noon" in (await office.ask("Read drafts/../notes.md")).text
