"""Directories are made, entries moved, copied and removed as the contract says."""

import os
from pathlib import Path

import pytest

from tests.conformance.filework import names_in, text_of
from workstation.errors import AlreadyExists, DirectoryNotEmpty, NotFound, VersionConflict, WrongKind
from workstation.interface import EntryKind, FileSystem

pytestmark = pytest.mark.usefixtures("nothing_blocks")


class TestTree:
    async def test_make_directory(self, files: FileSystem) -> None:
        assert (await files.make_directory("a")).kind is EntryKind.DIRECTORY
        with pytest.raises(AlreadyExists):
            await files.make_directory("a")
        with pytest.raises(NotFound):
            await files.make_directory("b/c")
        assert (await files.make_directory("a/b/c", parents=True)).path == "a/b/c"
        await files.make_directory("a/b/c", parents=True)
        await files.write("file", b"")
        for path in ("file", "file/below"):
            with pytest.raises(WrongKind):
                await files.make_directory(path, parents=True)

    async def test_move(self, files: FileSystem) -> None:
        await files.write("a/file", b"1", parents=True)
        await files.write("b", b"2")
        with pytest.raises(AlreadyExists):
            await files.move("a/file", "b")
        assert (await files.move("a/file", "b", replace=True)).path == "b"
        assert await text_of(files, "b") == "1"
        await files.move("a", "c")
        assert await names_in(files) == ["b", "c"]
        for source, target, error, said in (
            ("no", "x", NotFound, "no no"),
            ("b", "far/x", NotFound, "there is no directory far"),
            ("c", "c", AlreadyExists, "c already"),
        ):
            with pytest.raises(error, match=said):
                await files.move(source, target)

    async def test_a_directory_takes_only_an_empty_ones_place(self, files: FileSystem) -> None:
        await files.write("full/file", b"", parents=True)
        await files.make_directory("empty")
        await files.make_directory("other")
        with pytest.raises(DirectoryNotEmpty):
            await files.move("other", "full", replace=True)
        await files.move("full", "empty", replace=True)
        assert await names_in(files, "empty") == ["file"]

    async def test_copy(self, files: FileSystem, planted: Path) -> None:
        await files.write("a/b/file", b"1", parents=True)
        (planted / "a" / "b" / "file").chmod(0o750)
        (planted / "a" / "link").symlink_to("b/file")
        assert (await files.copy("a", "c/../copy")).path == "copy"
        assert await text_of(files, "copy/b/file") == "1"
        assert (await files.stat("copy/b/file")).mode == 0o750
        assert (await files.stat("copy/link")).target == "b/file"
        assert (await files.copy("a/link", "link")).target == "b/file"
        with pytest.raises(AlreadyExists):
            await files.copy("a", "copy")
        await files.write("file", b"other")
        await files.copy("a/b/file", "file", replace=True)
        assert await text_of(files, "file") == "1"

    async def test_a_directory_is_copied_into_itself_once(self, files: FileSystem) -> None:
        await files.write("a/file", b"1", parents=True)
        await files.copy("a", "a/inner")
        assert await names_in(files, "a") == ["file", "inner"]
        assert await names_in(files, "a/inner") == ["file"]

    async def test_a_copy_that_fails_leaves_nothing(self, files: FileSystem, planted: Path) -> None:
        await files.write("a/b/file", b"1", parents=True)
        os.mkfifo(planted / "a" / "z")
        with pytest.raises(WrongKind) as caught:
            await files.copy("a", "copy")
        assert caught.value.path == "a/z"
        assert await names_in(files) == ["a"]

    async def test_remove(self, files: FileSystem, planted: Path) -> None:
        await files.write("a/b/file", b"1", parents=True)
        await files.write("other/file", b"2", parents=True)
        (planted / "link").symlink_to("a")
        (planted / "a" / "link").symlink_to("../other")
        with pytest.raises(DirectoryNotEmpty):
            await files.remove("a")
        with pytest.raises(VersionConflict):
            await files.remove("a/b/file", expected_version="nonsense")
        assert await files.remove("link") == 1
        assert await files.remove("a", recursive=True) == 4
        assert await names_in(files) == ["other"]
        assert await text_of(files, "other/file") == "2"

    async def test_the_workspace_itself_stays(self, files: FileSystem) -> None:
        for call in (
            files.remove(".", recursive=True),
            files.move(".", "x"),
            files.write(".", b""),
            files.copy(".", "x"),
        ):
            with pytest.raises(WrongKind):
                await call
