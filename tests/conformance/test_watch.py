"""Changes are reported as they happen, whoever made them; what is lost is said to be lost."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from tests.conformance.adversaries import swapping
from tests.conformance.conftest import OpenFiles
from tests.conformance.filework import text_of
from workstation.errors import InvalidPath, NotFound, PathOutsideWorkspace, WrongKind
from workstation.interface import Change, ChangeKind, FileSystem, FileSystemLimits

pytestmark = pytest.mark.usefixtures("nothing_blocks")

HOSTILE = [b"line\nbreak", b"not-utf8-\xff", "\u202etfel-ot-thgir".encode(), b"back\\slash", b"sp ace"]


def created(path: str) -> Change:
    return Change(kind=ChangeKind.CREATED, path=path)


def modified(path: str) -> Change:
    return Change(kind=ChangeKind.MODIFIED, path=path)


def removed(path: str) -> Change:
    return Change(kind=ChangeKind.REMOVED, path=path)


def overflow(path: str = ".") -> Change:
    return Change(kind=ChangeKind.OVERFLOW, path=path)


class Watcher:
    """A watch that has begun."""

    def __init__(self, changes: AsyncIterator[Change]) -> None:
        self._changes = changes

    async def until(self, last: Change) -> list[Change]:
        """The changes up to one that must come."""
        seen: list[Change] = []
        async with asyncio.timeout(20):
            async for change in self._changes:
                if change == last:
                    return seen
                seen.append(change)
        raise AssertionError(f"ended without {last}: {seen}")

    async def all_until(self, end: Path) -> list[Change]:
        """The changes until now, when `end` is made; also if the kernel has no room to say so."""
        end.touch()
        seen: list[Change] = []
        async with asyncio.timeout(20):
            async for change in self._changes:
                if change.path == end.name:
                    return seen
                if change.kind is ChangeKind.OVERFLOW:
                    end.touch()
                seen.append(change)
        raise AssertionError("the watch ended")

    async def rest(self) -> list[Change]:
        """All changes until the watch ends."""
        async with asyncio.timeout(20):
            return [change async for change in self._changes]


@asynccontextmanager
async def watching(files: FileSystem, path: str = ".", *, recursive: bool = True) -> AsyncIterator[Watcher]:
    async with aclosing(files.watch(path, recursive=recursive)) as changes:
        assert await anext(changes) == Change(kind=ChangeKind.BEGUN, path=path)
        yield Watcher(changes)


async def begin(files: FileSystem, path: str) -> None:
    async with watching(files, path):
        pass


class TestChanges:
    async def test_what_was_before_is_not_reported(self, files: FileSystem, planted: Path) -> None:
        (planted / "before").touch()
        async with watching(files) as watcher:
            (planted / "after").touch()
            assert await watcher.until(created("after")) == []

    async def test_a_file_comes_changes_and_goes(self, files: FileSystem, planted: Path) -> None:
        async with watching(files) as watcher:
            (planted / "file").write_text("text")
            assert await watcher.until(modified("file")) == [created("file")]
            with (planted / "file").open("a") as file:
                file.write("more")
                file.flush()
                assert await watcher.until(modified("file")) == []
            (planted / "file").chmod(0o600)
            (planted / "file").unlink()
            assert set(await watcher.until(removed("file"))) == {modified("file")}

    async def test_a_write_shows_its_target_alone(self, files: FileSystem) -> None:
        async with watching(files) as watcher:
            await files.write("directory/file", b"old", parents=True)
            await files.write("directory/file", b"new")
            await files.copy("directory", "copy")
            await files.make_directory("end")
            seen = await watcher.until(created("end"))
        paths = {change.path for change in seen}
        assert paths == {"directory", "directory/file", "copy", "copy/file"}
        assert {change.kind for change in seen} <= {ChangeKind.CREATED, ChangeKind.MODIFIED}
        assert seen.count(created("directory/file")) >= 1

    async def test_a_rename_is_a_removal_and_a_creation(self, files: FileSystem) -> None:
        await files.write("old", b"")
        async with watching(files) as watcher:
            await files.move("old", "new")
            assert await watcher.until(created("new")) == [removed("old")]

    async def test_only_the_directory_itself(self, files: FileSystem) -> None:
        await files.write("directory/below/file", b"", parents=True)
        async with watching(files, "directory", recursive=False) as watcher:
            await files.write("directory/below/file", b"x")
            await files.write("beside", b"x")
            await files.make_directory("directory/new/newer", parents=True)
            await files.make_directory("directory/end")
            seen = await watcher.until(created("directory/end"))
        assert seen[0] == created("directory/new")
        assert {change.path for change in seen} == {"directory/new"}

    async def test_several_watch_at_once(self, files: FileSystem, planted: Path) -> None:
        async with watching(files) as first, watching(files) as second:
            async with watching(files) as third:
                (planted / "one").mkdir()
                for watcher in (first, second, third):
                    assert await watcher.until(created("one")) == []
            (planted / "two").mkdir()
            for watcher in (first, second):
                assert await watcher.until(created("two")) == []

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_paths_are_written_as_everywhere(self, files: FileSystem, planted: Path, name: bytes) -> None:
        os.mkdir(os.path.join(os.fsencode(planted), name))
        async with watching(files) as watcher:
            with open(os.path.join(os.fsencode(planted), name, name), "w") as file:
                file.write("content")
            (directory,) = (await files.list()).entries
            path = f"{directory.path}/{directory.path}"
            await watcher.until(created(path))
        assert await text_of(files, path) == "content"


class TestDirectories:
    async def test_what_is_made_at_once_in_new_directories_is_not_missed(
        self, files: FileSystem, planted: Path
    ) -> None:
        async with watching(files) as watcher:
            expected = set()
            for number in range(50):
                directory = planted / f"{number}" / "a" / "b" / "c"
                directory.mkdir(parents=True)
                (directory / "file").touch()
                expected |= {created(f"{number}{below}") for below in ("", "/a", "/a/b", "/a/b/c", "/a/b/c/file")}
                await asyncio.sleep(0)
            (planted / "end").touch()
            seen = await watcher.until(created("end"))
            (planted / "7" / "a" / "b" / "c" / "late").touch()
            await watcher.until(created("7/a/b/c/late"))
        # what is found twice, by looking and by being told, may be reported twice
        assert expected <= set(seen)
        assert {change.path for change in seen} == {change.path for change in expected}

    async def test_a_moved_directory_is_followed_under_its_new_name(self, files: FileSystem, planted: Path) -> None:
        await files.write("old/below/file", b"", parents=True)
        async with watching(files) as watcher:
            await files.move("old", "new")
            seen = await watcher.until(created("new/below/file"))
            assert seen == [removed("old"), created("new"), created("new/below")]
            (planted / "new" / "below" / "file").write_text("x")
            assert await watcher.until(modified("new/below/file")) == []
            await files.make_directory("old")
            await files.write("old/file", b"")
            seen = await watcher.until(created("old/file"))
        assert {change.path for change in seen} <= {"new/below/file", "old"}

    async def test_one_moved_out_of_sight_is_not_followed(self, files: FileSystem, planted: Path) -> None:
        await files.make_directory("watched/inner/most", parents=True)
        async with watching(files, "watched") as watcher:
            await files.move("watched/inner", "elsewhere")
            await watcher.until(removed("watched/inner"))
            (planted / "elsewhere" / "most" / "file").touch()
            (planted / "elsewhere" / "file").touch()
            (planted / "watched" / "end").touch()
            assert await watcher.until(created("watched/end")) == []

    async def test_a_watch_ends_with_its_directory(self, files: FileSystem, planted: Path) -> None:
        await files.write("one/file", b"", parents=True)
        await files.make_directory("two")
        async with watching(files, "one") as watcher:
            await files.remove("one", recursive=True)
            assert await watcher.rest() == [removed("one/file"), removed("one")]
        async with watching(files, "two") as watcher:
            (planted / "two").rename(planted / "three")
            assert await watcher.rest() == [removed("two")]

    async def test_files_and_what_is_not_there_cannot_be_watched(self, files: FileSystem) -> None:
        await files.write("file", b"")
        with pytest.raises(WrongKind):
            await begin(files, "file")
        with pytest.raises(NotFound):
            await begin(files, "missing")
        with pytest.raises(PathOutsideWorkspace):
            await begin(files, "../elsewhere")


class TestLinks:
    async def test_links_are_never_followed(self, files: FileSystem, planted: Path, outside: Path) -> None:
        (planted / "inside").mkdir()
        (planted / "before").symlink_to(outside)
        async with watching(files) as watcher:
            (planted / "link").symlink_to(outside)
            (planted / "inner").symlink_to("inside")
            (planted / "inside" / "file").touch()
            os.utime(outside / "file")
            (planted / "end").touch()
            seen = await watcher.until(created("end"))
        assert {change.path for change in seen} == {"link", "inner", "inside/file"}
        for path in ("before", "link", "inner", "inner/below"):
            with pytest.raises((InvalidPath, WrongKind)):
                await begin(files, path)

    async def test_a_link_swapped_in_all_the_time(self, files: FileSystem, planted: Path, outside: Path) -> None:
        (planted / "directory" / "below").mkdir(parents=True)
        (planted / "link").symlink_to(outside)
        async with watching(files) as watcher:
            with swapping(planted / "directory", planted / "link"):
                for _ in range(20):
                    os.utime(outside / "file")
                    await asyncio.sleep(0.01)
            seen = await watcher.all_until(planted / "end")
        assert not [change for change in seen if change.path.endswith("/file")]


class TestBounds:
    async def test_directories_beyond_the_limit_are_not_followed_silently(
        self, open_files: OpenFiles, planted: Path
    ) -> None:
        for number in range(5):
            (planted / f"{number}").mkdir()
        async with open_files(FileSystemLimits(watch_directories=4)) as files:
            async with watching(files) as watcher:
                assert await watcher.until(overflow()) == []
            for number in (2, 3, 4):
                (planted / f"{number}").rmdir()
            async with watching(files) as watcher:
                (planted / "2").mkdir()
                (planted / "3").mkdir()
                assert await watcher.until(overflow()) == [created("2"), created("3")]
                shutil.rmtree(planted / "2")
                (planted / "4").mkdir()
                (planted / "4" / "file").touch()
                assert overflow() not in await watcher.until(created("4/file"))

    async def test_a_slow_consumer_is_told(self, open_files: OpenFiles, planted: Path) -> None:
        async with open_files(FileSystemLimits(watch_changes=100)) as files, watching(files) as watcher:
            for number in range(10_000):  # more than may be on its way from another process
                (planted / f"{number}").touch()
            before = await watcher.until(overflow())
            assert len(before) >= 100
            after = await watcher.all_until(planted / "later")
            assert len(before + after) < 20_000  # each file is created and modified

    async def test_a_storm_is_reported_or_said_to_be_lost(self, files: FileSystem, planted: Path) -> None:
        async with watching(files) as watcher:
            for number in range(20_000):  # of which the kernel keeps 16,384, if nobody takes them meanwhile
                (planted / f"{number}").touch()
            (planted / "new" / "newer").mkdir(parents=True)
            seen = set(await watcher.all_until(planted / "end"))
            assert overflow() in seen or {created(f"{number}") for number in range(20_000)} <= seen
            (planted / "new" / "newer" / "file").touch()
            await watcher.until(created("new/newer/file"))

    async def test_a_tree_deeper_than_may_be_followed(self, open_files: OpenFiles, planted: Path) -> None:
        (planted / "/".join("d" * 30)).mkdir(parents=True)
        async with open_files(FileSystemLimits(tree_depth=10)) as files, watching(files) as watcher:
            assert await watcher.until(overflow()) == []
