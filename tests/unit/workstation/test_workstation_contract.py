"""workstation.proto is the mirror of the Protocols, value for value, and names the reason of every error."""

import dataclasses
import inspect
from enum import StrEnum
from pathlib import Path

import pytest
from google.protobuf.descriptor import EnumDescriptor

import workstation.errors
from empla.v1 import workstation_pb2
from workstation import interface
from workstation.errors import WorkstationError

PROTO = Path(workstation_pb2.__file__).with_name("workstation.proto").read_text()

MESSAGES = {
    "FileEntry": interface.Entry,
    "FileCapabilities": interface.FileSystemCapabilities,
    "FileLimits": interface.FileSystemLimits,
    "FileListing": interface.Listing,
    "FileSearchRequest": interface.SearchQuery,
    "FileSearchHit": interface.SearchHit,
    "FileSearchEnd": interface.SearchEnd,
    "FileChange": interface.Change,
    "FileImportedArchive": interface.ImportedArchive,
    "FileUsage": interface.Usage,
    "ComputeCapabilities": interface.ComputeCapabilities,
    "ComputeLimits": interface.ComputeLimits,
    "ExecLimits": interface.ExecLimits,
    "Terminal": interface.Terminal,
    "ExecSpec": interface.ExecSpec,
    "ExecStatus": interface.ExecStatus,
    "ExecEnd": interface.ExecEnd,
    "ExecOutput": interface.Output,
    "SessionSpec": interface.SessionSpec,
    "Session": interface.Session,
    "SessionText": interface.SessionText,
    "SessionRichResult": interface.RichResult,
    "SessionError": interface.SessionError,
    "SessionRunEnd": interface.RunEnd,
    "BrowserCapabilities": interface.BrowserCapabilities,
    "BrowserLimits": interface.BrowserLimits,
    "Page": interface.Page,
    "PageSnapshot": interface.Snapshot,
    "PageActRequest.Click": interface.Click,
    "PageActRequest.Fill": interface.Fill,
    "PageActRequest.Press": interface.Press,
    "PageActRequest.Select": interface.Select,
    "PageActRequest.Hover": interface.Hover,
    "PageActRequest.Scroll": interface.Scroll,
    "PageActRequest.Upload": interface.Upload,
    "PageActRequest.Drag": interface.Drag,
    "PageActRequest.AnswerDialog": interface.AnswerDialog,
    "PageDialog": interface.Dialog,
    "PageLogResponse": interface.PageLog,
    "PageLogResponse.Console": interface.ConsoleEntry,
    "PageLogResponse.Request": interface.RequestEntry,
    "PageActResponse": interface.ActResult,
    "Picture": interface.Picture,
    "PageText": interface.PageText,
    "PageDownload": interface.Download,
    "PageFrame": interface.Frame,
}

OF_THE_WIRE = {"ComputeCapabilities": {"instance"}, "Session": {"instance"}}
"""Fields that tell one process at an address from the next; clients keep them to themselves."""

ENUMS = {
    "FileKind": interface.EntryKind,
    "QuotaKind": interface.QuotaKind,
    "FileChange.Kind": interface.ChangeKind,
    "OutputStream": interface.OutputStream,
    "ExecSignal": interface.ExecSignal,
    "EndReason": interface.EndReason,
    "PageNavigateRequest.Direction": interface.Direction,
    "PageLoadState": interface.LoadState,
    "PageDialog.Kind": interface.DialogKind,
    "PictureFormat": interface.ImageFormat,
    "PageDownload.State": interface.DownloadState,
}

ERRORS = [
    error for _, error in inspect.getmembers(workstation.errors, inspect.isclass) if issubclass(error, WorkstationError)
]


def members(enum: EnumDescriptor) -> set[str]:
    """The members' names without the prefix that all share, which ends in UNSPECIFIED for the first."""
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix).lower() for value in enum.values[1:]}


@pytest.mark.parametrize("protocol", [interface.FileSystem, interface.Compute, interface.Browser])
def test_every_method_is_an_rpc_and_no_rpc_is_more(protocol: type) -> None:
    service = workstation_pb2.DESCRIPTOR.services_by_name[protocol.__name__]
    methods = {name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if not name.startswith("_")}
    methods -= {"read_with_entry"}  # this is Read, whose first message carries the entry
    rpcs = set(service.methods_by_name) - {"LeaveRun"}  # this is closing the generator of run_in_session
    assert {"".join(map(str.capitalize, name.split("_"))) for name in methods} == rpcs


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_and_values_have_the_same_fields(name: str) -> None:
    message = workstation_pb2
    for part in name.split("."):
        message = getattr(message, part)
    fields = {field.name for field in dataclasses.fields(MESSAGES[name])} | OF_THE_WIRE.get(name, set())
    assert {field.name for field in message.DESCRIPTOR.fields} == fields  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ENUMS)
def test_enums_have_the_same_members(name: str) -> None:
    *outer, last = name.split(".")
    holder = workstation_pb2.DESCRIPTOR.message_types_by_name[outer[0]] if outer else workstation_pb2.DESCRIPTOR
    assert members(holder.enum_types_by_name[last]) == {member.value for member in ENUMS[name]}
    assert issubclass(ENUMS[name], StrEnum)


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_drawn_and_its_reason_told(error: type[WorkstationError]) -> None:
    assert error.__name__ in (workstation.errors.__doc__ or "")
    if not error.__subclasses__() or error.__name__ == "Unsupported":
        assert f" {error.reason} " in PROTO.replace("\n", " ")


def test_reasons_are_unique() -> None:
    assert len({error.reason for error in ERRORS}) == len(ERRORS)
