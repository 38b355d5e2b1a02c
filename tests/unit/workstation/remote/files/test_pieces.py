"""What is written and read by hand is what protobuf writes and reads."""

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from empla.v1 import workstation_pb2 as pb
from workstation.remote.files.pieces import EXPORT, IMPORT, READ, WRITE, Pieces

KINDS: list[tuple[Pieces[Any], Any]] = [
    (READ, pb.FileReadResponse),
    (WRITE, pb.FileWriteRequest),
    (EXPORT, pb.FileExportArchiveResponse),
    (IMPORT, pb.FileImportArchiveRequest),
]
SIZES = [1, 127, 128, 16_383, 16_384, 1 << 20, (1 << 21) - 1, 1 << 21, 7 << 20]
every_kind = pytest.mark.parametrize(("pieces", "kind"), KINDS, ids=lambda value: getattr(value, "__name__", ""))


@every_kind
@pytest.mark.parametrize("size", SIZES)
def test_bytes_cross_as_protobuf_says(pieces: Pieces[Any], kind: Any, size: int) -> None:
    data = b"\x12" * size
    raw = kind(data=data).SerializeToString()
    assert pieces.serialize(data) == pieces.serialize(memoryview(data)) == raw
    assert pieces.deserialize(raw) == data


@every_kind
def test_no_bytes_are_bytes_too(pieces: Pieces[Any], kind: Any) -> None:
    assert kind.FromString(pieces.serialize(b"")) in (kind(data=b""), kind())
    assert pieces.deserialize(kind(data=b"").SerializeToString()) == b""


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (READ, pb.FileReadResponse(entry=pb.FileEntry(path="a", version="1"))),
        (READ, pb.FileReadResponse()),
        (WRITE, pb.FileWriteRequest(start=pb.FileWriteStart(path="a"))),
        (WRITE, pb.FileWriteRequest(end=True)),
        (WRITE, pb.FileWriteRequest(end=False)),
        (IMPORT, pb.FileImportArchiveRequest(start=pb.FileImportArchiveStart(path="a"))),
        (IMPORT, pb.FileImportArchiveRequest(end=True)),
    ],
    ids=lambda value: "" if isinstance(value, Pieces) else f"{type(value).__name__} {value!r}",
)
def test_other_messages_stay_messages(pieces: Pieces[Any], message: Any) -> None:
    raw = message.SerializeToString()
    assert pieces.serialize(message) == raw
    assert pieces.deserialize(raw) == message


@pytest.mark.parametrize(
    "raw",
    [
        b"\x12\x81\x00x",  # a length in more bytes than it needs
        b"\x12\x01y\x12\x01x",  # the field twice: the last counts
        b"\x12\x01x\x78\x01",  # and a field that nobody knows
        b"\x12\x01x\x18\x01",  # and `end`
    ],
)
def test_whatever_protobuf_reads_is_read_as_it_does(raw: bytes) -> None:
    message = pb.FileWriteRequest.FromString(raw)
    read = WRITE.deserialize(raw)
    assert read == (message.data if message.WhichOneof("part") == "data" else message)


@every_kind
@given(raw=st.binary(max_size=12).map(b"\x12".__add__) | st.binary(max_size=12).map(b"\x0a".__add__))
def test_anything_is_read_or_refused_as_protobuf_does(pieces: Pieces[Any], kind: Any, raw: bytes) -> None:
    try:
        message = kind.FromString(raw)
    except DecodeError:
        with pytest.raises(DecodeError):
            pieces.deserialize(raw)
        return
    read = pieces.deserialize(raw)
    assert message.data == read if isinstance(read, bytes) else message == read
