"""What gRPC says of a call whose connection is gone."""

from pathlib import Path

import grpc
import grpc.aio
import pytest

from empla.v1 import workstation_pb2, workstation_pb2_grpc
from workstation.remote.connection import _is_cut, _never_left


async def test_a_call_without_a_connection_never_left(tmp_path: Path) -> None:
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/nobody") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await workstation_pb2_grpc.FileSystemStub(channel).Stat(workstation_pb2.FileStatRequest(path="file"))
    assert _is_cut(caught.value)
    assert _never_left(caught.value)
