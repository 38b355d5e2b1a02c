"""Paths and links lead nowhere outside, whoever wrote or planted them."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.conformance.adversaries import creating, hand_over, swapping
from tests.conformance.filework import searched, streamed
from workstation.errors import (
    FileBusy,
    InvalidPath,
    NotFound,
    PathOutsideWorkspace,
    VersionConflict,
    WorkstationError,
    WrongKind,
)
from workstation.interface import ABSENT, EntryKind, FileSystem, SearchQuery

pytestmark = pytest.mark.usefixtures("nothing_blocks")


type Call = Callable[[FileSystem, str], Awaitable[object]]


CALLS: dict[str, Call] = {
    "stat": lambda files, path: files.stat(path),
    "list": lambda files, path: files.list(path),
    "read_file": lambda files, path: files.read_file(path),
    "read": streamed,
    "write": lambda files, path: files.write(path, b"x"),
    "write with parents": lambda files, path: files.write(path, b"x", parents=True),
    "append": lambda files, path: files.append(path, b"x"),
    "make_directory": lambda files, path: files.make_directory(path),
    "make_directory with parents": lambda files, path: files.make_directory(path, parents=True),
    "move from": lambda files, path: files.move(path, "other"),
    "move to": lambda files, path: files.move("here", path, replace=True),
    "copy from": lambda files, path: files.copy(path, "other"),
    "copy to": lambda files, path: files.copy("here", path, replace=True),
    "remove": lambda files, path: files.remove(path, recursive=True),
    "search": lambda files, path: searched(files, SearchQuery(name="*", path=path)),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


class TestPaths:
    @every_call
    @pytest.mark.parametrize(
        "path", ["../outside/file", "a/../../outside/file", "/etc/passwd", "/", "..", r"\x2e\x2e/x"]
    )
    async def test_leading_out(self, files: FileSystem, outside: Path, call: Call, path: str) -> None:
        await files.write("here", b"")
        with pytest.raises(PathOutsideWorkspace):
            await call(files, path)

    @every_call
    @pytest.mark.parametrize(
        "path", ["", "a\0b", r"a\x00b", r"a\x2fb", "a\\", r"a\q", "x" * 256, "a/" * 3000 + "a", "\ud800", r"\Uffffffff"]
    )
    async def test_being_none(self, files: FileSystem, call: Call, path: str) -> None:
        await files.write("here", b"")
        with pytest.raises(WorkstationError) as caught:
            await call(files, path)
        assert isinstance(caught.value, InvalidPath)
        str(caught.value).encode()

    @every_call
    async def test_through_a_link_that_leads_out(
        self, files: FileSystem, planted: Path, outside: Path, call: Call
    ) -> None:
        await files.write("here", b"")
        for target in ("../outside", str(outside)):
            (planted / "link").unlink(missing_ok=True)
            (planted / "link").symlink_to(target)
            with pytest.raises(PathOutsideWorkspace):
                await call(files, "link/file")


class TestLinks:
    async def test_a_link_out_is_listed_and_never_followed(
        self, files: FileSystem, planted: Path, outside: Path
    ) -> None:
        (planted / "link").symlink_to("../outside/file")
        (planted / "directory").symlink_to("../outside")
        assert [entry.target for entry in (await files.list()).entries] == ["../outside", "../outside/file"]
        assert (await files.stat("link")).target == "../outside/file"
        for call in (files.read_file("link"), streamed(files, "link"), files.list("directory")):
            with pytest.raises(PathOutsideWorkspace):
                await call
        hits, _ = await searched(files, SearchQuery(text="secret"))
        assert hits == []
        assert (await files.copy("directory", "copy")).kind is EntryKind.SYMLINK
        assert await files.remove("directory", recursive=True) == 1

    async def test_changes_do_not_follow_a_link_at_the_end(
        self, files: FileSystem, planted: Path, outside: Path
    ) -> None:
        (planted / "inside").write_text("old")
        (planted / "in").symlink_to("inside")
        (planted / "out").symlink_to("../outside/file")
        (planted / "new").symlink_to("../outside/new")
        for path in ("in", "out", "new"):
            for call in (
                files.write(path, b"x"),
                files.append(path, b"x"),
                files.copy("inside", path, replace=True),
            ):
                with pytest.raises(WrongKind):
                    await call
        assert (planted / "inside").read_text() == "old"

    async def test_links_in_circles_end(self, files: FileSystem, planted: Path) -> None:
        (planted / "a").symlink_to("b")
        (planted / "b").symlink_to("a")
        (planted / "self").symlink_to(".")
        with pytest.raises(InvalidPath):
            await files.read_file("a")
        _, end = await searched(files, SearchQuery(name="*"))
        assert (end.entries, end.truncated) == (3, False)

    async def test_a_target_that_would_not_print_is_escaped(self, files: FileSystem, planted: Path) -> None:
        (planted / "link").symlink_to("a\n\u202eb")
        assert (await files.stat("link")).target == r"a\x0a\u202eb"

    @pytest.mark.parametrize("name", ["read", "write", "append", "make", "remove", "copy", "search"])
    async def test_a_directory_swapped_with_a_link_out(
        self, files: FileSystem, planted: Path, outside: Path, name: str
    ) -> None:
        (planted / "real").mkdir()
        (planted / "real" / "file").write_text("mine")
        (planted / "planted").symlink_to("../outside")
        hand_over(planted)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "read": lambda: files.read_file("real/file"),
            "write": lambda: files.write("real/file", b"mine", durable=False),
            "append": lambda: files.append("real/file", b"", durable=False),
            "make": lambda: files.write("real/below/file", b"mine", parents=True, durable=False),
            "remove": lambda: files.remove("real/file"),
            "copy": lambda: files.copy("real", f"copy{len(list(planted.iterdir()))}"),
            "search": lambda: searched(files, SearchQuery(text="secret")),
        }
        outcomes = set()
        with swapping(planted / "real", planted / "planted"):
            for attempt in range(20_000):
                if attempt > 200 and "done" in outcomes:
                    break
                try:
                    result = await calls[name]()
                    assert "secret" not in str(result)
                    outcomes.add("done")
                except (PathOutsideWorkspace, NotFound, WrongKind, FileBusy) as error:
                    outcomes.add(type(error).__name__)
        assert "done" in outcomes
        for copied in planted.glob("copy*/*"):
            assert copied.parent.is_symlink() or copied.read_text() == "mine"


class TestRaces:
    async def test_what_must_be_absent_replaces_nothing(self, files: FileSystem, planted: Path) -> None:
        written = 0
        with creating(planted / "file", planted / "overwritten"):
            for attempt in range(30_000):
                if attempt > 1000 and written > 50:
                    break
                try:
                    entry = await files.write("file", b"mine", expected_version=ABSENT, durable=False)
                except VersionConflict:
                    continue
                written += 1
                await files.remove("file", expected_version=entry.version)
        assert written > 0
        assert not (planted / "overwritten").exists()
