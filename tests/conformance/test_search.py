"""Names and contents are found, and every bound that cut a search short is named."""

from pathlib import Path

import pytest

from tests.conformance.conftest import OpenFiles
from tests.conformance.filework import searched
from workstation.errors import InvalidArgument
from workstation.interface import FileSystem, FileSystemLimits, SearchEnd, SearchQuery

pytestmark = pytest.mark.usefixtures("nothing_blocks")


class TestSearch:
    async def test_contents(self, files: FileSystem) -> None:
        await files.write("notes/one.txt", "first\nDer Ärger\nlast ärger, ärger\n".encode(), parents=True)
        await files.write("two.md", b"nothing")
        hits, end = await searched(files, SearchQuery(text="ÄRGER"))
        assert [(hit.entry.path, hit.line, hit.text) for hit in hits] == [
            ("notes/one.txt", 2, "Der Ärger"),
            ("notes/one.txt", 3, "last ärger, ärger"),
        ]
        assert (end.entries, end.truncated) == (3, False)
        hits, _ = await searched(files, SearchQuery(text="ÄRGER", case_sensitive=True))
        assert hits == []
        hits, _ = await searched(files, SearchQuery(text="a.*r"))
        assert hits == []

    @pytest.mark.parametrize(
        ("glob", "found"),
        [
            ("*.TXT", {"a/b/one.txt", "two.txt"}),
            ("a/*", {"a/b"}),
            ("**/*.txt", {"a/b/one.txt", "two.txt"}),
            ("a/**", {"a/b", "a/b/one.txt"}),
            ("**/b/*", {"a/b/one.txt"}),
            ("/*", {"a", "two.txt"}),
            ("?", {"a", "a/b"}),
            ("[ot]*", {"a/b/one.txt", "two.txt"}),
        ],
    )
    async def test_names(self, files: FileSystem, glob: str, found: set[str]) -> None:
        await files.write("a/b/one.txt", b"", parents=True)
        await files.write("two.txt", b"")
        hits, _ = await searched(files, SearchQuery(name=glob))
        assert {hit.entry.path for hit in hits} == found

    async def test_below_a_directory_and_only_in_names_that_fit(self, files: FileSystem) -> None:
        for path in ("a/one.txt", "a/one.md", "b/one.txt"):
            await files.write(path, b"needle", parents=True)
        hits, _ = await searched(files, SearchQuery(text="needle", name="*.txt", path="a"))
        assert [hit.entry.path for hit in hits] == ["a/one.txt"]

    async def test_binary_files_are_skipped_and_counted(self, files: FileSystem) -> None:
        await files.write("binary", b"needle\0needle")
        await files.write("latin", b"\xe4 needle \xff")
        hits, end = await searched(files, SearchQuery(text="needle"))
        assert [(hit.entry.path, hit.text) for hit in hits] == [("latin", "\ufffd needle \ufffd")]
        assert (end.binary, end.truncated) == (1, False)

    async def test_lines_of_a_long_file_are_counted_across_blocks(self, files: FileSystem) -> None:
        lines = [f"line {number} {'x' * 50}\n" for number in range(1, 20_001)]
        await files.write("long", "".join(lines).encode())
        hits, _ = await searched(files, SearchQuery(text="line 19999 "))
        assert [(hit.line, hit.text[:10]) for hit in hits] == [(19_999, "line 19999")]

    async def test_a_line_of_megabytes_is_searched_and_cut(self, files: FileSystem) -> None:
        for block in range(13):  # at the start, and across each place where the line may be cut
            start = b"\n" + b"y" * max(0, block * (256 << 10) - 4)
            await files.write("long", start + b"needle" + b"z" * 2_000_000 + b"\nneedle", durable=False)
            hits, end = await searched(files, SearchQuery(text="needle"))
            assert [hit.line for hit in hits] == [2, 3], block
            assert len(hits[0].text) <= 240
            assert not end.truncated

    @pytest.mark.parametrize(
        "query", [SearchQuery(), SearchQuery(text="a\nb"), SearchQuery(text="x" * 1001), SearchQuery(text="x", limit=0)]
    )
    async def test_a_query_without_sense_is_refused(self, files: FileSystem, query: SearchQuery) -> None:
        with pytest.raises(InvalidArgument):
            await searched(files, query)

    async def test_every_bound_is_named(self, open_files: OpenFiles, planted: Path) -> None:
        for number in range(20):
            (planted / f"{number:02}").write_text("needle\n" * 10)
        (planted / "deep" / "er" / "still").mkdir(parents=True)

        async def cut(query: SearchQuery, limits: FileSystemLimits) -> tuple[int, SearchEnd]:
            async with open_files(limits) as files:
                hits, end = await searched(files, query)
                assert end.truncated
                return len(hits), end

        needle = SearchQuery(text="needle")
        assert (await cut(needle, FileSystemLimits(search_hits=15)))[0] == 15
        assert (await cut(SearchQuery(text="needle", limit=3), FileSystemLimits()))[0] == 3
        assert (await cut(needle, FileSystemLimits(tree_entries=5)))[1].cut_by == ("tree_entries",)
        assert (await cut(needle, FileSystemLimits(search_bytes=200)))[1].cut_by == ("search_bytes",)
        assert (await cut(needle, FileSystemLimits(search_seconds=0)))[1].cut_by == ("search_seconds",)
        assert (await cut(SearchQuery(name="*"), FileSystemLimits(tree_depth=2)))[1].cut_by == ("tree_depth",)
        hits, end = await cut(needle, FileSystemLimits(search_file_bytes=21))
        assert (hits, end.cut_files) == (60, 20)
