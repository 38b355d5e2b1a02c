"""What the actions of the Workspace capability take and give, as a model sees them."""

from pydantic import BaseModel, ConfigDict, Field

from agent.capabilities.base import Action

READ_BYTES = 48 * 1024
MAX_WRITE = 1024 * 1024
MAX_APPEND = 250_000
"""Characters: as UTF-8 they fit into one piece that a FileSystem appends."""
MAX_EDITED_BYTES = 8 << 20
MAX_LISTED = 500
MAX_HITS = 100
LONG_SECONDS = 150.0
"""For what goes through a whole tree, which the FileSystem itself bounds by less."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


_PATH = Field(min_length=1, max_length=4000, description="Relative to the workspace, such as deals/notes.md.")
_DIRECTORY = Field(default=".", max_length=4000, description="A directory; . is the workspace itself.")
_VERSION = Field(
    default="",
    max_length=200,
    description="Only if the file still has this version, as read_file or file_info gave it.",
)
_REPLACE = Field(default=False, description="Take the place of what has that name already.")


class ListFiles(_Closed):
    """Which directory, or with a glob, which entries anywhere below it."""

    path: str = _DIRECTORY
    name: str = Field(
        default="",
        max_length=500,
        description="A glob: lists all that fits it anywhere below path. ** goes through directories.",
        examples=["*.csv", "deals/**/*.md", "*"],
    )
    after: str = Field(
        default="", max_length=4000, description="Go on after this name, the last of a truncated answer."
    )


class ListedFile(BaseModel):
    """One entry; `kind` is file, directory, symlink or other, `size` in bytes."""

    path: str
    kind: str
    size: int


class ListedFiles(BaseModel):
    """The entries; with `truncated` there are more, and `hint` says how to see them."""

    entries: list[ListedFile]
    truncated: bool
    hint: str = ""


class ReadFile(_Closed):
    """Which file, from which byte, at most how many bytes."""

    path: str = _PATH
    offset: int = Field(default=0, ge=0, description="Byte to start at; take next_offset of the answer before.")
    limit: int = Field(default=READ_BYTES, ge=1, le=READ_BYTES)


class FileText(BaseModel):
    """Text of a file of `size` bytes; with `truncated`, read on at `next_offset`."""

    path: str
    content: str
    truncated: bool
    next_offset: int | None
    size: int
    version: str


class SearchFiles(_Closed):
    """Which text, in which files."""

    query: str = Field(min_length=1, max_length=500, description="Literal text within one line.")
    path: str = _DIRECTORY
    name: str = Field(default="", max_length=500, description="A glob: only in files that fit it.", examples=["*.md"])
    case_sensitive: bool = False


class Match(BaseModel):
    """A line that has the text."""

    path: str
    line: int
    text: str


class Matches(BaseModel):
    """The lines found; with `truncated` there may be more, and `hint` says why."""

    matches: list[Match]
    truncated: bool
    hint: str = ""


class WriteFile(_Closed):
    """Which file, and all it shall contain."""

    path: str = _PATH
    content: str = Field(max_length=MAX_WRITE)
    version: str = Field(
        default="",
        max_length=200,
        description="Only if the file still has this version; absent: only if there is no such file yet.",
    )


class AppendFile(_Closed):
    """Which file, and what to add to its end."""

    path: str = _PATH
    content: str = Field(max_length=MAX_APPEND)


class EditFile(_Closed):
    """Which text to put in the place of which."""

    path: str = _PATH
    old: str = Field(
        min_length=1,
        max_length=MAX_APPEND,
        description="The exact text to replace, with its spaces and line breaks; it must be in the file just once.",
    )
    new: str = Field(max_length=MAX_APPEND, description="What takes its place; empty removes it.")
    everywhere: bool = Field(default=False, description="Replace it wherever it is in the file.")
    version: str = _VERSION


class FilePath(_Closed):
    """Which entry."""

    path: str = _PATH


class RemoveFile(_Closed):
    """Which entry."""

    path: str = _PATH
    recursive: bool = Field(default=False, description="A directory with all that is in it.")


class MoveFile(_Closed):
    """From where to where; the full new path."""

    path: str = _PATH
    to: str = _PATH
    replace: bool = _REPLACE


class WrittenFile(BaseModel):
    """The entry as it is now."""

    path: str
    size: int
    version: str


class EditedFile(BaseModel):
    """The file as it is now: how many places were changed, and the line of the first."""

    path: str
    size: int
    version: str
    replaced: int
    line: int


class Removed(BaseModel):
    """How many entries went."""

    removed: int


class FileInfo(BaseModel):
    """One entry; `modified` is in UTC, `target` where a symbolic link points."""

    path: str
    kind: str
    size: int
    modified: str
    version: str
    target: str | None


class WorkspaceUsage(_Closed):
    """Nothing to say."""


class UsedSpace(BaseModel):
    """What the workspace takes and may take, in bytes and entries; `truncated`: more than was counted."""

    bytes: int
    entries: int
    quota_bytes: int | None
    quota_entries: int | None
    available_bytes: int
    truncated: bool


ACTIONS = (
    Action(
        "list_files",
        "List a directory of the workspace, or with name all below it that fits a glob.",
        ListFiles,
        ListedFiles,
        repeatable=True,
    ),
    Action("read_file", "Read a text file, in pieces if it is long.", ReadFile, FileText, repeatable=True),
    Action("search_files", "Find lines that contain a text.", SearchFiles, Matches, repeatable=True),
    Action("write_file", "Create a file, or replace all it contains.", WriteFile, WrittenFile, repeatable=False),
    Action("append_file", "Add text to the end of a file.", AppendFile, WrittenFile, repeatable=False),
    Action(
        "edit_file",
        "Replace an exact text in a file; the rest stays as it is.",
        EditFile,
        EditedFile,
        repeatable=False,
    ),
    Action("make_directory", "Make a directory, and those above it.", FilePath, WrittenFile, repeatable=True),
    Action("move_file", "Give a file or directory another path.", MoveFile, WrittenFile, repeatable=False),
    Action("copy_file", "Copy a file or directory.", MoveFile, WrittenFile, repeatable=False, deadline=LONG_SECONDS),
    Action(
        "remove_file", "Remove one file, or a directory.", RemoveFile, Removed, repeatable=False, deadline=LONG_SECONDS
    ),
    Action("file_info", "Say what an entry is, its size, time and version.", FilePath, FileInfo, repeatable=True),
    Action("workspace_usage", "Say how full the workspace is.", WorkspaceUsage, UsedSpace, repeatable=True),
)
