"""Files of employees' workspaces, as operators see and change them, whether or not the employee runs.

Programs of the employee may have planted anything there. So each call is answered by a sidecar of its own, which keeps the
workstation's rules: paths that the kernel resolves beneath the workspace, its quota, and that what is made there belongs to
the employee. The keeper of the sidecars does not know them: where those are processes as well, it ends them like any stray.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import grpc
import grpc.aio

from controlplane import audit
from controlplane.employees import EmployeeRecord
from controlplane.errors import Conflict, Invalid, LaunchFailed
from controlplane.launchers.interface import FILES, LaunchedProcess, Launcher, LaunchSpec
from controlplane.messages import fitting
from controlplane.shares import counted
from controlplane.sidecars.launching import SidecarPlan
from controlplane.sidecars.places import Places
from controlplane.sidecars.table import Resources, Sidecar
from empla import rpc
from empla.leases import Lease, mint, new_key
from empla.store.connect import Pool, translated
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from empla.v1 import workstation_pb2 as wire
from empla.v1 import workstation_pb2_grpc

MAX_AT_ONCE = 8
"""Calls of one tenant."""
CALL_SECONDS = 600.0
END_SECONDS = 3.0
PIECE_BYTES = 1 << 20
MAX_PATH = 40_950
"""Characters: 4095 bytes, each in the longest way to write it."""
MEMORY_BYTES = 256 << 20
_WIRE_BYTES = 8 << 20
"""As `workstation.proto` says."""
_KINDS = {
    wire.FILE_KIND_FILE: "file",
    wire.FILE_KIND_DIRECTORY: "directory",
    wire.FILE_KIND_SYMLINK: "symlink",
}

type Uploads = AsyncIterator[pb.WriteFileRequest]


class Files:
    """Reads and changes workspaces; `ready` has one ready to be used, or raises `LaunchFailed`.

    Everything raises `Busy`, `LaunchFailed`, and a `StatusError` of what the workstation refuses.
    """

    def __init__(
        self,
        pool: Pool,
        launcher: Launcher,
        places: Places,
        plan: SidecarPlan,
        ready: Callable[[UUID], Awaitable[None]],
    ) -> None:
        self._pool, self._launcher, self._places, self._plan, self._ready = pool, launcher, places, plan, ready
        self._open: Counter[UUID] = Counter()

    async def list(self, record: EmployeeRecord, path: str, after: str) -> pb.ListFilesResponse:
        """What a directory holds, as much of it as one answer has room for."""
        asked = wire.FileListRequest(path=_path(path or "."), after=after)
        async with self._served(record) as files:
            listing = await files.List(asked)
        told = fitting(map(_file, listing.entries))
        return pb.ListFilesResponse(files=told, truncated=listing.truncated or len(told) < len(listing.entries))

    async def read(self, record: EmployeeRecord, request: pb.ReadFileRequest) -> AsyncGenerator[pb.FileChunk]:
        """A range of a file, in pieces."""
        asked = wire.FileReadRequest(path=_path(request.path), offset=_int64(request.offset, "offset"))
        if request.length:
            asked.length = _int64(request.length, "length")
        async with self._served(record) as files:
            async for part in files.Read(asked):
                for start in range(0, len(part.data), PIECE_BYTES):
                    yield pb.FileChunk(data=part.data[start : start + PIECE_BYTES])

    async def write(self, record: EmployeeRecord, first: pb.WriteFileRequest, rest: Uploads) -> pb.File:
        """Have a file appear that is `first` and `rest`; raises `Conflict` when they break off."""
        path = _path(first.path)
        async with self._served(record) as files:
            call = files.Write()
            try:
                size = await _upload(call, first, rest)
            except BaseException:
                await _withdrawn(call)
                raise
            async with self._audited(record, "file.write", {"path": path, "bytes": size}):
                if not call.done():  # it may have been refused
                    await call.write(wire.FileWriteRequest(end=True))
                    await call.done_writing()
                return _file(await call)

    async def remove(self, record: EmployeeRecord, path: str, *, recursive: bool) -> None:
        """Remove a file, or a directory."""
        asked = wire.FileRemoveRequest(path=_path(path), recursive=recursive)
        async with (
            self._served(record) as files,
            self._audited(record, "file.remove", {"path": path, "recursive": recursive}),
        ):
            await files.Remove(asked)

    @asynccontextmanager
    async def _audited(self, record: EmployeeRecord, action: str, detail: dict[str, Any]) -> AsyncIterator[None]:
        """What the block does is on record before it begins, and that it was refused once it was.

        No connection is held meanwhile: a tree takes its time to go.
        """
        await self._record(record, action, detail)
        try:
            yield
        except grpc.aio.AioRpcError as error:
            await self._record(record, f"{action}_refused", {**detail, "why": error.details() or error.code().name})
            raise

    async def _record(self, record: EmployeeRecord, action: str, detail: dict[str, Any]) -> None:
        with translated():
            async with self._pool.acquire() as connection:
                await audit.record(connection, record.tenant_id, action, record.employee_id, detail)

    @asynccontextmanager
    async def _served(self, record: EmployeeRecord) -> AsyncIterator[Any]:
        """A stub of the workspace's FileSystem, whose errors leave the block as ours."""
        with counted(self._open, record.tenant_id, MAX_AT_ONCE):
            try:
                async with asyncio.timeout(CALL_SECONDS), self._sidecar(record) as files:
                    yield files
            except TimeoutError as error:
                why = f"it was not done within {CALL_SECONDS:.0f} s"
                raise rpc.StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, "FILES_TOO_SLOW", why) from error
            except grpc.aio.AioRpcError as error:
                raise _refusal(error) from error

    @asynccontextmanager
    async def _sidecar(self, record: EmployeeRecord) -> AsyncIterator[Any]:
        await self._ready(record.employee_id)
        address = await self._places.make(sidecar_id := new_id())
        sidecar = Sidecar(
            sidecar_id,
            record.tenant_id,
            record.employee_id,
            record.epoch,
            Resources(FILES, MEMORY_BYTES, 0.0),
            address,
            new_key(),
        )
        expires_at = time.time() + CALL_SECONDS
        try:
            process = await self._launcher.launch(await self._spec(sidecar, expires_at))
            try:
                await self._places.until_serving(sidecar_id, process)
                token = mint(sidecar.key, Lease(sidecar_id, record.employee_id, expires_at))
                async with rpc.dialing(address, token, max_message_bytes=_WIRE_BYTES) as channel:
                    stub: Any = workstation_pb2_grpc.FileSystemStub(channel)
                    yield stub
            finally:
                await _ended(process)
        finally:
            await self._places.clear(sidecar_id)

    async def _spec(self, sidecar: Sidecar, expires_at: float) -> LaunchSpec:
        """It ends with us, and says in the employee's log only what is wrong."""
        spec = await self._plan.spec(sidecar, expires_at, {"owner_pid": os.getpid()}, warm=False)
        return replace(spec, settings={**spec.settings, "log_level": "WARNING"})


async def _upload(call: Any, first: pb.WriteFileRequest, rest: Uploads) -> int:
    """Send all but the end, or until it is refused; returns how many bytes there were."""
    start = wire.FileWriteStart(path=first.path, parents=first.parents)
    if first.expected_version:
        start.expected_version = first.expected_version
    await call.write(wire.FileWriteRequest(start=start))
    size = 0
    async with aclosing(_all(first, rest)) as requests:
        async for request in requests:
            for at in range(0, len(request.data), PIECE_BYTES):
                if call.done():
                    return size
                await call.write(wire.FileWriteRequest(data=request.data[at : at + PIECE_BYTES]))
            size += len(request.data)
            if request.end:
                return size
    raise Conflict("the upload broke off before its `end`, and nothing was changed", reason="UPLOAD_BROKEN_OFF")


async def _withdrawn(call: Any) -> None:
    """Without its end an upload changes nothing; wait until nothing is left of it."""
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            await call.done_writing()
            await call


async def _all(first: pb.WriteFileRequest, rest: Uploads) -> AsyncGenerator[pb.WriteFileRequest]:
    yield first
    async for request in rest:
        if request.employee or request.path:
            raise Invalid("one upload is one file", fields={"path": "in the first message only"})
        yield request


async def _ended(process: LaunchedProcess) -> None:
    """Ask the sidecar to end, so that it leaves no half of a file, and see that it does."""
    process.kill(signal.SIGTERM)
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill(signal.SIGKILL)


def _file(entry: wire.FileEntry) -> pb.File:
    kind = _KINDS.get(entry.kind, "other")
    file = pb.File(path=entry.path, directory=kind == "directory", size=entry.size, version=entry.version, kind=kind)
    file.modified_at.FromNanoseconds(entry.modified_ns)
    return file


def _path(path: str) -> str:
    """One that can be written down; the workstation knows the rest."""
    if not path or "\0" in path or len(path) > MAX_PATH:
        raise Invalid("that is no path", reason="INVALID_PATH", fields={"path": f"1 to {MAX_PATH} characters, no NUL"})
    return path


def _int64(number: int, field: str) -> int:
    if number >= 1 << 63:
        raise Invalid("no file is that long", fields={field: "less than 2^63"})
    return number


def _refusal(error: grpc.aio.AioRpcError) -> Exception:
    """As the workstation worded it; codes that say something else of a call to us are other ones."""
    code, info, message = error.code(), rpc.info_of(error), error.details() or ""
    if info.reason == "PATH_OUTSIDE_WORKSPACE":
        return Invalid(message, reason=info.reason, fields={"path": "beneath the workspace"})
    if not info.reason or code is grpc.StatusCode.UNAUTHENTICATED:
        return LaunchFailed(f"the process that serves the files is gone: {message}; try again")
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED):
        code = grpc.StatusCode.FAILED_PRECONDITION
    return rpc.StatusError(code, info.reason, message, metadata=dict(info.metadata))
