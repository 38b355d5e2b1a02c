"""Programs and FileSystem share one workspace: each can use what the other made, and neither can be led out by it."""

import itertools
import os
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.conformance.conftest import OpenFiles
from tests.conformance.filework import names_in, searched, text_of
from tests.conformance.programs import fresh_id, heard, printed, run, start, start_python
from workstation.errors import (
    FileBusy,
    FileSystemError,
    FileTooLarge,
    InvalidArgument,
    InvalidPath,
    LimitExceeded,
    NotFound,
    PathOutsideWorkspace,
    WrongKind,
)
from workstation.interface import Compute, EntryKind, ExecSpec, FileSystem, SearchQuery

SWAP = """
    import ctypes, os, sys
    renameat2 = ctypes.CDLL(None).renameat2
    first, second = map(os.fsencode, sys.argv[1:])
    print("begun", flush=True)
    while True:
        renameat2(-100, first, -100, second, 2)  # RENAME_EXCHANGE
"""
HOSTILE_NAMES = (
    b"line\nbreak",
    b"\x1b[31mred",
    b"\xff\xfe",
    "rtl \u202e txt.exe".encode(),
    b"back\\slash",
    b"-rf",
    b" ",
)


class TestSharing:
    async def test_programs_change_what_files_wrote(self, compute: Compute, files: FileSystem) -> None:
        await files.write("a/file", b"1\n", parents=True)
        await files.append("a/log", b"1\n")
        await files.make_directory("a/empty")
        await files.copy("a", "copied")
        await files.move("copied", "moved")
        script = """
            for place in a moved; do
                echo 2 >> $place/file && echo 2 >> $place/log && echo new > $place/new && rmdir $place/empty || exit 1
                chmod 600 $place/file && mv $place/log $place/renamed && rm $place/new || exit 1
            done
        """
        assert (await run(compute, "sh", "-c", script)).end.exit_code == 0
        assert await text_of(files, "a/file") == await text_of(files, "moved/renamed") == "1\n2\n"

    async def test_files_change_what_programs_wrote(self, compute: Compute, files: FileSystem) -> None:
        script = (
            "umask 077; mkdir -p a/b; echo 1 > a/file; echo 1 > a/b/file; chmod 400 a/file; mkdir full; touch full/x"
        )
        await run(compute, "sh", "-c", script)
        assert await text_of(files, "a/file") == "1\n"
        await files.append("a/b/file", b"2\n")
        await files.write("a/file", b"2\n")
        await files.move("a/b", "a/c")
        await files.remove("full", recursive=True)
        assert (await run(compute, "cat", "a/file", "a/c/file")).text == "2\n1\n2\n"
        assert await names_in(files) == ["a"]

    async def test_a_replaced_file_stays_the_programs(self, compute: Compute, files: FileSystem) -> None:
        await run(compute, "sh", "-c", "printf '#!/bin/sh\\necho one\\n' > script; chmod 750 script")
        await files.write("script", b"#!/bin/sh\necho two\n")
        assert (await run(compute, "./script")).text == "two\n"
        assert (await run(compute, "sh", "-c", "echo '#' >> script && chmod 700 script")).end.exit_code == 0

    async def test_a_change_is_seen_at_once(self, compute: Compute, files: FileSystem) -> None:
        source = "import sys\nfor line in sys.stdin: print(open(line.strip()).read(), flush=True)"
        exec_id = await start_python(compute, source, stdin=True)
        offset = 0
        for number in range(5):
            await files.write("file", b"content %d" % number)
            offset = await compute.write_stdin(exec_id, b"file\n", offset=offset)
            await heard(compute, exec_id, b"content %d" % number)

    async def test_a_working_directory_may_vanish(self, compute: Compute, files: FileSystem) -> None:
        await files.make_directory("gone")
        exec_id = await start(compute, "sh", "-c", "echo here; read line; ls; echo fine", cwd="gone", stdin=True)
        await heard(compute, exec_id, b"here")
        await files.remove("gone")
        await compute.write_stdin(exec_id, b"\n", offset=0)
        await heard(compute, exec_id, b"fine")


class TestPlanted:
    async def test_links_lead_files_nowhere(self, compute: Compute, files: FileSystem, outside: Path) -> None:
        script = 'ln -s /etc/passwd file; ln -s / root; ln -s "$0" out; ln -s ../outside up; ln -s /proc/self/root proc'
        await run(compute, "sh", "-c", script, str(outside))
        for path in ("file", "root/etc/passwd", "out/file", "up/file", "proc/etc/passwd"):
            for call in (files.read_file(path), files.append(f"{path}", b"x"), files.list(path)):
                with pytest.raises((PathOutsideWorkspace, WrongKind)):
                    await call
        hits, _ = await searched(files, SearchQuery(text="root"))
        assert hits == []
        assert await files.remove("root", recursive=True) == 1

    async def test_special_files_hold_nobody(self, compute: Compute, files: FileSystem) -> None:
        source = """
            import os, socket
            os.mkfifo("fifo")
            bound = socket.socket(socket.AF_UNIX)
            bound.bind("socket")
        """
        await printed(compute, source)
        for path in ("fifo", "socket"):
            assert (await files.stat(path)).kind is EntryKind.OTHER
            for call in (files.read_file(path), files.write(path, b""), files.copy(path, "copy")):
                with pytest.raises(WrongKind):
                    await call
        assert await files.remove("fifo") == await files.remove("socket") == 1

    async def test_sizes_beyond_reading(self, compute: Compute, files: FileSystem) -> None:
        await printed(compute, "open('huge', 'wb').truncate(3 << 30)")
        with pytest.raises(FileTooLarge):
            await files.read_file("huge")
        assert (await files.read_file("huge", offset=(3 << 30) - 5, length=100)).data == b"\0" * 5
        assert (await files.usage()).bytes < 1 << 20

    async def test_a_file_that_changes_its_size_all_the_time(self, compute: Compute, files: FileSystem) -> None:
        source = """
            import os
            file = os.open("file", os.O_RDWR | os.O_CREAT)
            os.truncate("file", 8 << 20)
            print("begun", flush=True)
            while True:
                os.ftruncate(file, 10)
                os.ftruncate(file, 8 << 20)
        """
        exec_id = await start_python(compute, source)
        await heard(compute, exec_id, b"begun")
        for _ in range(30):
            try:
                async with aclosing(files.read("file")) as stream:
                    assert sum([len(piece) async for piece in stream]) in (10, 8 << 20)
                assert set((await files.read_file("file")).data) == {0}
            except FileBusy:
                continue
        await compute.cancel(exec_id)

    async def test_hard_links_are_parted_by_a_write(self, compute: Compute, files: FileSystem) -> None:
        await run(compute, "sh", "-c", "echo old > a; ln a b")
        await files.write("a", b"new\n")
        assert (await run(compute, "cat", "a", "b")).text == "new\nold\n"

    async def test_a_deep_tree(self, compute: Compute, files: FileSystem) -> None:
        source = """
            import os
            for level in range(1000):
                os.mkdir("deep" * 40)
                os.chdir("deep" * 40)
            open("end", "w").close()
        """
        await printed(compute, source)
        _, end = await searched(files, SearchQuery(name="end"))
        assert end.truncated
        with pytest.raises(LimitExceeded):
            await files.copy("deep" * 40, "copy")
        assert await files.remove("deep" * 40, recursive=True) == 1001

    async def test_any_name_means_the_same_to_both(self, compute: Compute, files: FileSystem) -> None:
        source = """
            import ast, os, sys
            for name in ast.literal_eval(sys.argv[1]):
                os.mkdir(name)
                open(os.path.join(name, b"file"), "wb").write(name)
        """
        await printed(compute, source, repr(HOSTILE_NAMES))
        paths = [entry.path for entry in (await files.list()).entries]
        assert len(paths) == len(HOSTILE_NAMES)
        for path in paths:
            assert path.isprintable()
            name = (await files.read_file(f"{path}/file")).data
            where = await printed(compute, "import os; print(ascii(os.getcwdb()))", cwd=path)
            assert where == f"{b'/workspace/' + name!a}\n"


class TestWorkingDirectories:
    @pytest.mark.parametrize(
        ("cwd", "error"),
        [
            ("missing", NotFound),
            ("file", WrongKind),
            ("file/below", FileSystemError),
            ("fifo", WrongKind),
            ("..", PathOutsideWorkspace),
            ("/", PathOutsideWorkspace),
            ("/workspace", PathOutsideWorkspace),
            ("a/../../outside", PathOutsideWorkspace),
            ("out", PathOutsideWorkspace),
            ("away", PathOutsideWorkspace),
            ("loop", InvalidPath),
            ("", InvalidPath),
            ("a\0b", InvalidPath),
            ("\ud800", InvalidPath),
            ("x" * 5000, InvalidPath),
        ],
    )
    async def test_what_is_none_is_refused(
        self, compute: Compute, outside: Path, cwd: str, error: type[FileSystemError]
    ) -> None:
        await run(
            compute, "sh", "-c", "touch file; mkfifo fifo; ln -s ../outside out; ln -s /tmp away; ln -s loop loop"
        )
        exec_id = fresh_id()
        with pytest.raises((error, InvalidArgument) if error is InvalidPath else error) as caught:
            await compute.start(exec_id, ExecSpec(argv=("true",), cwd=cwd))
        str(caught.value).encode()
        assert exec_id not in [status.exec_id for status in await compute.list()]

    async def test_a_link_inside_is_followed(self, compute: Compute) -> None:
        await run(compute, "sh", "-c", "mkdir -p a/b; touch a/b/file; ln -s a/b link")
        assert (await run(compute, "ls", cwd="link")).text == "file\n"

    async def test_swapped_with_a_link_out_it_leads_nowhere(
        self, compute: Compute, files: FileSystem, outside: Path
    ) -> None:
        await run(compute, "sh", "-c", "mkdir real; touch real/mine; ln -s /etc planted")
        exec_id = await start_python(compute, SWAP, "real", "planted")
        await heard(compute, exec_id, b"begun")
        outcomes = set()
        for _ in range(40):
            try:
                outcomes.add((await run(compute, "ls", cwd="real")).text)
            except FileSystemError as error:
                outcomes.add(type(error).__name__)
        await compute.cancel(exec_id)
        assert outcomes <= {"mine\n", "PathOutsideWorkspace", "NotFound", "WrongKind"}


class TestRaces:
    @pytest.mark.parametrize("name", ["read", "write", "append", "copy", "remove", "list", "search"])
    async def test_a_directory_swapped_with_a_link_out(
        self, compute: Compute, open_files: OpenFiles, planted: Path, outside: Path, name: str
    ) -> None:
        await run(compute, "sh", "-c", "mkdir real; echo mine > real/file; ln -s ../outside planted")
        exec_id = await start_python(compute, SWAP, "real", "planted")
        await heard(compute, exec_id, b"begun")
        outcomes = set()
        attempts = itertools.count()
        async with open_files() as files:
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "read": lambda: files.read_file("real/file"),
                "write": lambda: files.write("real/file", b"mine", durable=False),
                "append": lambda: files.append("real/file", b"", durable=False),
                "copy": lambda: files.copy("real/file", f"copy{next(attempts)}"),
                "remove": lambda: files.remove("real/missing"),
                "list": lambda: files.list("real"),
                "search": lambda: searched(files, SearchQuery(text="secret", path="real")),
            }
            for _ in range(300):
                try:
                    assert "secret" not in str(await calls[name]())
                    outcomes.add("done")
                except FileSystemError as error:
                    outcomes.add(type(error).__name__)
        await compute.cancel(exec_id)
        assert outcomes <= {"done", "PathOutsideWorkspace", "NotFound", "WrongKind", "FileBusy"}
        for copied in planted.glob("copy*"):
            assert copied.read_text().startswith("mine")

    async def test_a_file_swapped_with_a_fifo(self, compute: Compute, files: FileSystem) -> None:
        await run(compute, "sh", "-c", "echo mine > file; mkfifo planted")
        exec_id = await start_python(compute, SWAP, "file", "planted")
        await heard(compute, exec_id, b"begun")
        outcomes = set()
        for _ in range(300):
            try:
                outcomes.add((await files.read_file("file")).data)
            except WrongKind:
                outcomes.add(b"refused")
        await compute.cancel(exec_id)
        assert outcomes <= {b"mine\n", b"refused"}

    async def test_of_programs_and_files_writing_at_once_each_is_whole(
        self, compute: Compute, files: FileSystem
    ) -> None:
        source = """
            import os
            print("begun", flush=True)
            while True:
                with open(".new", "w") as file:
                    file.write("b" * 100_000)
                os.rename(".new", "file")
        """
        exec_id = await start_python(compute, source)
        await heard(compute, exec_id, b"begun")
        for _ in range(50):
            await files.write("file", b"a" * 100_000, durable=False)
            data = (await files.read_file("file")).data
            assert (len(data), len(set(data))) == (100_000, 1)
        await compute.cancel(exec_id)
        assert os.fsdecode(data[:1]) in "ab"
