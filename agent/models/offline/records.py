"""What a file lists: records with named fields, in groups such as a table, a list or a run of `Key: value` blocks."""

from dataclasses import dataclass, field

from agent.models.offline.words import stems


@dataclass(frozen=True, slots=True)
class Record:
    """One listed thing. Fields are (label, value) in order; a part of a bullet that has no label has the label ""."""

    name: str
    fields: tuple[tuple[str, str], ...] = ()
    headings: tuple[str, ...] = ()
    done: bool | None = None
    text: str = ""

    def get(self, label: str) -> str:
        """The value of the field `label`, empty when it has none."""
        return next((value for key, value in self.fields if key == label), "")


@dataclass(frozen=True, slots=True)
class Group:
    """Records that stand together under the same `headings`.

    `columns` are the labels of a table in lower case, `written` the same as they stand there.
    """

    kind: str
    records: tuple[Record, ...]
    headings: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    written: tuple[str, ...] = ()

    def title(self, label: str) -> str:
        """The label as the table has it, capitals and all."""
        return next((own for column, own in zip(self.columns, self.written, strict=False) if column == label), label)

    def labels(self) -> list[str]:
        """Every label that one of the records has, in order of first use."""
        return list(dict.fromkeys(key for record in self.records for key, _ in record.fields if key))

    def is_rich(self) -> bool:
        """Whether its records are more than a line of text: columns, labels, boxes or several parts."""
        parted = sum(len(record.fields) > 1 for record in self.records) * 2 > len(self.records)
        return bool(self.columns) or parted or any(record.done is not None for record in self.records)

    def topic(self) -> set[str]:
        """The stems of what the group calls itself and its first column."""
        named = [*self.headings, *self.columns[:1]] if self.columns else [*self.headings, *self.labels()[:1]]
        return {stem for text in named for stem in stems(text)}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of running text or one `Key: value` line, with the headings above it."""

    text: str
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A file taken apart."""

    path: str
    text: str
    headings: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    truncated: bool = field(default=False)
