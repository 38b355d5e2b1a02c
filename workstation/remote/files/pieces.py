"""Pieces of files as messages, without the copies that protobuf makes.

Of a streamed message with the field `data`, nearly all is that field. Such a message is handled as the bytes themselves,
and crosses as protobuf says: the field's tag, the length, the bytes.
"""

from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from empla.v1 import workstation_pb2 as pb
from empla.v1 import workstation_pb2_grpc

_LENGTH_DELIMITED = 2


class Pieces[Kind: Message]:
    """How messages of one kind cross, each either a message or the bytes of its `data`."""

    def __init__(self, kind: type[Kind]) -> None:
        self._kind = kind
        self._tag = bytes([kind.DESCRIPTOR.fields_by_name["data"].number << 3 | _LENGTH_DELIMITED])

    def serialize(self, part: Kind | bytes | memoryview) -> bytes:
        """As it crosses."""
        if isinstance(part, bytes | memoryview):
            return b"".join((self._tag, _varint(len(part)), part))
        return part.SerializeToString()

    def deserialize(self, raw: bytes) -> Kind | bytes:
        """What crossed. Raises protobuf's `DecodeError`."""
        if raw[:1] == self._tag:
            start = _length_end(raw)
            if start <= len(raw) and raw[1:start] == _varint(len(raw) - start):
                return raw[start:]
        message: Any = self._kind.FromString(raw)
        whole: Kind | bytes = message if self._holds_more(message) else message.data
        return whole

    def _holds_more(self, message: Kind) -> bool:
        return "part" in self._kind.DESCRIPTOR.oneofs_by_name and message.WhichOneof("part") != "data"


READ = Pieces(pb.FileReadResponse)
WRITE = Pieces(pb.FileWriteRequest)
EXPORT = Pieces(pb.FileExportArchiveResponse)
IMPORT = Pieces(pb.FileImportArchiveRequest)

_SENT: dict[str, Pieces[Any]] = {"Read": READ, "ExportArchive": EXPORT}
_RECEIVED: dict[str, Pieces[Any]] = {"Write": WRITE, "ImportArchive": IMPORT}


def stub(channel: grpc.aio.Channel) -> Any:
    """The calls of a FileSystem, with bytes in place of messages that hold `data` alone."""
    calls: Any = workstation_pb2_grpc.FileSystemStub(channel)
    calls.Read = channel.unary_stream(_path("Read"), pb.FileReadRequest.SerializeToString, READ.deserialize)
    calls.ExportArchive = channel.unary_stream(
        _path("ExportArchive"), pb.FileExportArchiveRequest.SerializeToString, EXPORT.deserialize
    )
    calls.Write = channel.stream_unary(_path("Write"), WRITE.serialize, pb.FileEntry.FromString)
    calls.ImportArchive = channel.stream_unary(
        _path("ImportArchive"), IMPORT.serialize, pb.FileImportedArchive.FromString
    )
    return calls


def add_to_server(servicer: workstation_pb2_grpc.FileSystemServicer, server: grpc.aio.Server) -> None:
    """Register a servicer that gives and takes bytes in place of messages that hold `data` alone."""
    workstation_pb2_grpc.add_FileSystemServicer_to_server(servicer, _Registration(server))  # type: ignore[arg-type]


class _Registration:
    """Stands for the server while generated code registers its handlers, and puts our own ways to cross into them."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Nothing: those would know the generated ways alone."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Add these handlers, changed."""
        ours = {name: _with_pieces(name, handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, ours),))
        self._server.add_registered_method_handlers(service, ours)


def _with_pieces(name: str, handler: Any) -> Any:
    if name in _SENT:
        return handler._replace(response_serializer=_SENT[name].serialize)
    if name in _RECEIVED:
        return handler._replace(request_deserializer=_RECEIVED[name].deserialize)
    return handler


def _path(name: str) -> str:
    return f"/{pb.DESCRIPTOR.services_by_name['FileSystem'].full_name}/{name}"


def _varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first, the high bit of all but the last set."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _length_end(raw: bytes) -> int:
    """Where the number after the tag ends, or where it would be too large for any message."""
    end = 1
    while end < min(len(raw), 5) and raw[end] & 0x80:
        end += 1
    return end + 1
