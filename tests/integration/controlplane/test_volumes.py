"""Volumes, really mounted through loop devices: bombs burst inside, and whatever interrupts, no file is lost."""

import asyncio
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from controlplane.auth import new_secret
from controlplane.errors import LaunchFailed
from controlplane.launchers import commands
from controlplane.launchers import volumes as module
from controlplane.launchers.volumes import SMALLEST_BYTES, Volumes
from controlplane.launchers.workspaces import Workspaces, account_of, open_workspaces
from controlplane.settings import Settings
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.integration.controlplane.conftest import serving
from workstation.errors import QuotaExceeded
from workstation.interface import QuotaKind
from workstation.local.files import LocalFileSystem
from workstation.local.volume import is_own_volume

SIZE = 32 << 20
ENTRIES = 500
OUTSIDE = Path("/nonexistent/outside")
"""Where a planted link leads: nothing is there, for code that is broken would do to it what root can."""

BYTE_BOMB = "exec cat /dev/zero > bomb"
FILE_BOMB = "number=0; while : > bomb-$number; do number=$((number + 1)); done"


@pytest.fixture
def home(short_directory: Path) -> Iterator[Path]:
    """A control plane's home, below which nothing stays mounted."""
    yield short_directory
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        place = line.split()[1]
        if Path(place).is_relative_to(short_directory):
            subprocess.run(["umount", place], check=True)


@pytest.fixture
def volumes(home: Path) -> Volumes:
    return Volumes(home / "volumes", SIZE, ENTRIES)


@pytest.fixture
def workspaces(home: Path, volumes: Volumes) -> Workspaces:
    return Workspaces(home / "workspaces", volumes)


@pytest.fixture
def employee() -> UUID:
    return new_id()


@pytest.fixture
def place(home: Path, employee: UUID) -> Path:
    """The workspace before anything is mounted there."""
    place = home / "workspaces" / str(employee)
    place.mkdir(parents=True)
    return place


def run_as(employee: UUID, script: str, place: Path) -> str:
    """Run a program in the workspace as a jailed one runs; returns how it failed."""
    account = account_of(employee)
    command = ["/bin/sh", "-c", script]
    ended = subprocess.run(
        command, check=False, cwd=place, capture_output=True, user=account, group=account, extra_groups=[]
    )
    return ended.stderr.decode().strip()


def mounted(place: Path) -> list[str]:
    """The options of what is mounted at a place, and none if nothing is."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [option for line in lines if line.split()[1] == str(place) for option in line.split()[3].split(",")]


async def in_thread(employee: UUID, script: str, place: Path) -> str:
    return await asyncio.to_thread(run_as, employee, script, place)


class TestBombs:
    async def test_a_byte_bomb_fills_its_own_volume_only(self, workspaces: Workspaces, employee: UUID, home: Path):
        place = await workspaces.prepare(employee)
        neighbour = await workspaces.prepare(new_id())
        assert "No space left on device" in await in_thread(employee, BYTE_BOMB, place)
        async with LocalFileSystem(place) as files, LocalFileSystem(neighbour) as others:
            for call in (files.write("more", b"x" * 100_000), files.append("bomb", b"x" * 100_000)):
                with pytest.raises(QuotaExceeded, match="volume is full"):
                    await call
            usage = await files.usage()
            assert usage.quota is QuotaKind.ENFORCED
            assert usage.quota_bytes is not None
            assert SIZE // 2 < usage.quota_bytes <= SIZE
            await others.write("unaffected", b"x" * 1_000_000)
            assert (home / "volumes" / f"{employee}.img").stat().st_blocks * 512 <= SIZE
            await files.remove("bomb")
            await files.write("more", b"x" * 100_000)

    async def test_a_bomb_of_files_is_stopped_by_their_number(self, workspaces: Workspaces, employee: UUID):
        place = await workspaces.prepare(employee)
        neighbour = await workspaces.prepare(new_id())
        assert "No space left on device" in await in_thread(employee, FILE_BOMB, place)
        async with LocalFileSystem(place) as files, LocalFileSystem(neighbour) as others:
            usage = await files.usage()
            assert usage.quota is QuotaKind.ENFORCED
            assert usage.quota_entries is not None
            assert ENTRIES - 1 <= usage.entries < usage.quota_entries < ENTRIES + 40
            for call in (files.write("more", b""), files.make_directory("more"), files.copy("bomb-0", "more")):
                with pytest.raises(QuotaExceeded, match="volume is full"):
                    await call
            await others.write("unaffected", b"x")
            await files.remove("bomb-0")
            await files.write("more", b"")

    async def test_the_files_belong_to_the_employee(self, workspaces: Workspaces, employee: UUID):
        place = await workspaces.prepare(employee)
        async with LocalFileSystem(place) as files:
            await files.write("report", b"draft")
        assert await in_thread(employee, "printf ' done' >> report", place) == ""
        assert (place / "report").read_text() == "draft done"
        assert (place.stat().st_uid, place.stat().st_mode & 0o777) == (account_of(employee), 0o700)


class TestMounting:
    async def test_a_volume_is_closed_empty_and_without_devices(
        self, workspaces: Workspaces, employee: UUID, home: Path
    ):
        place = await workspaces.prepare(employee)
        assert list(place.iterdir()) == []
        assert {"nosuid", "nodev", "noatime"} <= set(mounted(place))
        image = home / "volumes" / f"{employee}.img"
        assert (image.stat().st_mode & 0o777, image.stat().st_uid, image.stat().st_size) == (0o600, 0, SIZE)
        assert (home / "volumes").stat().st_mode & 0o777 == 0o700

    async def test_once_more_changes_nothing_and_what_was_written_stays(self, workspaces: Workspaces, employee: UUID):
        place = await workspaces.prepare(employee)
        (place / "kept").write_text("kept")
        before = mounted(place)
        await workspaces.prepare(employee)
        assert mounted(place) == before
        await workspaces.release(employee)
        assert (mounted(place), list(place.iterdir())) == ([], [])
        await workspaces.release(employee)
        await workspaces.prepare(employee)
        assert (place / "kept").read_text() == "kept"

    async def test_one_that_is_not_mounted_can_be_read_and_stays_as_it_was(
        self, workspaces: Workspaces, volumes: Volumes, employee: UUID, home: Path
    ):
        place = await workspaces.prepare(employee)
        (place / "notes.md").write_text("12k")
        async with volumes.readable(str(employee), place) as there:
            assert there == place
        await workspaces.release(employee)
        before = (home / "volumes" / f"{employee}.img").read_bytes()
        async with volumes.readable(str(employee), place) as there:
            assert there != place
            assert (there / "notes.md").read_text() == "12k"
            with pytest.raises(OSError, match="Read-only"):
                (there / "more").touch()
            assert (
                await workspaces.prepare(employee) == place
            )  # whoever starts the employee meanwhile is not in the way
            assert (place / "notes.md").read_text() == "12k"
            await workspaces.release(employee)
        assert (home / "volumes" / f"{employee}.img").read_bytes()[:1024] == before[:1024]
        assert [path.name for path in (home / "volumes").iterdir()] == [f"{employee}.img"]

    async def test_all_are_released_at_once(self, workspaces: Workspaces):
        places = [await workspaces.prepare(new_id()) for _ in range(3)]
        await workspaces.release_all()
        assert [mounted(place) for place in places] == [[], [], []]

    async def test_one_in_use_stays_and_is_told(
        self, workspaces: Workspaces, employee: UUID, caplog: pytest.LogCaptureFixture
    ):
        place = await workspaces.prepare(employee)
        with caplog.at_level(logging.WARNING), open(place / "used", "w"):
            await workspaces.release(employee)
        assert mounted(place)
        assert f"the volume of employee {employee} stays mounted" in caplog.text

    async def test_what_the_operator_mounted_is_used_and_left_alone(
        self, workspaces: Workspaces, place: Path, employee: UUID, home: Path
    ):
        await commands.run("mount", "-t", "tmpfs", "-o", "size=1m", "none", place, seconds=10)
        await workspaces.prepare(employee)
        assert not (home / "volumes").exists()
        async with LocalFileSystem(place) as files:
            assert (await files.capabilities()).quota is QuotaKind.ENFORCED
            assert (await files.usage()).quota_bytes == 1 << 20
        await workspaces.release(employee)
        assert mounted(place)

    async def test_without_a_quota_what_is_a_volume_already_stays_one(
        self, workspaces: Workspaces, employee: UUID, home: Path
    ):
        (await workspaces.prepare(employee) / "kept").write_text("kept")
        await workspaces.release(employee)
        later = await open_workspaces(home / "workspaces", home / "volumes", None, None)
        assert (await later.prepare(employee) / "kept").read_text() == "kept"
        assert mounted(await later.prepare(new_id())) == []

    async def test_with_another_quota_one_keeps_its_size_and_the_log_says_so(
        self, workspaces: Workspaces, employee: UUID, home: Path, caplog: pytest.LogCaptureFixture
    ):
        place = await workspaces.prepare(employee)
        await workspaces.release(employee)
        assert not caplog.messages
        await Volumes(home / "volumes", 2 * SIZE, None).mount(str(employee), place)
        assert f"keeps its {SIZE} bytes" in caplog.text

    async def test_one_that_cannot_be_made_or_mounted_is_a_failed_launch(
        self, home: Path, place: Path, employee: UUID, workspaces: Workspaces
    ):
        absurd = Workspaces(home / "workspaces", Volumes(home / "volumes", SIZE, 1 << 31))
        with pytest.raises(LaunchFailed, match=r"mkfs\.ext4 ended"):
            await absurd.prepare(employee)
        await workspaces.prepare(employee)
        await workspaces.release(employee)
        (home / "volumes" / f"{employee}.img").write_bytes(b"no file system" * 1000)
        with pytest.raises(LaunchFailed, match="mount ended"):
            await workspaces.prepare(employee)

    async def test_a_part_of_a_volume_is_no_volume(self, workspaces: Workspaces, employee: UUID, home: Path):
        part, elsewhere = await workspaces.prepare(employee) / "part", home / "elsewhere"
        part.mkdir()
        elsewhere.mkdir()
        await commands.run("mount", "--bind", part, elsewhere, seconds=10)
        fd = os.open(elsewhere, os.O_PATH)
        try:
            assert not await asyncio.to_thread(is_own_volume, fd)
        finally:
            os.close(fd)


class TestMovingIn:
    def fill(self, place: Path) -> None:
        (place / "directory" / "below").mkdir(parents=True)
        (place / "directory" / "file").write_text("file")
        (place / "directory" / "same file").hardlink_to(place / "directory" / "file")
        (place / ".hidden").write_text("hidden")
        (place / "link").symlink_to(OUTSIDE)
        os.mkfifo(place / "fifo")
        with open(place / "sparse", "wb") as sparse:
            sparse.truncate(SIZE * 10)

    def check(self, place: Path) -> None:
        assert mounted(place)
        names = {str(path.relative_to(place)) for path in place.rglob("*")}
        below = {"directory/below", "directory/file", "directory/same file"}
        assert names == below | {"directory", ".hidden", "link", "fifo", "sparse"}
        assert (place / "directory" / "same file").stat().st_nlink == 2
        assert (place / "link").readlink() == OUTSIDE
        assert (place / "fifo").is_fifo()
        assert (place / "sparse").stat().st_size == SIZE * 10

    async def test_files_that_were_there_are_in_the_volume_after(
        self, workspaces: Workspaces, volumes: Volumes, place: Path, employee: UUID
    ):
        self.fill(place)
        await workspaces.prepare(employee)
        self.check(place)
        await volumes.unmount(str(employee), place)
        assert list(place.iterdir()) == []

    @pytest.mark.parametrize("program", ["cp", "umount", "find"])
    async def test_an_interruption_loses_nothing(
        self, workspaces: Workspaces, place: Path, employee: UUID, program: str, monkeypatch: pytest.MonkeyPatch
    ):
        self.fill(place)

        async def interrupted(*command: str | Path, seconds: float) -> None:
            if command[0] == program:
                raise LaunchFailed("interrupted")
            await commands.run(*command, seconds=seconds)

        with monkeypatch.context() as patch:
            patch.setattr(module, "run", interrupted)
            with pytest.raises(LaunchFailed, match="interrupted"):
                await workspaces.prepare(employee)
        await workspaces.prepare(employee)
        self.check(place)

    async def test_more_than_fits_stays_where_it_was(self, workspaces: Workspaces, place: Path, employee: UUID):
        (place / "large").write_bytes(b"x" * SIZE)
        with pytest.raises(LaunchFailed, match="No space left"):
            await workspaces.prepare(employee)
        assert (place / "large").stat().st_size == SIZE
        assert mounted(place) == []

    async def test_nothing_is_written_through_a_link_in_the_volume(
        self, workspaces: Workspaces, employee: UUID, home: Path
    ):
        place = await workspaces.prepare(employee)
        secret, directory = home / "secret", home / "directory"
        secret.write_text("secret")
        directory.mkdir()
        (place / "file").symlink_to(secret)
        (place / "sub").symlink_to(directory)
        await workspaces.release(employee)
        (place / "file").write_text("the operator's")
        await workspaces.prepare(employee)
        assert (place / "file").read_text() == "the operator's"
        await workspaces.release(employee)
        (place / "sub").mkdir()
        (place / "sub" / "file").write_text("the operator's")
        with pytest.raises(LaunchFailed, match="cannot overwrite non-directory"):
            await workspaces.prepare(employee)
        assert (secret.read_text(), list(directory.iterdir())) == ("secret", [])
        assert (place / "sub" / "file").exists()


class TestWhereThereAreNone:
    async def test_they_work_here_and_trying_leaves_nothing(self, home: Path):
        assert await Volumes(home / "volumes", SMALLEST_BYTES, None).why_not() == ""
        assert list((home / "volumes").iterdir()) == []

    async def open(self, home: Path, quota_bytes: int | None = SIZE) -> Workspaces:
        return await open_workspaces(home / "workspaces", home / "volumes", quota_bytes, ENTRIES)

    async def test_the_log_says_that_the_quota_is_advisory_and_why(
        self, home: Path, employee: UUID, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        monkeypatch.setitem(commands.ENVIRONMENT, "PATH", "/nonexistent")
        workspaces = await self.open(home)
        (line,) = caplog.messages
        assert line.startswith(
            "the workspaces' quota is only advisory, jailed programs can exceed it; no volumes: mkfs"
        )
        monkeypatch.undo()
        assert mounted(await workspaces.prepare(employee)) == []

    async def test_it_needs_root(self, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        await self.open(home)
        assert "only root may mount" in caplog.text

    async def test_it_needs_a_size(self, home: Path, caplog: pytest.LogCaptureFixture):
        await self.open(home, None)
        assert "EMPLA_WORKSPACE_QUOTA_BYTES" in caplog.text


async def test_a_whole_employee_works_on_its_volume(plane_settings: Settings, database: Database, home: Path):
    quota = {"workspace_quota_bytes": SIZE, "workspace_quota_entries": ENTRIES}
    settings = plane_settings.model_copy(update=quota)
    async with database.connect() as pool, serving(settings, database.dsn, new_secret(), pool) as plane:
        try:
            employee = await plane.attached()
            place = settings.workspaces / employee.employee_id
            request = pb.SendMessageRequest(employee="sales-ae", text="Write a file x.txt with hello", wait_ms=20_000)
            assert (await plane.stub.SendMessage(request, timeout=30)).state == "answered"
            (written,) = place.iterdir()
            assert (written.name, written.stat().st_uid) == ("x.txt", account_of(UUID(employee.employee_id)))
            assert mounted(place)
        finally:
            await plane.running.lifecycle.stop_all()
            await plane.running.launcher.stop()
    assert mounted(place) == []
