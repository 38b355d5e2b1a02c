"""`empla files` against a control plane on loopback."""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from empla.rpc import StatusError
from empla.v1 import control_pb2
from tests.unit.controlplane.cli.conftest import UNKNOWN

Fixture = Callable[..., Any]


def test_ls_goes_on_until_all_is_told(peer: Any, empla: Fixture) -> None:
    pages = {
        "": control_pb2.ListFilesResponse(files=[control_pb2.File(path="d/a", kind="file", size=12)], truncated=True),
        "a": control_pb2.ListFilesResponse(files=[control_pb2.File(path="d/b\x1b[2J", kind="directory", size=4096)]),
    }
    peer.answers["ListFiles"] = lambda request: pages[request.after]
    _, *lines = empla("files", "ls", "ada", "d").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["file", "directory"]
    assert lines[0].split()[1:] == ["12", "d/a"]
    assert "\x1b" not in lines[1]
    assert [item["path"] for item in json.loads(empla("files", "ls", "ada", "d", "--json").stdout)] == [
        "d/a",
        "d/b\x1b[2J",
    ]


def test_cat_prints_bytes_as_they_are(peer: Any, empla: Fixture) -> None:
    peer.answers["ReadFile"] = lambda _: [control_pb2.FileChunk(data=b"\xff\0"), control_pb2.FileChunk(data=b"x")]
    assert empla("files", "cat", "ada", "a").stdout_bytes == b"\xff\0x"
    document = json.loads(empla("files", "cat", "ada", "a", "--json").stdout)
    assert (document["size"], base64.b64decode(document["base64"])) == (3, b"\xff\0x")


def test_put_sends_a_file_in_pieces_with_an_end(peer: Any, empla: Fixture, tmp_path: Path) -> None:
    content = os.urandom((2 << 20) + 5)
    (tmp_path / "source").write_bytes(content)
    sent: list[control_pb2.WriteFileRequest] = []

    def take(requests: Any) -> control_pb2.File:
        sent[:] = requests
        return control_pb2.File(path=sent[0].path, size=sum(len(request.data) for request in sent))

    peer.answers["WriteFile"] = take
    result = empla("files", "put", "ada", "in/a", str(tmp_path / "source"), "--parents", "--new")
    assert result.stdout == f"in/a: {len(content)} bytes\n"
    assert b"".join(request.data for request in sent) == content
    first = sent[0]
    assert (first.employee, first.path, first.parents, first.expected_version) == ("ada", "in/a", True, "absent")
    assert [request.end for request in sent] == [False] * (len(sent) - 1) + [True]

    empla("files", "put", "ada", "a", stdin=b"piped")
    assert b"".join(request.data for request in sent) == b"piped"


def test_what_is_refused_in_the_midst_of_an_upload_is_told(peer: Any, empla: Fixture, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(8 << 20))
    full = StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", "no room")
    peer.answers["WriteFile"] = full
    result = empla("files", "put", "ada", "a", str(tmp_path / "source"), "--json")
    assert (result.exit_code, json.loads(result.stderr)["error"]["reason"]) == (1, "QUOTA_EXCEEDED")


def test_what_is_refused_says_what_would_do(peer: Any, empla: Fixture) -> None:
    peer.refuse(
        "RemoveFile", grpc.StatusCode.FAILED_PRECONDITION, "DIRECTORY_NOT_EMPTY", "the directory a is not empty"
    )
    assert empla("files", "rm", "ada", "a").stderr.endswith("not empty; -r removes it with all that it holds\n")
    peer.answers["WriteFile"] = StatusError(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "there is no a/b")
    put = empla("files", "put", "ada", "a/b", stdin="x")
    assert (put.exit_code, put.stderr) == (4, "empla: there is no a/b; -p makes what is missing\n")
    assert "-p" not in empla("files", "put", "ada", "a/b", "-p", stdin="x").stderr
    peer.answers["WriteFile"] = UNKNOWN
    assert "-p" not in empla("files", "put", "ada", "a/b", stdin="x").stderr


def test_rm_says_what_is_gone(peer: Any, empla: Fixture) -> None:
    peer.answers["RemoveFile"] = control_pb2.RemoveFileResponse()
    assert empla("files", "rm", "ada", "d", "-r").stdout == "d: removed\n"
    assert (peer.last.request.path, peer.last.request.recursive) == ("d", True)
