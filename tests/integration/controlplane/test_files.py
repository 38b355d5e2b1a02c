"""Files of workspaces as operators see and change them: real sidecars over real workspaces, whether or not anybody runs."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.auth import new_secret
from controlplane.calls import files
from controlplane.launchers.volumes import Volumes
from controlplane.launchers.workspaces import account_of
from controlplane.settings import Settings
from empla import rpc
from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.integration.controlplane.conftest import Plane, serving
from tests.integration.controlplane.deeds import issued
from tests.integration.controlplane.seats import Seat, is_root, seat, until

MEBIBYTE = 1 << 20


@pytest.fixture
async def ada(plane: Plane) -> Seat:
    """Whose process does not run."""
    return await seat(plane)


def workspace(ada: Seat) -> Path:
    return ada.plane.settings.workspaces / str(ada.employee_id)


async def listed(ada: Seat, path: str = "", **asked: Any) -> pb.ListFilesResponse:
    request = pb.ListFilesRequest(employee="ada", path=path, **asked)
    answer: pb.ListFilesResponse = await ada.plane.stub.ListFiles(request, timeout=30)
    return answer


async def read(ada: Seat, path: str, **asked: Any) -> list[bytes]:
    request = pb.ReadFileRequest(employee="ada", path=path, **asked)
    return [chunk.data async for chunk in ada.plane.stub.ReadFile(request, timeout=30)]


async def write(ada: Seat, path: str, *pieces: bytes, end: bool = True, **asked: Any) -> pb.File:
    def requests() -> Iterator[pb.WriteFileRequest]:
        yield pb.WriteFileRequest(employee="ada", path=path, **asked)
        yield from (pb.WriteFileRequest(data=piece) for piece in pieces)
        if end:
            yield pb.WriteFileRequest(end=True)

    written: pb.File = await ada.plane.stub.WriteFile(requests(), timeout=30)
    return written


async def remove(ada: Seat, path: str, **asked: Any) -> None:
    await ada.plane.stub.RemoveFile(pb.RemoveFileRequest(employee="ada", path=path, **asked), timeout=30)


def refusal(error: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> tuple[str, str]:
    return error.value.code().name, rpc.reason_of(error.value)


async def test_what_is_written_is_whole_the_employees_and_can_be_read_listed_and_removed(ada: Seat):
    content = os.urandom(3 * MEBIBYTE + 17)
    pieces = content[:100], content[100 : 2 * MEBIBYTE + 5], content[2 * MEBIBYTE + 5 :]
    written = await write(ada, "in/box/offer.bin", *pieces, parents=True)
    path = workspace(ada) / "in/box/offer.bin"
    assert path.read_bytes() == content
    if is_root():
        account = account_of(ada.employee_id)
        assert {(place.stat().st_uid, place.stat().st_gid) for place in (path, path.parent)} == {(account, account)}

    chunks = await read(ada, "in/box/offer.bin")
    assert b"".join(chunks) == content
    assert max(map(len, chunks)) <= MEBIBYTE
    assert b"".join(await read(ada, "in/box/offer.bin", offset=MEBIBYTE - 3, length=7)) == content[MEBIBYTE - 3 :][:7]

    found = (await listed(ada, "in/box")).files
    assert [(file.path, file.kind, file.size, file.version) for file in found] == [
        ("in/box/offer.bin", "file", len(content), written.version)
    ]
    await remove(ada, "in", recursive=True)
    assert not path.exists()
    audit = (await ada.plane.stub.ListAudit(pb.ListAuditRequest(page_size=2), timeout=10)).entries
    assert [(entry.action, entry.subject, entry.detail["path"]) for entry in audit] == [
        ("file.remove", str(ada.employee_id), "in"),
        ("file.write", str(ada.employee_id), "in/box/offer.bin"),
    ]


async def test_a_running_employee_reads_and_sees_the_same_files(plane: Plane):
    employee = await plane.attached("ada")
    place = plane.settings.workspaces / employee.employee_id
    stub = plane.stub
    await stub.WriteFile(iter([pb.WriteFileRequest(employee="ada", path="a", data=b"x", end=True)]), timeout=30)
    assert (place / "a").read_bytes() == b"x"
    assert [file.path for file in (await stub.ListFiles(pb.ListFilesRequest(employee="ada"), timeout=30)).files] == [
        "a"
    ]
    assert (await stub.GetEmployee(pb.GetEmployeeRequest(employee="ada"), timeout=10)).epoch == employee.epoch


async def test_an_upload_that_breaks_off_changes_nothing(ada: Seat):
    await write(ada, "a", b"before")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await write(ada, "a", b"half", end=False)
    assert refusal(refused) == ("ABORTED", "UPLOAD_BROKEN_OFF")
    assert [path.name for path in workspace(ada).iterdir()] == ["a"]

    begun = asyncio.Event()

    async def for_ever() -> AsyncIterator[pb.WriteFileRequest]:
        yield pb.WriteFileRequest(employee="ada", path="a", data=b"half")
        begun.set()
        await asyncio.Event().wait()

    call = ada.plane.stub.WriteFile(for_ever(), timeout=30)
    await begun.wait()
    await until(lambda: any(path.name.startswith(".empla-") for path in workspace(ada).iterdir()))
    call.cancel()
    await until(lambda: [path.name for path in workspace(ada).iterdir()] == ["a"])
    assert (workspace(ada) / "a").read_bytes() == b"before"


async def test_no_way_leads_out_and_what_programs_plant_is_not_waited_for(ada: Seat, tmp_path: Path):
    (tmp_path / "secret").write_text("secret")
    (workspace(ada) / "out").symlink_to(tmp_path)
    (workspace(ada) / "link").symlink_to(tmp_path / "secret")
    calls = [read(ada, path) for path in ("../secret", "/etc/passwd", "out/secret", "link")]
    for call in (*calls, listed(ada, "out"), remove(ada, "out/secret"), write(ada, "out/secret", b"x")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refusal(refused) == ("INVALID_ARGUMENT", "PATH_OUTSIDE_WORKSPACE")
    assert (tmp_path / "secret").read_text() == "secret"
    audit = (await ada.plane.stub.ListAudit(pb.ListAuditRequest(page_size=4), timeout=10)).entries
    assert [entry.action for entry in audit] == [
        "file.write_refused",
        "file.write",
        "file.remove_refused",
        "file.remove",
    ]
    assert all(entry.detail["why"] for entry in audit if entry.action.endswith("_refused"))

    os.mkfifo(workspace(ada) / "pipe")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await read(ada, "pipe")
    assert refusal(refused) == ("FAILED_PRECONDITION", "WRONG_KIND")
    kinds = {file.path: file.kind for file in (await listed(ada)).files}
    assert kinds == {"out": "symlink", "link": "symlink", "pipe": "other"}


async def test_what_cannot_be_done_is_said_and_what_the_workspace_refused_is_on_record_as_refused(ada: Seat):
    (workspace(ada) / "full").mkdir()
    (workspace(ada) / "full/a").write_text("")
    for call, code, reason in (
        (read(ada, "nothing"), "NOT_FOUND", "NOT_FOUND"),
        (read(ada, ""), "INVALID_ARGUMENT", "INVALID_PATH"),
        (remove(ada, "a\0b"), "INVALID_ARGUMENT", "INVALID_PATH"),
        (remove(ada, "x" * 100_000), "INVALID_ARGUMENT", "INVALID_PATH"),
        (remove(ada, "full"), "FAILED_PRECONDITION", "DIRECTORY_NOT_EMPTY"),
        (remove(ada, "."), "FAILED_PRECONDITION", "WRONG_KIND"),
        (write(ada, "full/a", b"x", expected_version="absent"), "ABORTED", "VERSION_CONFLICT"),
        (write(ada, "none/a", b"x"), "NOT_FOUND", "NOT_FOUND"),
        (read(ada, "full/a", offset=1 << 63), "INVALID_ARGUMENT", "INVALID"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refusal(refused) == (code, reason)
    audit = (await ada.plane.stub.ListAudit(pb.ListAuditRequest(), timeout=10)).entries
    changes = [entry.action for entry in audit if entry.action.startswith("file.")]
    assert changes == ["file.write_refused", "file.write"] * 2 + ["file.remove_refused", "file.remove"] * 2


async def test_a_long_directory_comes_in_pages(ada: Seat):
    directory = "d" * 250
    names = [f"{'n' * 240}{number:05}" for number in range(9_000)]  # more than one answer has room for
    (workspace(ada) / directory).mkdir()
    for name in names:
        (workspace(ada) / directory / name).touch()
    found: list[str] = []
    page = await listed(ada, directory)
    assert page.truncated
    while page.truncated:
        found += [file.path.rpartition("/")[2] for file in page.files]
        page = await listed(ada, directory, after=found[-1])
    assert found + [file.path.rpartition("/")[2] for file in page.files] == names


async def test_nobody_sees_the_files_of_another_tenant(ada: Seat):
    await write(ada, "a", b"x")
    plane = ada.plane
    await plane.stub.CreateTenant(pb.CreateTenantRequest(name="acme"), timeout=10)
    acme = await plane.running.employees.tenant("acme")
    _, secret = await issued(plane.pool, "theirs", "admin", acme)
    async with rpc.dialing(plane.running.grpc_address, secret) as channel:
        stub: Any = type(plane.stub)(channel)
        for employee, code in (
            ("ada", "NOT_FOUND"),
            (str(ada.employee_id), "NOT_FOUND"),
            ("default/ada", "PERMISSION_DENIED"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ListFiles(pb.ListFilesRequest(employee=employee), timeout=10)
            assert refused.value.code().name == code


async def test_a_stopped_employee_s_volume_is_made_ready_and_its_quota_holds(
    plane_settings: Settings, database: Database
):
    settings = plane_settings.model_copy(update={"workspace_quota_bytes": 32 * MEBIBYTE})
    async with database.connect() as pool, serving(settings, database.dsn, new_secret(), pool) as plane:
        try:
            ada = await seat(plane)
            (workspace(ada) / "a").write_text("there before")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await write(ada, "b", *[bytes(MEBIBYTE)] * 40)
            assert refusal(refused) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
            assert [file.path for file in (await listed(ada)).files] == ["a"]
            assert await read(ada, "a") == [b"there before"]
            if not await Volumes(settings.volumes, 32 * MEBIBYTE, None).why_not():
                assert workspace(ada).is_mount()
        finally:
            await plane.running.lifecycle.stop_all()
            await plane.running.launcher.stop()


async def test_an_upload_that_never_begins_is_given_up(ada: Seat, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "FIRST_SECONDS", 0.05)

    async def nothing() -> AsyncIterator[pb.WriteFileRequest]:
        await asyncio.Event().wait()
        yield pb.WriteFileRequest()

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ada.plane.stub.WriteFile(nothing(), timeout=30)
    assert refusal(refused) == ("ABORTED", "UPLOAD_BROKEN_OFF")
