"""What a backup says of itself: at its front who wrote it, at its end what is in it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

FORMAT = 1
HEADER = "empla-backup.json"
MANIFEST = "manifest.json"
SEAL = "manifest.sha256"
MAX_JSON_BYTES = 64 << 20


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Header(_Kept):
    """Who wrote the backup, and when; `schema_checksums` has each migration of the database in its order."""

    format: int
    build: str
    taken_at: datetime
    schema_checksums: list[tuple[str, str]]


class Member(_Kept):
    """A file in the archive, as it is there: its length, its SHA-256, and the length of what is packed in it."""

    name: str
    size: int = Field(ge=0)
    sha256: str
    unpacked: int = Field(ge=0)


class Table(_Kept):
    """The rows of a table, in `member`, as COPY writes them in its text format."""

    name: str
    columns: list[str]
    rows: int = Field(ge=0)
    member: Member


class Tree(_Kept):
    """The files of one employee, in `member`: their number, and what of them could not be taken along."""

    kind: Literal["workspaces", "browsers"]
    employee_id: UUID
    entries: int = Field(ge=0)
    left_out: int = Field(ge=0)
    changed: int = Field(ge=0, description="Files that were written to each time that they were read.")
    member: Member


class Manifest(_Kept):
    """All that is in a backup."""

    header: Member
    tables: list[Table]
    sequences: dict[str, int] = Field(description="The last number of each, by table and column with a dot between.")
    trees: list[Tree]
    packages: Member | None = Field(
        description="What sandboxed programs may import, by name; not the packages themselves."
    )
    employees: dict[UUID, str] = Field(description="Those that are not deleted, by name.")

    @property
    def unpacked(self) -> int:
        """The bytes of all that is packed in it."""
        return sum(one.unpacked for one in self.members())

    def members(self) -> list[Member]:
        """Every file of the archive that stands before the manifest, in its order."""
        ordered = [self.header, *(table.member for table in self.tables)]
        ordered += [tree.member for tree in self.trees]
        return [*ordered, self.packages] if self.packages else ordered
