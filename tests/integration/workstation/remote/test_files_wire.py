"""FileSystem's servicer as any peer may call it: what makes no sense is refused, and nothing of it is left."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from empla import rpc
from empla.v1 import workstation_pb2 as pb
from empla.v1 import workstation_pb2_grpc
from tests.conformance.conftest import make_workspace
from workstation.errors import FileTooLarge, InvalidArgument, InvalidPath, LimitExceeded, NotFound
from workstation.interface import FileSystem, FileSystemLimits, SearchQuery
from workstation.local.files import LocalFileSystem
from workstation.remote.dialing import dialing
from workstation.remote.serving import serving

MIB = 1 << 20
START = pb.FileWriteRequest(start=pb.FileWriteStart(path="file"))
DATA = pb.FileWriteRequest(data=b"content")
END = pb.FileWriteRequest(end=True)
IMPORT = pb.FileImportArchiveRequest(start=pb.FileImportArchiveStart(path="new"))


@dataclass
class Peer:
    """The generated stub, and the client, of one served workspace."""

    stub: Any
    channel: grpc.aio.Channel
    files: FileSystem
    workspace: Path

    async def refused(self, call: Any) -> tuple[str, str]:
        """The code and reason of a call that is refused, after which files are as before."""
        before = sorted(self.workspace.rglob("*"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert sorted(self.workspace.rglob("*")) == before
        await self.files.stat(".")
        return caught.value.code().name, rpc.reason_of(caught.value)


async def anybody(method: str, metadata: Any) -> str:
    return "somebody"


@pytest.fixture
async def peer(short_directory: Path) -> AsyncIterator[Peer]:
    workspace = make_workspace(short_directory / "workspace")
    address = f"unix:{short_directory}/socket"
    async with (
        LocalFileSystem(workspace, limits=FileSystemLimits(chunk_bytes=3 * MIB)) as local,
        serving(address, authenticate=anybody, files=local, grace=0.2),
        dialing(address, "token") as remote,
    ):
        channel = remote.connection.channel
        yield Peer(workstation_pb2_grpc.FileSystemStub(channel), channel, remote.files, workspace)


class TestUploads:
    @pytest.mark.parametrize(
        "parts",
        [
            (),
            (DATA,),
            (END,),
            (DATA, START, END),
            (START,),
            (START, DATA),
            (START, START, END),
            (START, DATA, START, END),
            (START, DATA, pb.FileWriteRequest(), END),
            (pb.FileWriteRequest(), END),
        ],
        ids=lambda parts: ",".join(part.WhichOneof("part") or "nothing" for part in parts),
    )
    async def test_parts_in_another_order_are_refused(self, peer: Peer, parts: tuple[Any, ...]) -> None:
        assert await peer.refused(peer.stub.Write(iter(parts))) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")

    @pytest.mark.parametrize("parts", [(), (IMPORT,), (pb.FileImportArchiveRequest(data=b"x"),)], ids=len)
    async def test_those_of_an_archive_too(self, peer: Peer, parts: tuple[Any, ...]) -> None:
        assert await peer.refused(peer.stub.ImportArchive(iter(parts))) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")

    async def test_what_comes_after_the_end_is_not_read(self, peer: Peer) -> None:
        entry = await peer.stub.Write(iter((START, DATA, END, DATA, START)))
        assert entry.size == 7

    async def test_durable_unless_said_otherwise(self, peer: Peer) -> None:
        for start in (pb.FileWriteStart(path="file"), pb.FileWriteStart(path="file", durable=False)):
            entry = await peer.stub.Write(iter((pb.FileWriteRequest(start=start), END)))
            assert (entry.path, entry.size) == ("file", 0)

    async def test_a_part_may_be_longer_than_ours(self, peer: Peer) -> None:
        part = pb.FileWriteRequest(data=bytes(7 * MIB))
        assert (await peer.stub.Write(iter((START, part, END)))).size == 7 * MIB


class TestRequests:
    @pytest.mark.parametrize("raw", [b"\xff", b"\x12\xff\xff\xff\xff\xff", b"\x0a\x7f", b"\x12\x02\xff"])
    @pytest.mark.parametrize("name", ["Stat", "Read", "ReadFile", "Write", "ImportArchive", "Watch"])
    async def test_what_is_no_message_ends_its_call_alone(self, peer: Peer, name: str, raw: bytes) -> None:
        path = f"/empla.v1.FileSystem/{name}"
        if name in ("Write", "ImportArchive"):
            call: Any = self.channel_call(peer.channel.stream_unary(path), iter([raw]))
        elif name in ("Read", "Watch"):
            download: Any = peer.channel.unary_stream(path)
            call = self.first_of(download(raw))
        else:
            call = self.channel_call(peer.channel.unary_unary(path), raw)
        async with asyncio.timeout(20):
            await peer.refused(call)

    @staticmethod
    async def channel_call(method: Any, request: Any) -> Any:
        return await method(request)

    @staticmethod
    async def first_of(call: Any) -> Any:
        return await call.read()

    async def test_numbers_below_zero(self, peer: Peer) -> None:
        (peer.workspace / "file").touch()
        for request in (pb.FileReadRequest(path="file", offset=-1), pb.FileReadRequest(path="file", length=-1)):
            assert await peer.refused(peer.stub.ReadFile(request)) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
        for limit in (0, -1, 1 << 40):
            call = peer.stub.List(pb.FileListRequest(path=".", limit=limit))
            assert await peer.refused(call) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")

    async def test_a_file_is_in_one_answer_or_in_none(self, peer: Peer) -> None:
        (peer.workspace / "file").write_bytes(b"x" * (MIB + 1))
        short = await peer.stub.ReadFile(pb.FileReadRequest(path="file", length=MIB))
        assert (len(short.data), short.entry.size) == (MIB, MIB + 1)
        long = await peer.stub.ReadFile(pb.FileReadRequest(path="file"))
        assert (long.HasField("data"), long.entry.size) == (False, MIB + 1)
        parts = [part async for part in peer.stub.Read(pb.FileReadRequest(path="file"))]
        assert [part.WhichOneof("part") for part in parts] == ["entry", "data", "data"]
        assert [len(part.data) for part in parts] == [0, MIB, 1]


class TestSizes:
    async def test_a_page_too_large_for_a_message_is_a_shorter_one(self, peer: Peer) -> None:
        directory = peer.workspace / "/".join(["d" * 250] * 10)
        directory.mkdir(parents=True)
        for number in range(3_000):
            (directory / f"{number:04}{'x' * 240}").touch()
        path, names, after = str(directory.relative_to(peer.workspace)), list[str](), ""
        while True:
            page = await peer.files.list(path, after=after)
            names += [entry.name for entry in page.entries]
            if not page.truncated:
                break
            after = names[-1]
        assert [name[:4] for name in names] == [f"{number:04}" for number in range(3_000)]

    async def test_pieces_are_no_longer_than_the_wire_has_them(self, peer: Peer) -> None:
        assert (await peer.files.capabilities()).limits.chunk_bytes == MIB
        await peer.files.write("file", bytes(7 * MIB), durable=False)
        assert {len(piece) async for piece in peer.files.read("file")} == {MIB}
        archive = [piece async for piece in peer.files.export_archive()]
        assert max(map(len, archive)) == MIB
        assert (await peer.files.import_archive("new", b"".join(archive))).bytes == 7 * MIB
        assert (await peer.files.append("file", bytes(MIB))).size == 8 * MIB
        with pytest.raises(LimitExceeded) as caught:
            await peer.files.append("file", bytes(20 * MIB))
        assert (caught.value.limit, caught.value.allowed) == ("chunk_bytes", MIB)

    async def test_more_than_may_be_in_memory(self, peer: Peer) -> None:
        await peer.files.write("file", bytes(17 * MIB), durable=False)
        with pytest.raises(FileTooLarge) as caught:
            await peer.files.read_file("file")
        assert (caught.value.allowed, caught.value.path) == (16 * MIB, "file")
        assert len((await peer.files.read_file("file", offset=MIB)).data) == 16 * MIB

    @pytest.mark.parametrize("length", [70_000, 10 << 20])
    async def test_texts_that_no_message_could_hold(self, peer: Peer, length: int) -> None:
        long = "x" * length
        for call in (peer.files.stat(long), peer.files.write(long, b""), peer.files.import_archive(long, b"")):
            with pytest.raises(InvalidPath):
                await call
        for query in (SearchQuery(text=long), SearchQuery(name=long)):
            with pytest.raises(InvalidArgument):
                await anext(peer.files.search(query))

    async def test_an_error_tells_the_longest_path(self, peer: Peer) -> None:
        path = "/".join([r"\xff" * 200] * 20)
        with pytest.raises(NotFound) as caught:
            await peer.files.stat(path)
        assert caught.value.path == path

    @pytest.mark.parametrize("sizes", [(MIB,) * 3, (5, MIB, 5), (3 * MIB, 1), (MIB - 1, 1, MIB)])
    async def test_content_may_be_of_any_bytes(self, peer: Peer, sizes: tuple[int, ...]) -> None:
        async def content() -> AsyncIterator[Any]:
            for number, size in enumerate(sizes):
                kind = (bytes, bytearray, memoryview)[number % 3]
                yield kind(bytes([number]) * size)

        await peer.files.write("file", content(), durable=False)
        expected = b"".join(bytes([number]) * size for number, size in enumerate(sizes))
        assert (peer.workspace / "file").read_bytes() == expected

    @pytest.mark.parametrize("piece", ["text", 5, None], ids=repr)
    async def test_content_that_is_none_changes_nothing(self, peer: Peer, piece: Any) -> None:
        async def content() -> AsyncIterator[Any]:
            yield b"x" * MIB
            yield piece

        with pytest.raises(TypeError):
            await peer.files.write("file", content())
        assert list(peer.workspace.iterdir()) == []
