"""Files behind a connection that breaks: bytes come once and in order, and no half of a change is made."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cable import Cable, cabled
from tests.conformance.conftest import make_workspace
from workstation.errors import FileBusy, VersionConflict, WorkstationUnavailable
from workstation.interface import Change, ChangeKind, FileSystem, SearchEnd, SearchHit, SearchQuery
from workstation.local.files import LocalFileSystem
from workstation.remote.dialing import dialing
from workstation.remote.serving import serving

MIB = 1 << 20


@dataclass
class Line:
    """Files, how they are reached from outside, and how often each RPC came."""

    files: FileSystem
    cable: Cable
    workspace: Path
    calls: list[str]


type OpenLine = Callable[..., AbstractAsyncContextManager[Line]]


@pytest.fixture
def open_line(short_directory: Path) -> OpenLine:
    """Serve files and reach them through a cable, with this much patience."""

    @asynccontextmanager
    async def opened(*, patience: float = 20.0) -> AsyncIterator[Line]:
        calls = list[str]()

        async def authenticate(method: str, metadata: Any) -> str:
            calls.append(method.rpartition("/")[2])
            return "somebody"

        workspace = make_workspace(short_directory / "workspace")
        server, place = f"{short_directory}/server", f"{short_directory}/place"
        async with (
            LocalFileSystem(workspace) as local,
            serving(f"unix:{server}", authenticate=authenticate, files=local, grace=0.2),
            cabled(place, server) as cable,
            dialing(f"unix:{place}", "token", patience=patience) as remote,
        ):
            yield Line(remote.files, cable, workspace, calls)

    return opened


@pytest.fixture
async def line(open_line: OpenLine) -> AsyncIterator[Line]:
    async with open_line() as opened:
        yield opened


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


async def read_on(stream: AsyncGenerator[bytes], seen: bytearray) -> None:
    async for piece in stream:
        seen += piece


async def shut_off(line: Line, seconds: float = 0.3) -> None:
    """Break the connections, and let none be made for a while."""
    line.cable.refusing = True
    line.cable.cut()
    await asyncio.sleep(seconds)
    line.cable.refusing = False


class TestReading:
    async def test_a_large_file_comes_through_many_cuts_each_byte_once(self, line: Line) -> None:
        content = os.urandom(64 * MIB + 12_345)
        (line.workspace / "file").write_bytes(content)
        line.cable.cut_after = 9 * MIB
        pieces = [piece async for piece in line.files.read("file")]
        assert b"".join(pieces) == content
        assert line.calls.count("Read") >= 7
        assert max(map(len, pieces)) <= MIB

    async def test_a_range_is_no_longer_for_it(self, line: Line) -> None:
        content = os.urandom(16 * MIB)
        (line.workspace / "file").write_bytes(content)
        line.cable.cut_after = 5 * MIB
        version = (await line.files.stat("file")).version
        stream = line.files.read("file", offset=MIB + 7, length=12 * MIB, expected_version=version)
        assert b"".join([piece async for piece in stream]) == content[MIB + 7 : 13 * MIB + 7]
        assert (await line.files.read_file("file", offset=3)).data == content[3:]
        assert line.calls.count("Read") >= 5

    async def test_of_a_file_that_grows_what_was_there_comes(self, line: Line) -> None:
        content = os.urandom(16 * MIB)
        (line.workspace / "file").write_bytes(content)
        seen = b""
        async for piece in line.files.read("file"):
            seen += piece
            with (line.workspace / "file").open("ab") as file:
                file.write(b"more")
        assert seen == content

    async def test_two_states_of_a_file_are_never_mixed(self, line: Line) -> None:
        for expected, error in ((False, FileBusy), (True, VersionConflict)):
            entry = await line.files.write("file", b"a" * 64 * MIB, durable=False)
            version = entry.version if expected else None
            stream = line.files.read("file", expected_version=version)
            seen = bytearray(await anext(stream))
            (line.workspace / "new").write_bytes(b"b" * 64 * MIB)
            (line.workspace / "new").rename(line.workspace / "file")
            line.cable.cut()
            with pytest.raises(error):
                await read_on(stream, seen)
            assert set(seen) == {ord("a")}

    async def test_a_peer_that_stays_away_is_not_waited_for_for_ever(self, open_line: OpenLine) -> None:
        async with open_line(patience=1.0) as line:
            await line.files.write("file", bytes(64 * MIB), durable=False)
            stream = line.files.read("file")
            seen = bytearray(await anext(stream))
            line.cable.refusing = True
            line.cable.cut()
            with pytest.raises(WorkstationUnavailable):
                await read_on(stream, seen)

    async def test_what_only_looks_is_asked_for_again(self, line: Line) -> None:
        await line.files.write("file", b"content")
        await line.files.usage()
        await shut_off(line)
        assert (await line.files.stat("file")).size == 7
        line.cable.mute = True
        async with asyncio.TaskGroup() as group:
            calls: list[asyncio.Task[Any]] = [
                group.create_task(call)
                for call in (
                    line.files.stat("file"),
                    line.files.list(),
                    line.files.read_file("file"),
                    line.files.usage(),
                    line.files.capabilities(),
                )
            ]
            await until(lambda: {"Stat", "List", "ReadFile", "Usage", "Capabilities"} <= set(line.calls[-5:]))
            line.cable.mute = False
            line.cable.cut()
        assert calls[0].result().size == 7

    async def test_what_was_found_is_not_found_twice(self, line: Line) -> None:
        for number in range(2_000):
            (line.workspace / f"{number:04} {'x' * 200}").touch()
        hits: list[str] = []
        async with aclosing(line.files.search(SearchQuery(name="*", limit=1_000))) as finds:
            async for find in finds:
                if isinstance(find, SearchHit):
                    hits.append(find.entry.path)
                    if len(hits) % 300 == 0:
                        line.cable.cut()
                    continue
                assert isinstance(find, SearchEnd)
        assert line.calls.count("Search") > 1
        assert len(hits) == len(set(hits)) == 1_000


class TestChanging:
    async def test_a_write_that_is_cut_changes_nothing(self, line: Line) -> None:
        await line.files.write("file", b"old")
        given = 0

        async def content() -> AsyncIterator[bytes]:
            nonlocal given
            for given in range(1, 65):
                if given == 8:
                    line.cable.cut()
                yield b"x" * MIB

        with pytest.raises(WorkstationUnavailable):
            await line.files.write("file", content())
        await until(lambda: [path.name for path in line.workspace.iterdir()] == ["file"])
        assert (await line.files.read_file("file")).data == b"old"
        assert line.calls.count("Write") == 2
        assert given < 64

    async def test_every_cut_of_many_leaves_all_of_the_old(self, line: Line) -> None:
        """The end of a connection looks to the server like the end of the content, save that `end` is missing."""
        await line.files.write("file", b"old")
        for number in range(30):

            async def content(count: int) -> AsyncIterator[bytes]:
                for _ in range(count):
                    yield b"x" * MIB
                line.cable.cut()
                await asyncio.sleep(0.02)

            with pytest.raises(WorkstationUnavailable):
                await line.files.write("file", content(4 + number % 3))
            assert (await line.files.read_file("file")).data == b"old"
        await until(lambda: [path.name for path in line.workspace.iterdir()] == ["file"])

    async def test_an_archive_that_is_cut_changes_nothing(self, line: Line) -> None:
        await line.files.write("old/file", os.urandom(8 * MIB), parents=True)
        archive = b"".join([piece async for piece in line.files.export_archive("old")])

        async def content() -> AsyncIterator[bytes]:
            yield archive[: 5 * MIB]
            line.cable.cut()
            yield archive[5 * MIB :]

        with pytest.raises(WorkstationUnavailable):
            await line.files.import_archive("new", content())
        await until(lambda: [path.name for path in line.workspace.iterdir()] == ["old"])

    async def test_an_export_that_is_cut_is_said_to_be(self, line: Line) -> None:
        await line.files.write("file", bytes(32 * MIB), durable=False)
        line.cable.cut_after = 8 * MIB
        with pytest.raises(WorkstationUnavailable):
            assert [piece async for piece in line.files.export_archive()]

    @pytest.mark.parametrize("name", ["Append", "MakeDirectory", "Move", "Copy", "Remove", "Write"])
    async def test_what_may_have_been_done_is_not_done_again(self, line: Line, name: str) -> None:
        await line.files.write("old", b"1", durable=False)
        await line.files.usage()
        calls = {
            "Append": lambda: line.files.append("old", b"2", durable=False),
            "MakeDirectory": lambda: line.files.make_directory("new"),
            "Move": lambda: line.files.move("old", "new"),
            "Copy": lambda: line.files.copy("old", "new"),
            "Remove": lambda: line.files.remove("old"),
            "Write": lambda: line.files.write("new", b"", durable=False),
        }
        before = (await line.files.stat(".")).version
        content = (line.workspace / "old").read_bytes()
        line.cable.mute = True
        line.calls.clear()
        calling = asyncio.ensure_future(calls[name]())

        def done() -> bool:
            return os.listdir(line.workspace) != ["old"] or (line.workspace / "old").read_bytes() != content

        await until(done)
        line.cable.mute = False
        line.cable.cut()
        with pytest.raises(WorkstationUnavailable, match="may have been done"):
            await calling
        assert name == "Append" or (await line.files.stat(".")).version != before
        assert line.calls.count(name) == 1


class TestWatching:
    async def test_changes_that_may_be_lost_are_said_to_be(self, line: Line) -> None:
        async with aclosing(line.files.watch()) as changes, asyncio.timeout(20):
            assert await anext(changes) == Change(kind=ChangeKind.BEGUN, path=".")
            (line.workspace / "before").mkdir()
            assert await anext(changes) == Change(kind=ChangeKind.CREATED, path="before")
            line.cable.refusing = True
            line.cable.cut()
            (line.workspace / "meanwhile").mkdir()
            line.cable.refusing = False
            assert await anext(changes) == Change(kind=ChangeKind.OVERFLOW, path=".")
            (line.workspace / "after").mkdir()
            assert await anext(changes) == Change(kind=ChangeKind.CREATED, path="after")

    async def test_a_directory_that_went_meanwhile_is_reported(self, line: Line) -> None:
        await line.files.make_directory("a")
        async with aclosing(line.files.watch("a")) as changes, asyncio.timeout(20):
            assert await anext(changes) == Change(kind=ChangeKind.BEGUN, path="a")
            line.cable.refusing = True
            line.cable.cut()
            (line.workspace / "a").rmdir()
            line.cable.refusing = False
            rest = [change async for change in changes]
        assert rest[-1:] == [Change(kind=ChangeKind.REMOVED, path="a")]

    async def test_a_watch_may_be_quiet_for_longer_than_patience(self, open_line: OpenLine) -> None:
        async with open_line(patience=0.5) as line, aclosing(line.files.watch()) as changes, asyncio.timeout(20):
            await anext(changes)
            for _ in range(2):
                await asyncio.sleep(1)
                line.cable.cut()
                assert (await anext(changes)).kind is ChangeKind.OVERFLOW
