"""What jailed code may plant in a workspace leads nowhere, blocks nobody and breaks nothing."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from workstation.errors import (
    DirectoryNotEmpty,
    FileBusy,
    FileTooLarge,
    InvalidPath,
    LimitExceeded,
    NotFound,
    PathOutsideWorkspace,
    VersionConflict,
    WorkstationError,
    WrongKind,
)
from workstation.interface import ABSENT, EntryKind, FileSystem, FileSystemLimits, SearchEnd, SearchHit, SearchQuery
from workstation.local.files import LocalFileSystem

GIB = 1 << 30

type Adversary = Callable[..., AbstractContextManager[None]]
type Call = Callable[[FileSystem, str], Awaitable[object]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The workspace, beside an `outside` with a secret."""
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("secret")
    return tmp_path / "root"


@pytest.fixture
def outside(root: Path) -> Iterator[Path]:
    yield root.parent / "outside"
    assert {path.name: path.read_text() for path in (root.parent / "outside").iterdir()} == {"file": "secret"}


@pytest.fixture
async def jailed(root: Path) -> AsyncIterator[FileSystem]:
    async with LocalFileSystem(root) as opened:
        yield opened


async def streamed(files: FileSystem, path: str) -> bytes:
    return b"".join([piece async for piece in files.read(path)])


async def found_in(files: FileSystem, query: SearchQuery) -> tuple[list[SearchHit], SearchEnd]:
    *hits, end = [event async for event in files.search(query)]
    assert isinstance(end, SearchEnd)
    return [hit for hit in hits if isinstance(hit, SearchHit)], end


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
    "search": lambda files, path: found_in(files, SearchQuery(name="*", path=path)),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


class TestPaths:
    @every_call
    @pytest.mark.parametrize(
        "path", ["../outside/file", "a/../../outside/file", "/etc/passwd", "/", "..", r"\x2e\x2e/x"]
    )
    async def test_leading_out(self, jailed: FileSystem, outside: Path, call: Call, path: str) -> None:
        await jailed.write("here", b"")
        with pytest.raises(PathOutsideWorkspace):
            await call(jailed, path)

    @every_call
    @pytest.mark.parametrize(
        "path", ["", "a\0b", r"a\x00b", r"a\x2fb", "a\\", r"a\q", "x" * 256, "a/" * 3000 + "a", "\ud800", r"\Uffffffff"]
    )
    async def test_being_none(self, jailed: FileSystem, call: Call, path: str) -> None:
        await jailed.write("here", b"")
        with pytest.raises(WorkstationError) as caught:
            await call(jailed, path)
        assert isinstance(caught.value, InvalidPath)
        str(caught.value).encode()

    @every_call
    async def test_through_a_link_that_leads_out(
        self, jailed: FileSystem, root: Path, outside: Path, call: Call
    ) -> None:
        await jailed.write("here", b"")
        for target in ("../outside", str(outside)):
            (root / "link").unlink(missing_ok=True)
            (root / "link").symlink_to(target)
            with pytest.raises(PathOutsideWorkspace):
                await call(jailed, "link/file")


class TestLinks:
    async def test_a_link_out_is_listed_and_never_followed(self, jailed: FileSystem, root: Path, outside: Path) -> None:
        (root / "link").symlink_to("../outside/file")
        (root / "directory").symlink_to("../outside")
        assert [entry.target for entry in (await jailed.list()).entries] == ["../outside", "../outside/file"]
        assert (await jailed.stat("link")).target == "../outside/file"
        for call in (jailed.read_file("link"), streamed(jailed, "link"), jailed.list("directory")):
            with pytest.raises(PathOutsideWorkspace):
                await call
        hits, _ = await found_in(jailed, SearchQuery(text="secret"))
        assert hits == []
        assert (await jailed.copy("directory", "copy")).kind is EntryKind.SYMLINK
        assert await jailed.remove("directory", recursive=True) == 1

    async def test_changes_do_not_follow_a_link_at_the_end(self, jailed: FileSystem, root: Path, outside: Path) -> None:
        (root / "inside").write_text("old")
        (root / "in").symlink_to("inside")
        (root / "out").symlink_to("../outside/file")
        (root / "new").symlink_to("../outside/new")
        for path in ("in", "out", "new"):
            for call in (
                jailed.write(path, b"x"),
                jailed.append(path, b"x"),
                jailed.copy("inside", path, replace=True),
            ):
                with pytest.raises(WrongKind):
                    await call
        assert (root / "inside").read_text() == "old"

    async def test_links_in_circles_end(self, jailed: FileSystem, root: Path) -> None:
        (root / "a").symlink_to("b")
        (root / "b").symlink_to("a")
        (root / "self").symlink_to(".")
        with pytest.raises(InvalidPath):
            await jailed.read_file("a")
        _, end = await found_in(jailed, SearchQuery(name="*"))
        assert (end.entries, end.truncated) == (3, False)

    async def test_a_target_that_would_not_print_is_escaped(self, jailed: FileSystem, root: Path) -> None:
        (root / "link").symlink_to("a\n\u202eb")
        assert (await jailed.stat("link")).target == r"a\x0a\u202eb"

    @pytest.mark.parametrize("name", ["read", "write", "append", "make", "remove", "copy", "search"])
    async def test_a_directory_swapped_with_a_link_out(
        self, jailed: FileSystem, root: Path, outside: Path, swapping: Adversary, name: str
    ) -> None:
        (root / "real").mkdir()
        (root / "real" / "file").write_text("mine")
        (root / "planted").symlink_to("../outside")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "read": lambda: jailed.read_file("real/file"),
            "write": lambda: jailed.write("real/file", b"mine", durable=False),
            "append": lambda: jailed.append("real/file", b"", durable=False),
            "make": lambda: jailed.write("real/below/file", b"mine", parents=True, durable=False),
            "remove": lambda: jailed.remove("real/file"),
            "copy": lambda: jailed.copy("real", f"copy{len(list(root.iterdir()))}"),
            "search": lambda: found_in(jailed, SearchQuery(text="secret")),
        }
        outcomes = set()
        with swapping(root / "real", root / "planted"):
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
        for copied in root.glob("copy*/*"):
            assert copied.parent.is_symlink() or copied.read_text() == "mine"


class TestRaces:
    async def test_what_must_be_absent_replaces_nothing(
        self, jailed: FileSystem, root: Path, creating: Adversary
    ) -> None:
        written = 0
        with creating(root / "file", root / "overwritten"):
            for attempt in range(30_000):
                if attempt > 1000 and written > 50:
                    break
                try:
                    entry = await jailed.write("file", b"mine", expected_version=ABSENT, durable=False)
                except VersionConflict:
                    continue
                written += 1
                await jailed.remove("file", expected_version=entry.version)
        assert written > 0
        assert not (root / "overwritten").exists()


class TestSpecialFiles:
    @pytest.fixture(params=["fifo", "socket", "device"])
    def special(self, request: pytest.FixtureRequest, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        if request.param == "fifo":
            os.mkfifo(root / "special")
        elif request.param == "socket":
            monkeypatch.chdir(root)
            with socket.socket(socket.AF_UNIX) as planted:
                planted.bind("special")
        elif os.geteuid() != 0:
            pytest.skip("only root makes devices")
        else:
            os.mknod(root / "special", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero: reading it never ends
        return "special"

    async def test_is_seen_moved_and_removed_but_never_opened(self, jailed: FileSystem, special: str) -> None:
        assert (await jailed.stat(special)).kind is EntryKind.OTHER
        assert [entry.kind for entry in (await jailed.list()).entries] == [EntryKind.OTHER]
        for call in (
            jailed.read_file(special),
            streamed(jailed, special),
            jailed.write(special, b"x"),
            jailed.append(special, b"x"),
            jailed.copy(special, "copy"),
        ):
            with pytest.raises(WrongKind):
                await call
        hits, end = await found_in(jailed, SearchQuery(text="x"))
        assert (hits, end.bytes) == ([], 0)
        await jailed.move(special, "moved")
        assert await jailed.remove("moved") == 1

    async def test_a_file_swapped_with_a_fifo_blocks_nobody(
        self, jailed: FileSystem, root: Path, swapping: Adversary
    ) -> None:
        (root / "file").write_text("x" * 100)
        os.mkfifo(root / "planted")
        outcomes = set()
        with swapping(root / "file", root / "planted"):
            for _ in range(1500):
                try:
                    outcomes.add((await jailed.read_file("file")).data)
                    await jailed.append("file", b"", durable=False)
                except WrongKind:
                    outcomes.add(b"refused")
        assert outcomes == {b"x" * 100, b"refused"}

    async def test_a_lease_makes_nobody_wait(self, jailed: FileSystem, root: Path) -> None:
        (root / "file").write_text("x")
        holder = (
            "import fcntl, os, signal, sys\n"
            "signal.signal(signal.SIGIO, signal.SIG_IGN)\n"
            "fd = os.open(sys.argv[1], os.O_RDWR)\n"
            "fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n"
        )
        holding = await asyncio.create_subprocess_exec(
            sys.executable, "-c", holder, str(root / "file"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holding.stdout is not None
        assert await holding.stdout.readline() == b"held\n"
        for call in (jailed.read_file("file"), jailed.append("file", b"x")):
            with pytest.raises(FileBusy):
                await call
        hits, end = await found_in(jailed, SearchQuery(text="x"))
        assert (hits, end.unreadable, end.truncated) == ([], 1, True)
        await jailed.write("file", b"new")
        await holding.communicate()


class TestSizes:
    async def test_a_huge_sparse_file(self, jailed: FileSystem, root: Path) -> None:
        with (root / "huge").open("wb") as file:
            file.seek(1024 * GIB)
            file.write(b"end")
        assert (await jailed.stat("huge")).size == 1024 * GIB + 3
        for call in (
            jailed.read_file("huge"),
            streamed(jailed, "huge"),
            jailed.copy("huge", "copy"),
            jailed.append("huge", b"x"),
        ):
            with pytest.raises(FileTooLarge):
                await call
        assert (await jailed.read_file("huge", offset=1024 * GIB, length=1 << 62)).data == b"end"
        assert (await jailed.read_file("huge", offset=(1 << 63) - 1, length=5)).data == b""
        _, end = await found_in(jailed, SearchQuery(text="end"))
        assert end.binary == 1
        assert (await jailed.usage()).bytes < 1 << 20
        assert [entry.name for entry in (await jailed.list()).entries] == ["huge"]

    async def test_holes_stay_holes_in_a_copy(self, jailed: FileSystem, root: Path) -> None:
        with (root / "sparse").open("wb") as file:
            file.write(b"start")
            file.seek(GIB)
            file.write(b"middle")
            file.truncate(2 * GIB)
        copy = await jailed.copy("sparse", "copy")
        assert (copy.size, copy.allocated < 1 << 20) == (2 * GIB, True)
        assert (await jailed.read_file("copy", length=6)).data == b"start\0"
        assert (await jailed.read_file("copy", offset=GIB, length=7)).data == b"middle\0"

    async def test_a_file_that_shrinks_while_it_streams(self, jailed: FileSystem, root: Path) -> None:
        (root / "file").write_bytes(b"x" * (3 << 20))
        stream = jailed.read("file")
        await anext(stream)
        os.truncate(root / "file", 10)
        with pytest.raises(FileBusy):
            await anext(stream)

    async def test_a_file_that_grows_while_it_streams_ends(self, jailed: FileSystem, root: Path) -> None:
        (root / "file").write_bytes(b"x" * (2 << 20))
        size = 0
        async for piece in jailed.read("file"):
            size += len(piece)
            with (root / "file").open("ab") as file:
                file.write(b"x" * (2 << 20))
        assert size == 2 << 20

    async def test_times_that_no_calendar_has(self, jailed: FileSystem, root: Path) -> None:
        (root / "file").touch()
        for seconds in (-(1 << 62), (1 << 62), -1):
            os.utime(root / "file", (seconds, seconds))
            assert abs((await jailed.stat("file")).modified_ns) < 1 << 63


class TestHardLinks:
    async def test_a_write_parts_from_the_other_name(self, jailed: FileSystem, root: Path, outside: Path) -> None:
        os.link(outside / "file", root / "file")
        assert (await jailed.stat("file")).links == 2
        await jailed.write("file", b"mine")
        assert (await jailed.stat("file")).links == 1

    async def test_moving_a_name_onto_another_of_the_same_file(self, jailed: FileSystem, root: Path) -> None:
        (root / "a").write_text("x")
        os.link(root / "a", root / "b")
        await jailed.move("a", "b", replace=True)
        assert [entry.name for entry in (await jailed.list()).entries] == ["b"]
        await jailed.move("b", "b", replace=True)
        assert [entry.name for entry in (await jailed.list()).entries] == ["b"]

    async def test_usage_counts_a_file_once(self, jailed: FileSystem, root: Path) -> None:
        (root / "a").write_bytes(b"x" * 100_000)
        for number in range(10):
            os.link(root / "a", root / f"b{number}")
        assert (await jailed.usage()).bytes < 200_000


class TestNames:
    NAMES = (
        b"line\nbreak",
        b"\x1b[31mred",
        b"\xff\xfe not utf-8",
        "rtl \u202e txt.exe".encode(),
        b"back\\slash",
        b"-rf",
        b"~",
        b" ",
    )

    async def test_any_name_is_shown_safely_and_usable(self, jailed: FileSystem, root: Path) -> None:
        for name in self.NAMES:
            Path(os.fsdecode(bytes(root) + b"/" + name)).write_text("content")
        entries = (await jailed.list()).entries
        assert len(entries) == len(self.NAMES)
        hits, _ = await found_in(jailed, SearchQuery(text="content"))
        assert {hit.entry.path for hit in hits} == {entry.path for entry in entries}
        for entry in entries:
            assert entry.path.isprintable()
            assert entry.path.encode()
            assert await jailed.stat(entry.path) == entry
            assert (await jailed.read_file(entry.path)).data == b"content"
            await jailed.append(entry.path, b"!", durable=False)
            await jailed.move(entry.path, entry.path + "2")
            await jailed.remove(entry.path + "2")
        assert (await jailed.list()).entries == ()

    async def test_pages_go_on_after_any_name(self, jailed: FileSystem, root: Path) -> None:
        for name in self.NAMES:
            Path(os.fsdecode(bytes(root) + b"/" + name)).touch()
        seen: list[str] = []
        while (page := await jailed.list(after=seen[-1] if seen else "", limit=1)).entries:
            seen += [entry.name for entry in page.entries]
        assert len(seen) == len(set(seen)) == len(self.NAMES)


class TestTrees:
    def plant(self, root: Path, depth: int, name: str) -> None:
        fd = os.open(root, os.O_PATH)
        for level in range(depth):
            os.mkdir(name, dir_fd=fd)
            if level % 100 == 0:
                os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
            below = os.open(name, os.O_PATH, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)

    @pytest.mark.parametrize(("depth", "name"), [(1000, "d" * 200), (5000, "d")])
    async def test_a_tree_deeper_than_any_path(self, jailed: FileSystem, root: Path, depth: int, name: str) -> None:
        self.plant(root, depth, name)
        try:
            _, end = await found_in(jailed, SearchQuery(name="file"))
            assert end.truncated
            assert (await jailed.usage()).truncated
            with pytest.raises(LimitExceeded):
                await jailed.copy(name, "copy")
            assert [entry.name for entry in (await jailed.list()).entries] == [name, "file"]
        finally:
            assert await jailed.remove(name, recursive=True) == depth + depth // 100 - 1
        assert await jailed.remove("file") == 1

    async def test_removing_needs_few_descriptors(self, root: Path) -> None:
        self.plant(root, 1000, "d" * 200)
        script = (
            "import asyncio, resource, sys\n"
            "from workstation.local.files import LocalFileSystem\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
            "async def main():\n"
            "    async with LocalFileSystem(sys.argv[1]) as files:\n"
            "        print(await files.remove('d' * 200, recursive=True))\n"
            "asyncio.run(main())\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", script, str(root)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[3],
            timeout=60,
        )
        assert ran.stdout == "1009\n", ran.stderr

    async def test_a_wide_tree(self, root: Path) -> None:
        for number in range(3000):
            (root / "wide" / str(number)).mkdir(parents=True)
        async with LocalFileSystem(root, limits=FileSystemLimits(tree_entries=100, list_entries=50)) as files:
            listing = await files.list("wide")
            assert (len(listing.entries), listing.truncated) == (50, True)
            assert (await files.usage()).truncated
            with pytest.raises(LimitExceeded) as caught:
                await files.copy("wide", "copy")
            assert caught.value.limit == "tree_entries"
            assert await files.remove("wide", recursive=True) == 3001
            assert (await files.list()).entries == ()

    async def test_removing_a_tree_that_grows_ends(self, root: Path, growing: Adversary) -> None:
        (root / "tree").mkdir()
        async with LocalFileSystem(root, limits=FileSystemLimits(tree_seconds=0.2)) as files:
            with growing(root / "tree"):
                for _ in range(4):
                    try:
                        await files.remove("tree", recursive=True)
                    except (DirectoryNotEmpty, NotFound, LimitExceeded):
                        continue
        async with LocalFileSystem(root) as files:
            await files.make_directory("tree", parents=True)
            assert await files.remove("tree", recursive=True) > 0

    async def test_a_locked_tree_is_removed_by_its_owner(self, short_directory: Path) -> None:
        root = short_directory / "root"
        (root / "locked" / "below").mkdir(parents=True)
        (root / "locked" / "below" / "file").touch()
        script = (
            "import asyncio, concurrent.futures.thread, os, sys\n"
            "from workstation.local.files import LocalFileSystem\n"
            "if os.geteuid() == 0:\n"
            "    os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
            "root = os.open(sys.argv[1], os.O_PATH)\n"
            "os.chmod('locked/below', 0, dir_fd=root)\n"
            "os.chmod('locked', 0, dir_fd=root)\n"
            "async def main():\n"
            "    async with LocalFileSystem(sys.argv[1]) as files:\n"
            "        print(await files.remove('locked', recursive=True))\n"
            "asyncio.run(main())\n"
        )
        if os.geteuid() == 0:
            for path in (root, *root.rglob("*")):
                os.chown(path, 65534, 65534)
        ran = subprocess.run(
            [sys.executable, "-c", script, str(root)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[3],
            timeout=60,
        )
        assert ran.stdout == "3\n", ran.stderr
