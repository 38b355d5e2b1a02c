"""The files of a workspace, as a model asks for them."""

import random
from pathlib import Path
from typing import Any

import pytest

from agent.capabilities import workspace_actions
from agent.errors import ActionFailed, ArgumentsInvalid
from tests.unit.agent.capabilities.conftest import Caller


@pytest.fixture
def tree(workspace: Path) -> Path:
    for path in ("notes.md", "deals/acme.md", "deals/old/brandt.md", "deals/list.csv"):
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_text(f"# {path}\n\nOwner: Ada\n")
    return workspace


def paths(listed: dict[str, Any]) -> list[str]:
    return [entry["path"] for entry in listed["entries"]]


async def test_a_directory_is_listed(act: Caller, tree: Path):
    listed = await act("list_files")
    assert paths(listed) == ["deals", "notes.md"]
    assert [entry["kind"] for entry in listed["entries"]] == ["directory", "file"]
    assert (listed["truncated"], listed["hint"]) == (False, "")


async def test_a_glob_lists_what_is_anywhere_below(act: Caller, tree: Path):
    assert paths(await act("list_files", name="*.md")) == ["deals/acme.md", "deals/old/brandt.md", "notes.md"]
    assert paths(await act("list_files", path="deals", name="old/*")) == ["deals/old/brandt.md"]
    assert paths(await act("list_files", name="*.py")) == []


async def test_a_long_listing_says_how_to_go_on(act: Caller, workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workspace_actions, "MAX_LISTED", 3)
    for number in range(5):
        (workspace / f"{number}.txt").touch()
    first = await act("list_files")
    assert (paths(first), first["truncated"]) == (["0.txt", "1.txt", "2.txt"], True)
    assert "after='2.txt'" in first["hint"]
    rest = await act("list_files", after="2.txt")
    assert (paths(rest), rest["truncated"]) == (["3.txt", "4.txt"], False)
    fitting = await act("list_files", name="*.txt")
    assert (len(fitting["entries"]), fitting["truncated"]) == (3, True)
    assert "narrower" in fitting["hint"]
    with pytest.raises(ActionFailed, match="narrower"):
        await act("list_files", name="*.txt", after="2.txt")


async def test_a_long_file_is_read_in_pieces_of_whole_characters(act: Caller, workspace: Path):
    text = "".join(random.choices("aé€😀\n", k=500))
    (workspace / "long.txt").write_text(text)
    read, offset = "", 0
    while True:
        piece = await act("read_file", path="long.txt", offset=offset, limit=100)
        read += piece["content"]
        if not piece["truncated"]:
            break
        offset = piece["next_offset"]
    assert read == text
    assert piece["size"] == len(text.encode())


async def test_a_limit_below_a_character_still_goes_on(act: Caller, workspace: Path):
    (workspace / "e.txt").write_text("€€")
    assert (await act("read_file", path="e.txt", limit=1))["next_offset"] == 1


async def test_lines_are_found_in_files_that_fit(act: Caller, tree: Path):
    found = await act("search_files", query="owner", name="*.md", path="deals")
    assert [(match["path"], match["line"]) for match in found["matches"]] == [
        ("deals/acme.md", 3),
        ("deals/old/brandt.md", 3),
    ]
    assert (await act("search_files", query="owner", case_sensitive=True))["matches"] == []


async def test_an_edit_replaces_one_text_and_leaves_the_rest(act: Caller, workspace: Path):
    (workspace / "a.txt").write_bytes(b"one\r\ntwo \xff\r\nthree\r\n")
    edited = await act("edit_file", path="a.txt", old="two", new="zwei\nund")
    assert (edited["replaced"], edited["line"]) == (1, 2)
    assert (workspace / "a.txt").read_bytes() == b"one\r\nzwei\nund \xff\r\nthree\r\n"
    await act("edit_file", path="a.txt", old="one\r\n", new="")
    assert (workspace / "a.txt").read_bytes().startswith(b"zwei")


async def test_an_edit_that_is_not_clear_changes_nothing(act: Caller, workspace: Path):
    (workspace / "a.txt").write_text("x = 1\ny = 1\nx = 1\n")
    with pytest.raises(ActionFailed, match=r"2 times, at lines 1, 3.*everywhere"):
        await act("edit_file", path="a.txt", old="x = 1", new="x = 2")
    with pytest.raises(ActionFailed, match="the text to replace is not in"):
        await act("edit_file", path="a.txt", old="z", new="")
    assert (workspace / "a.txt").read_text() == "x = 1\ny = 1\nx = 1\n"
    edited = await act("edit_file", path="a.txt", old="x = 1", new="x = 2", everywhere=True)
    assert (edited["replaced"], edited["line"]) == (2, 1)
    assert (workspace / "a.txt").read_text() == "x = 2\ny = 1\nx = 2\n"


async def test_a_version_guards_against_changes_of_others(act: Caller, workspace: Path):
    (workspace / "a.txt").write_text("one")
    version = (await act("read_file", path="a.txt"))["version"]
    assert (await act("file_info", path="a.txt"))["version"] == version
    (workspace / "a.txt").write_text("another")
    with pytest.raises(ActionFailed, match="VERSION_CONFLICT"):
        await act("edit_file", path="a.txt", old="another", new="mine", version=version)
    with pytest.raises(ActionFailed, match="VERSION_CONFLICT"):
        await act("write_file", path="a.txt", content="mine", version=version)
    with pytest.raises(ActionFailed, match="VERSION_CONFLICT"):
        await act("write_file", path="a.txt", content="mine", version="absent")
    assert (workspace / "a.txt").read_text() == "another"
    written = await act("write_file", path="new.txt", content="mine", version="absent")
    await act("edit_file", path="new.txt", old="mine", new="ours", version=written["version"])


async def test_files_are_moved_and_copied_over_others_only_when_told(act: Caller, tree: Path):
    with pytest.raises(ActionFailed, match="ALREADY_EXISTS"):
        await act("move_file", path="notes.md", to="deals/acme.md")
    with pytest.raises(ActionFailed, match="ALREADY_EXISTS"):
        await act("copy_file", path="notes.md", to="deals/acme.md")
    await act("copy_file", path="notes.md", to="deals/acme.md", replace=True)
    assert (tree / "deals/acme.md").read_text().startswith("# notes.md")
    await act("move_file", path="notes.md", to="deals/list.csv", replace=True)
    assert not (tree / "notes.md").exists()
    await act("copy_file", path="deals", to="copy")
    assert (tree / "copy/old/brandt.md").exists()


async def test_a_directory_goes_only_when_it_is_meant(act: Caller, tree: Path):
    with pytest.raises(ActionFailed, match="recursive=true"):
        await act("remove_file", path="deals")
    assert await act("remove_file", path="deals/list.csv") == {"removed": 1}
    assert await act("remove_file", path="deals", recursive=True) == {"removed": 4}
    assert not (tree / "deals").exists()
    with pytest.raises(ActionFailed):
        await act("remove_file", path=".", recursive=True)
    assert (tree / "notes.md").exists()


async def test_directories_are_made_and_described(act: Caller, workspace: Path):
    for _ in range(2):
        await act("make_directory", path="a/b/c")
    assert (workspace / "a/b/c").is_dir()
    (workspace / "link").symlink_to("a/b")
    described = await act("file_info", path="link")
    assert (described["kind"], described["target"]) == ("symlink", "a/b")
    assert described["modified"].endswith("+00:00")


async def test_the_space_is_told(act: Caller, workspace: Path):
    (workspace / "a.txt").write_bytes(b"x" * 10_000)
    used = await act("workspace_usage")
    assert used["bytes"] >= 10_000
    assert used["entries"] == 1
    assert used["available_bytes"] > 0


@pytest.mark.parametrize(
    ("action", "arguments", "error"),
    [
        ("read_file", {"path": "../secret"}, "PATH_OUTSIDE_WORKSPACE"),
        ("read_file", {"path": "/etc/passwd"}, "PATH_OUTSIDE_WORKSPACE"),
        ("edit_file", {"path": "missing", "old": "a", "new": "b"}, "NOT_FOUND"),
        ("file_info", {"path": "missing"}, "NOT_FOUND"),
        ("copy_file", {"path": "missing", "to": "a"}, "NOT_FOUND"),
        ("list_files", {"path": "missing"}, "NOT_FOUND"),
    ],
)
async def test_what_cannot_be_done_says_why(act: Caller, action: str, arguments: dict[str, Any], error: str):
    with pytest.raises(ActionFailed, match=error):
        await act(action, **arguments)


async def test_a_file_that_is_no_text_is_refused(act: Caller, workspace: Path):
    (workspace / "image.png").write_bytes(b"\x89PNG\0\0")
    with pytest.raises(ActionFailed, match="not a text file"):
        await act("read_file", path="image.png")


async def test_arguments_have_bounds(act: Caller):
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("write_file", {"path": "a", "content": "x" * (1024 * 1024 + 1)}),
        ("append_file", {"path": "a", "content": "x" * 250_001}),
        ("edit_file", {"path": "a", "old": "", "new": "b"}),
        ("list_files", {"path": "x" * 4001}),
        ("read_file", {"path": "a", "encoding": "utf-8"}),
    ]
    for action, arguments in wrong:
        with pytest.raises(ArgumentsInvalid):
            await act(action, **arguments)
