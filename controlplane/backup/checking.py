"""Checking a backup: every byte of it is read, and every hash, length and number compared with what its manifest says."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from controlplane.backup.archive import contents, read_header, read_manifest, read_small
from controlplane.backup.errors import Damaged, Unsafe
from controlplane.backup.manifest import HEADER, MANIFEST, SEAL, Header, Manifest, Member
from controlplane.backup.tables import Rows, check_rows, check_schema
from controlplane.backup.trees import check_tree


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup that is whole."""

    header: Header
    manifest: Manifest


def check(path: Path, told: Callable[[str], None] = lambda _: None) -> Checked:
    """Read the backup at `path` to its end, twice; raises `Damaged`, `Newer`, `Unsafe` and `OSError`.

    First the hashes, which say what was written. Only then is anything unpacked.
    """
    told("the hashes")
    with path.open("rb") as source:
        header, manifest = _hashes(source)
    check_schema(header)
    told("what is packed")
    with path.open("rb") as source:
        _unpack(source, manifest)
    return Checked(header, manifest)


def _hashes(source: BinaryIO) -> tuple[Header, Manifest]:
    found: dict[str, Member] = {}
    header: Header | None = None
    manifest: Manifest | None = None
    sealed = ""
    for content in contents(source):
        if content.name == HEADER:
            header, found[HEADER] = read_header(content)
        elif content.name == MANIFEST:
            manifest, sealed = read_manifest(content)
        elif content.name == SEAL:
            if read_small(content).decode(errors="replace").strip() != sealed:
                raise Damaged(f"the archive's {MANIFEST} was changed: it has not the hash that {SEAL} says")
        elif manifest is not None:
            raise Unsafe(f"the archive holds {content.name[:200]!r} after its manifest")
        else:
            found[content.name] = Member(name=content.name, size=content.size, sha256=content.digest(), unpacked=0)
    if header is None or manifest is None:
        raise Damaged("the archive is cut off: copy it again, or take another backup")
    _compare(found, manifest)
    return header, manifest


def _compare(found: dict[str, Member], manifest: Manifest) -> None:
    promised = {member.name: member for member in manifest.members()}
    if unknown := next(iter(found.keys() - promised.keys()), None):
        raise Unsafe(f"the archive holds {unknown[:200]!r}, of which its manifest says nothing")
    for name, member in promised.items():
        there = found.get(name)
        if there is None or (there.size, there.sha256) != (member.size, member.sha256):
            raise Damaged(
                f"the archive's {name} was changed or is missing: copy the archive again, or take another backup"
            )


def _unpack(source: BinaryIO, manifest: Manifest) -> None:
    tables = {table.member.name: table for table in manifest.tables}
    trees = {tree.member.name: tree for tree in manifest.trees}
    for content in contents(source):
        if (table := tables.get(content.name)) is not None:
            unpacked = content.unpacked(table.member.unpacked)
            count, promised = check_rows(Rows(table.name, table.columns), unpacked), table.rows
        elif (tree := trees.get(content.name)) is not None:
            unpacked = content.unpacked(tree.member.unpacked)
            count, promised = check_tree(cast("BinaryIO", unpacked)), tree.entries
        else:
            continue
        unpacked.finish()
        if count != promised:
            raise Damaged(f"the archive's {content.name} holds {count} entries, and should hold {promised}")
