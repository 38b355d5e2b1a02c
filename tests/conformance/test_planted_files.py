"""What jailed code may plant in a workspace blocks nobody and breaks nothing."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.adversaries import hand_over, swapping
from tests.conformance.filework import searched, streamed
from workstation.errors import FileBusy, FileTooLarge, WrongKind
from workstation.interface import EntryKind, FileSystem, SearchQuery

GIB = 1 << 30

pytestmark = pytest.mark.usefixtures("nothing_blocks")


class TestSpecialFiles:
    @pytest.fixture(params=["fifo", "socket", *(["device"] if os.geteuid() == 0 else [])])
    def special(self, request: pytest.FixtureRequest, planted: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        if request.param == "fifo":
            os.mkfifo(planted / "special")
        elif request.param == "socket":
            monkeypatch.chdir(planted)
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind("special")
        else:
            os.mknod(planted / "special", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero: reading it never ends
        return "special"

    async def test_is_seen_moved_and_removed_but_never_opened(self, files: FileSystem, special: str) -> None:
        assert (await files.stat(special)).kind is EntryKind.OTHER
        assert [entry.kind for entry in (await files.list()).entries] == [EntryKind.OTHER]
        for call in (
            files.read_file(special),
            streamed(files, special),
            files.write(special, b"x"),
            files.append(special, b"x"),
            files.copy(special, "copy"),
        ):
            with pytest.raises(WrongKind):
                await call
        hits, end = await searched(files, SearchQuery(text="x"))
        assert (hits, end.bytes) == ([], 0)
        await files.move(special, "moved")
        assert await files.remove("moved") == 1

    async def test_a_file_swapped_with_a_fifo_blocks_nobody(self, files: FileSystem, planted: Path) -> None:
        (planted / "file").write_text("x" * 100)
        os.mkfifo(planted / "planted")
        hand_over(planted)
        outcomes = set()
        with swapping(planted / "file", planted / "planted"):
            for _ in range(1500):
                try:
                    outcomes.add((await files.read_file("file")).data)
                    await files.append("file", b"", durable=False)
                except WrongKind:
                    outcomes.add(b"refused")
        assert outcomes == {b"x" * 100, b"refused"}

    async def test_a_lease_makes_nobody_wait(self, files: FileSystem, planted: Path) -> None:
        (planted / "file").write_text("x")
        hand_over(planted)
        holder = (
            "import fcntl, os, signal, sys\n"
            "signal.signal(signal.SIGIO, signal.SIG_IGN)\n"
            "fd = os.open(sys.argv[1], os.O_RDWR)\n"
            "fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n"
        )
        holding = await asyncio.create_subprocess_exec(
            sys.executable, "-c", holder, str(planted / "file"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holding.stdout is not None
        assert await holding.stdout.readline() == b"held\n"
        for call in (files.read_file("file"), files.append("file", b"x")):
            with pytest.raises(FileBusy):
                await call
        hits, end = await searched(files, SearchQuery(text="x"))
        assert (hits, end.unreadable, end.truncated) == ([], 1, True)
        await files.write("file", b"new")
        await holding.communicate()


class TestSizes:
    async def test_a_huge_sparse_file(self, files: FileSystem, planted: Path) -> None:
        with (planted / "huge").open("wb") as file:
            file.seek(1024 * GIB)
            file.write(b"end")
        hand_over(planted)
        assert (await files.stat("huge")).size == 1024 * GIB + 3
        for call in (
            files.read_file("huge"),
            streamed(files, "huge"),
            files.copy("huge", "copy"),
            files.append("huge", b"x"),
        ):
            with pytest.raises(FileTooLarge):
                await call
        assert (await files.read_file("huge", offset=1024 * GIB, length=1 << 62)).data == b"end"
        assert (await files.read_file("huge", offset=(1 << 63) - 1, length=5)).data == b""
        _, end = await searched(files, SearchQuery(text="end"))
        assert end.binary == 1
        assert (await files.usage()).bytes < 1 << 20
        assert [entry.name for entry in (await files.list()).entries] == ["huge"]

    async def test_holes_stay_holes_in_a_copy(self, files: FileSystem, planted: Path) -> None:
        with (planted / "sparse").open("wb") as file:
            file.write(b"start")
            file.seek(GIB)
            file.write(b"middle")
            file.truncate(2 * GIB)
        copy = await files.copy("sparse", "copy")
        assert (copy.size, copy.allocated < 1 << 20) == (2 * GIB, True)
        assert (await files.read_file("copy", length=6)).data == b"start\0"
        assert (await files.read_file("copy", offset=GIB, length=7)).data == b"middle\0"

    async def test_a_file_that_shrinks_while_it_streams(self, files: FileSystem, planted: Path) -> None:
        (planted / "file").touch()
        os.truncate(planted / "file", 256 << 20)  # more than may be on its way already
        stream = files.read("file")
        await anext(stream)
        os.truncate(planted / "file", 10)
        with pytest.raises(FileBusy):
            assert [piece async for piece in stream]

    async def test_a_file_that_grows_while_it_streams_ends(self, files: FileSystem, planted: Path) -> None:
        (planted / "file").write_bytes(b"x" * (2 << 20))
        size = 0
        async for piece in files.read("file"):
            size += len(piece)
            with (planted / "file").open("ab") as file:
                file.write(b"x" * (2 << 20))
        assert size == 2 << 20

    async def test_times_that_no_calendar_has(self, files: FileSystem, planted: Path) -> None:
        (planted / "file").touch()
        for seconds in (-(1 << 62), (1 << 62), -1):
            os.utime(planted / "file", (seconds, seconds))
            assert abs((await files.stat("file")).modified_ns) < 1 << 63


class TestHardLinks:
    async def test_a_write_parts_from_the_other_name(self, files: FileSystem, planted: Path, outside: Path) -> None:
        os.link(outside / "file", planted / "file")
        assert (await files.stat("file")).links == 2
        await files.write("file", b"mine")
        assert (await files.stat("file")).links == 1

    async def test_moving_a_name_onto_another_of_the_same_file(self, files: FileSystem, planted: Path) -> None:
        (planted / "a").write_text("x")
        os.link(planted / "a", planted / "b")
        await files.move("a", "b", replace=True)
        assert [entry.name for entry in (await files.list()).entries] == ["b"]
        await files.move("b", "b", replace=True)
        assert [entry.name for entry in (await files.list()).entries] == ["b"]

    async def test_usage_counts_a_file_once(self, files: FileSystem, planted: Path) -> None:
        (planted / "a").write_bytes(b"x" * 100_000)
        for number in range(10):
            os.link(planted / "a", planted / f"b{number}")
        assert (await files.usage()).bytes < 200_000


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

    async def test_any_name_is_shown_safely_and_usable(self, files: FileSystem, planted: Path) -> None:
        for name in self.NAMES:
            Path(os.fsdecode(bytes(planted) + b"/" + name)).write_text("content")
        hand_over(planted)
        entries = (await files.list()).entries
        assert len(entries) == len(self.NAMES)
        hits, _ = await searched(files, SearchQuery(text="content"))
        assert {hit.entry.path for hit in hits} == {entry.path for entry in entries}
        for entry in entries:
            assert entry.path.isprintable()
            assert entry.path.encode()
            assert await files.stat(entry.path) == entry
            assert (await files.read_file(entry.path)).data == b"content"
            await files.append(entry.path, b"!", durable=False)
            await files.move(entry.path, entry.path + "2")
            await files.remove(entry.path + "2")
        assert (await files.list()).entries == ()

    async def test_pages_go_on_after_any_name(self, files: FileSystem, planted: Path) -> None:
        for name in self.NAMES:
            Path(os.fsdecode(bytes(planted) + b"/" + name)).touch()
        seen: list[str] = []
        while (page := await files.list(after=seen[-1] if seen else "", limit=1)).entries:
            seen += [entry.name for entry in page.entries]
        assert len(seen) == len(set(seen)) == len(self.NAMES)
