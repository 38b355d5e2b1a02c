"""LocalFileSystem does what the FileSystem contract says."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from workstation.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    FileTooLarge,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    QuotaExceeded,
    Unsupported,
    VersionConflict,
    WorkstationUnavailable,
    WrongKind,
)
from workstation.interface import (
    ABSENT,
    Entry,
    EntryKind,
    FileSystem,
    FileSystemLimits,
    QuotaKind,
    SearchEnd,
    SearchHit,
    SearchQuery,
)
from workstation.local.files import LocalFileSystem

MIB = 1 << 20


@pytest.fixture(autouse=True)
def files_block_nothing() -> Iterator[None]:
    """No method here blocks the event loop, not even for a moment that elsewhere is forgiven."""
    detector = BlockBuster(["workstation"])
    for name in [name for name in detector.functions if name.startswith("threading.Lock.")]:
        del detector.functions[name]
    detector.activate()
    yield
    detector.deactivate()


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[FileSystem]:
    async with LocalFileSystem(tmp_path) as opened:
        yield opened


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def text_of(files: FileSystem, path: str) -> str:
    return (await files.read_file(path)).data.decode()


async def names_in(files: FileSystem, path: str = ".") -> list[str]:
    return [entry.name for entry in (await files.list(path)).entries]


async def searched(files: FileSystem, query: SearchQuery) -> tuple[list[SearchHit], SearchEnd]:
    *hits, end = [event async for event in files.search(query)]
    assert isinstance(end, SearchEnd)
    return [hit for hit in hits if isinstance(hit, SearchHit)], end


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class TestOpening:
    async def test_capabilities_say_what_works_and_its_limits(self, tmp_path: Path) -> None:
        limits = FileSystemLimits(list_entries=7)
        async with LocalFileSystem(tmp_path, limits=limits) as files:
            capabilities = await files.capabilities()
        assert (capabilities.watch, capabilities.quota, capabilities.limits) == (False, QuotaKind.NONE, limits)

    async def test_a_missing_root_is_unavailable(self, tmp_path: Path) -> None:
        with pytest.raises(WorkstationUnavailable, match="missing"):
            async with LocalFileSystem(tmp_path / "missing"):
                pass

    async def test_closed_files_refuse_and_hold_no_descriptor(self, tmp_path: Path) -> None:
        before = descriptors()
        async with LocalFileSystem(tmp_path) as files:
            await files.write("a", b"a")
        assert descriptors() == before
        with pytest.raises(WorkstationUnavailable):
            await files.stat("a")

    async def test_closing_ends_what_runs(self, tmp_path: Path) -> None:
        for number in range(300):
            (tmp_path / f"{number}").write_bytes(b"x" * 1000)
        async with LocalFileSystem(tmp_path) as files:
            running = asyncio.ensure_future(searched(files, SearchQuery(text="y")))
            await asyncio.sleep(0)
        with pytest.raises(WorkstationUnavailable):
            await running

    async def test_watching_is_not_supported(self, files: FileSystem) -> None:
        with pytest.raises(Unsupported):
            await anext(files.watch())


class TestReading:
    async def test_stat_describes_each_kind(self, files: FileSystem, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"12345")
        (tmp_path / "file").chmod(0o640)
        (tmp_path / "directory").mkdir()
        (tmp_path / "link").symlink_to("nowhere")
        os.mkfifo(tmp_path / "fifo")
        file = await files.stat("file")
        assert (file.path, file.kind, file.size, file.mode, file.links) == ("file", EntryKind.FILE, 5, 0o640, 1)
        assert file.modified_ns == (tmp_path / "file").stat().st_mtime_ns
        assert (await files.stat("directory")).kind is EntryKind.DIRECTORY
        link = await files.stat("link")
        assert (link.kind, link.target) == (EntryKind.SYMLINK, "nowhere")
        assert (await files.stat("fifo")).kind is EntryKind.OTHER
        assert (await files.stat(".")).path == "."

    async def test_what_is_missing_is_not_found(self, files: FileSystem) -> None:
        for call in (files.stat("no"), files.read_file("no/no"), files.list("no"), files.remove("no")):
            with pytest.raises(NotFound) as caught:
                await call
            assert caught.value.path.startswith("no")

    async def test_ranges(self, files: FileSystem, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"0123456789")
        middle = await files.read_file("file", offset=3, length=4)
        assert (middle.data, middle.offset, middle.ends) == (b"3456", 3, False)
        end = await files.read_file("file", offset=8, length=100)
        assert (end.data, end.ends) == (b"89", True)
        assert (await files.read_file("file", offset=99)).data == b""
        assert b"".join([piece async for piece in files.read("file", offset=1, length=2)]) == b"12"
        for offset, length in ((-1, None), (0, -1)):
            with pytest.raises(InvalidArgument):
                await files.read_file("file", offset=offset, length=length)

    async def test_more_than_the_limit_is_refused_but_streams(self, tmp_path: Path) -> None:
        limits = FileSystemLimits(read_bytes=1000, chunk_bytes=300)
        (tmp_path / "file").write_bytes(bytes(range(256)) * 5)
        async with LocalFileSystem(tmp_path, limits=limits) as files:
            with pytest.raises(FileTooLarge) as caught:
                await files.read_file("file")
            assert caught.value.allowed == 1000
            assert len((await files.read_file("file", length=1000)).data) == 1000
            sizes = [len(piece) async for piece in files.read("file")]
        assert (sum(sizes), max(sizes)) == (1280, 300)

    async def test_a_stream_left_early_holds_no_descriptor(self, files: FileSystem, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * 3 * MIB)
        before = descriptors()
        async with aclosing(files.read("file")) as stream:
            assert len(await anext(stream)) == MIB
        assert descriptors() == before

    async def test_a_version_that_is_not_the_expected_one(self, files: FileSystem) -> None:
        first = await files.write("file", b"first")
        assert (await files.read_file("file", expected_version=first.version)).data == b"first"
        second = await files.write("file", b"again")
        with pytest.raises(VersionConflict) as caught:
            await files.read_file("file", expected_version=first.version)
        assert (caught.value.expected, caught.value.actual) == (first.version, second.version)

    async def test_a_file_changed_while_it_streams_is_noticed(self, files: FileSystem, tmp_path: Path) -> None:
        version = (await files.write("file", b"x" * 3 * MIB)).version
        stream = files.read("file", expected_version=version)
        for _ in range(3):
            await anext(stream)
        os.utime(tmp_path / "file", ns=(1, 1))
        with pytest.raises(VersionConflict):
            await anext(stream)

    async def test_listing_in_pages(self, files: FileSystem, tmp_path: Path) -> None:
        for name in "edcba":
            (tmp_path / name).touch()
        first = await files.list(limit=2)
        assert ([entry.name for entry in first.entries], first.truncated) == (["a", "b"], True)
        rest = await files.list(after="b", limit=3)
        assert ([entry.name for entry in rest.entries], rest.truncated) == (["c", "d", "e"], False)
        for limit in (0, 10_001):
            with pytest.raises(InvalidArgument):
                await files.list(limit=limit)
        with pytest.raises(WrongKind):
            await files.list("a")

    async def test_links_inside_are_read_through(self, files: FileSystem, tmp_path: Path) -> None:
        (tmp_path / "directory").mkdir()
        (tmp_path / "directory" / "file").write_text("found")
        (tmp_path / "link").symlink_to("directory/file")
        (tmp_path / "below").symlink_to("directory")
        assert await text_of(files, "link") == "found"
        assert await text_of(files, "below/file") == "found"
        assert await names_in(files, "below") == ["file"]


class TestWriting:
    async def test_what_was_written_is_read(self, files: FileSystem) -> None:
        entry = await files.write("file", b"content")
        assert entry == await files.stat("file")
        assert await files.read_file("file") == (await files.read_file("file", expected_version=entry.version))
        assert await text_of(files, "file") == "content"

    @pytest.mark.parametrize("sizes", [(0,), (), (1,) * 5000, (3 * MIB + 1, 5), (5, 3 * MIB)])
    async def test_streams_of_any_pieces(self, files: FileSystem, sizes: tuple[int, ...]) -> None:
        content = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
        entry = await files.write("file", pieces(*content), durable=False)
        assert entry.size == sum(sizes)
        assert b"".join([piece async for piece in files.read("file")]) == b"".join(content)

    async def test_parents_are_made_when_asked(self, files: FileSystem) -> None:
        with pytest.raises(NotFound):
            await files.write("a/b/file", b"")
        await files.write("a/b/file", b"1", parents=True)
        await files.append("a/c/file", b"2", parents=True)
        assert await names_in(files, "a") == ["b", "c"]

    async def test_permission_bits_stay(self, files: FileSystem, tmp_path: Path) -> None:
        await files.write("script", b"1")
        (tmp_path / "script").chmod(0o4755)
        assert (await files.write("script", b"2")).mode == 0o755
        assert (tmp_path / "script").stat().st_mode & 0o7777 == 0o755

    async def test_only_the_expected_version_is_replaced(self, files: FileSystem) -> None:
        first = await files.write("file", b"1", expected_version=ABSENT)
        await files.write("file", b"2", expected_version=first.version)
        for stale in (first.version, ABSENT, "nonsense"):
            with pytest.raises(VersionConflict):
                await files.write("file", b"3", expected_version=stale)
            with pytest.raises(VersionConflict):
                await files.write("file", pieces(b"3"), expected_version=stale)
        with pytest.raises(VersionConflict) as caught:
            await files.write("missing", b"3", expected_version=first.version)
        assert caught.value.actual is None
        assert await text_of(files, "file") == "2"
        assert await names_in(files) == ["file"]

    async def test_of_many_writers_with_one_version_one_wins(self, files: FileSystem) -> None:
        version: str = ABSENT
        for _ in range(10):
            writes = [files.write("file", b"%d" % n, expected_version=version, durable=False) for n in range(12)]
            results = await asyncio.gather(*writes, return_exceptions=True)
            won = [result for result in results if isinstance(result, Entry)]
            assert len(won) == 1
            assert all(isinstance(result, VersionConflict) for result in results if result not in won)
            version = won[0].version

    async def test_readers_see_the_old_or_the_new(self, files: FileSystem) -> None:
        async def write_many() -> None:
            for number in range(60):
                await files.write("file", b"ab"[number % 2 : number % 2 + 1] * MIB, durable=False)

        await files.write("file", b"a" * MIB)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(write_many())
            while not writing.done():
                data = (await files.read_file("file")).data
                assert len(data) == MIB
                assert len(set(data)) == 1

    async def test_content_that_fails_changes_nothing(self, files: FileSystem) -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield b"x" * 2 * MIB
            raise RuntimeError("the source broke")

        await files.write("file", b"old")
        before = descriptors()
        with pytest.raises(RuntimeError, match="the source broke"):
            await files.write("file", failing())
        assert (await names_in(files), await text_of(files, "file"), descriptors()) == (["file"], "old", before)

    async def test_a_cancelled_write_changes_nothing(self, files: FileSystem) -> None:
        begun = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * MIB
                begun.set()

        before = descriptors()
        writing = asyncio.ensure_future(files.write("file", endless()))
        await begun.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert (await names_in(files), descriptors()) == ([], before)

    async def test_a_file_beyond_the_limit_is_refused(self, tmp_path: Path) -> None:
        async with LocalFileSystem(tmp_path, limits=FileSystemLimits(file_bytes=100, chunk_bytes=60)) as files:
            await files.write("file", b"x" * 100)
            for content in (b"x" * 101, pieces(b"x" * 60, b"x" * 60)):
                with pytest.raises(FileTooLarge):
                    await files.write("other", content)
            with pytest.raises(FileTooLarge):
                await files.append("file", b"x")
            with pytest.raises(LimitExceeded) as caught:
                await files.append("file", b"x" * 61)
            assert (caught.value.limit, caught.value.allowed) == ("chunk_bytes", 60)
            assert await names_in(files) == ["file"]

    async def test_appends_of_many_all_arrive_whole(self, files: FileSystem) -> None:
        lines = [f"{number:04} {'x' * 200}\n".encode() for number in range(100)]
        await asyncio.gather(*(files.append("log", line, durable=False) for line in lines))
        written = (await files.read_file("log")).data.splitlines(keepends=True)
        assert sorted(written) == lines


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
        for source, target, error in (("no", "x", NotFound), ("b", "no/x", NotFound), ("c", "c", AlreadyExists)):
            with pytest.raises(error):
                await files.move(source, target)

    async def test_a_directory_takes_only_an_empty_ones_place(self, files: FileSystem) -> None:
        await files.write("full/file", b"", parents=True)
        await files.make_directory("empty")
        await files.make_directory("other")
        with pytest.raises(DirectoryNotEmpty):
            await files.move("other", "full", replace=True)
        await files.move("full", "empty", replace=True)
        assert await names_in(files, "empty") == ["file"]

    async def test_copy(self, files: FileSystem, tmp_path: Path) -> None:
        await files.write("a/b/file", b"1", parents=True)
        (tmp_path / "a" / "b" / "file").chmod(0o750)
        (tmp_path / "a" / "link").symlink_to("b/file")
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

    async def test_a_copy_that_fails_leaves_nothing(self, files: FileSystem, tmp_path: Path) -> None:
        await files.write("a/b/file", b"1", parents=True)
        os.mkfifo(tmp_path / "a" / "z")
        with pytest.raises(WrongKind) as caught:
            await files.copy("a", "copy")
        assert caught.value.path == "a/z"
        assert await names_in(files) == ["a"]

    async def test_remove(self, files: FileSystem, tmp_path: Path) -> None:
        await files.write("a/b/file", b"1", parents=True)
        await files.write("other/file", b"2", parents=True)
        (tmp_path / "link").symlink_to("a")
        (tmp_path / "a" / "link").symlink_to("../other")
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

    async def test_every_bound_is_named(self, tmp_path: Path) -> None:
        for number in range(20):
            (tmp_path / f"{number:02}").write_text("needle\n" * 10)
        (tmp_path / "deep" / "er" / "still").mkdir(parents=True)

        async def cut(query: SearchQuery, limits: FileSystemLimits) -> tuple[int, SearchEnd]:
            async with LocalFileSystem(tmp_path, limits=limits) as files:
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


class TestQuota:
    async def test_without_a_quota_usage_is_counted(self, files: FileSystem) -> None:
        await files.write("a/file", b"x" * 10_000, parents=True)
        usage = await files.usage()
        assert (usage.entries, usage.quota, usage.quota_bytes, usage.truncated) == (2, QuotaKind.NONE, None, False)
        assert 10_000 <= usage.bytes <= 40_000
        assert usage.available_bytes > 0

    async def test_what_does_not_fit_is_refused_and_removing_makes_room(self, tmp_path: Path) -> None:
        async with LocalFileSystem(tmp_path, quota_bytes=MIB) as files:
            assert (await files.usage()).quota is QuotaKind.ADVISORY
            await files.write("a", b"x" * 700_000)
            for call in (
                files.write("b", b"x" * 700_000),
                files.write("b", pieces(b"x" * 300_000, b"x" * 400_000)),
                files.append("a", b"x" * 700_000),
                files.copy("a", "b"),
            ):
                with pytest.raises(QuotaExceeded):
                    await call
            assert await names_in(files) == ["a"]
            await files.remove("a")
            await files.write("b", b"x" * 700_000)

    async def test_what_others_wrote_counts(self, tmp_path: Path) -> None:
        async with LocalFileSystem(tmp_path, quota_bytes=MIB) as files:
            (tmp_path / "jailed").write_bytes(b"x" * 900_000)
            with pytest.raises(QuotaExceeded):
                await files.write("a", b"x" * 300_000)
            (tmp_path / "jailed").unlink()
            await files.write("a", b"x" * 300_000)
