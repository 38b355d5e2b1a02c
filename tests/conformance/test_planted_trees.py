"""Trees deeper and wider than any path are bounded and can be removed."""

from pathlib import Path

import pytest

from tests.conformance.adversaries import growing, hand_over, plant_deep
from tests.conformance.conftest import OpenFiles
from tests.conformance.filework import searched
from workstation.errors import DirectoryNotEmpty, LimitExceeded, NotFound
from workstation.interface import FileSystem, FileSystemLimits, SearchQuery

pytestmark = pytest.mark.usefixtures("nothing_blocks")


class TestTrees:
    @pytest.mark.parametrize(("depth", "name"), [(1000, "d" * 200), (5000, "d")])
    async def test_a_tree_deeper_than_any_path(self, files: FileSystem, planted: Path, depth: int, name: str) -> None:
        plant_deep(planted, depth, name)
        hand_over(planted)
        try:
            _, end = await searched(files, SearchQuery(name="file"))
            assert end.truncated
            assert (await files.usage()).truncated
            with pytest.raises(LimitExceeded):
                await files.copy(name, "copy")
            assert [entry.name for entry in (await files.list()).entries] == [name, "file"]
        finally:
            assert await files.remove(name, recursive=True) == depth + depth // 100 - 1
        assert await files.remove("file") == 1

    async def test_a_wide_tree(self, open_files: OpenFiles, planted: Path) -> None:
        for number in range(3000):
            (planted / "wide" / str(number)).mkdir(parents=True)
        hand_over(planted)
        async with open_files(FileSystemLimits(tree_entries=100, list_entries=50)) as files:
            listing = await files.list("wide")
            assert (len(listing.entries), listing.truncated) == (50, True)
            assert (await files.usage()).truncated
            with pytest.raises(LimitExceeded) as caught:
                await files.copy("wide", "copy")
            assert caught.value.limit == "tree_entries"
            assert await files.remove("wide", recursive=True) == 3001
            assert (await files.list()).entries == ()

    async def test_removing_a_tree_that_grows_ends(self, open_files: OpenFiles, planted: Path) -> None:
        (planted / "tree").mkdir()
        hand_over(planted)
        async with open_files(FileSystemLimits(tree_seconds=0.2)) as files:
            with growing(planted / "tree"):
                for _ in range(4):
                    try:
                        await files.remove("tree", recursive=True)
                    except (DirectoryNotEmpty, NotFound, LimitExceeded):
                        continue
        async with open_files() as files:
            await files.make_directory("tree", parents=True)
            assert await files.remove("tree", recursive=True) > 0
