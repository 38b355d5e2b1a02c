"""What a request for a chart wants of a table: columns, how numbers become one, which rows, how many bars.

What the table or the program cannot serve is raised as `NotDrawn`, or told in `Wanted.notes` where the rest is served.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.models.offline import chart_program
from agent.models.offline.chart_words import (
    NARROWING,
    OPERATIONS,
    TOP,
    grouping_phrases,
    loose_words,
    objects,
    place,
    second_group,
    shape,
)
from agent.models.offline.columns import measure, number_label
from agent.models.offline.files import file_names, without
from agent.models.offline.questions import question
from agent.models.offline.records import Group
from agent.models.offline.words import NUMBER_WORDS, joined, stems, words

IMAGES = ("svg", "png", "jpg", "jpeg", "pdf")
_EXCEPT = re.compile(
    r"\b(?:except|excluding|without|not|but|other than)\b(?:\s+(?:for|the|and|or|,|[\w-]+,?)){0,2}\s*$", re.I
)
_SAMPLE = 2_000


class NotDrawn(Exception):
    """A chart that cannot be drawn as asked; the message says why to a person, without a full stop."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows with one of `values` in `column`, or with `negated` those with none of them."""

    column: int
    values: tuple[str, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """One chart: columns by their position, the measure None where rows are counted; `most` bars, 0 for all."""

    path: str
    columns: int
    group: int
    measure: int | None
    operation: str
    title: str
    chart: str
    currency: str = ""
    measured: str = ""
    keep: tuple[Kept, ...] = ()
    most: int = 0
    least: bool = False
    notes: tuple[str, ...] = ()


def is_image(name: str) -> bool:
    """Whether `name` ends like a picture that can be drawn."""
    return name.casefold().endswith(tuple("." + ending for ending in IMAGES))


def wanted(text: str, path: str, table: Group) -> Wanted:
    """Read `text` as a request for a chart of `table`, the one in `path`; raises `NotDrawn`."""
    names = file_names(text)
    return _Request(without(text, names), path, table).wanted([name for name in names if is_image(name)])


class _Request:
    """One request against one table."""

    def __init__(self, said: str, path: str, table: Group) -> None:
        self._path = path
        self._table = table
        self._labels = list(table.columns)
        self._top = TOP.search(said)
        self._whole = said
        self._said = TOP.sub(" ", said) if self._top else said
        found = [name for name, pattern in OPERATIONS if re.search(pattern, self._said, re.IGNORECASE)]
        self._operations = found if found[:1] != ["count"] else ["count"]

    def wanted(self, images: Sequence[str]) -> Wanted:
        """All of it; raises `NotDrawn`."""
        by = self._group()
        of = self._measure(by)
        by = by or self._usual_group(of)
        keep = self._kept(by, of)
        self._refuse_rest(keep, named=of is not None and place(stems(self._said), of) >= 0)
        operation = "count" if of is None else next(iter(self._operations), "total")
        return Wanted(
            path=self._path,
            columns=len(self._labels),
            group=self._labels.index(by),
            measure=None if of is None else self._labels.index(of),
            operation=operation,
            title=self._title(operation, of, by, keep),
            chart=next(iter(images), "") or f"charts/{_stem(self._path)}-{'-'.join(stems(by)) or 'chart'}",
            currency=self._currency(of),
            measured=self._table.title(of or ""),
            keep=keep,
            most=self._most(),
            least=bool(self._top and re.search(r"bottom|lowest|smallest|worst", self._top[0], re.IGNORECASE)),
            notes=tuple(self._notes(by, of, operation, keep, images)),
        )

    def _group(self) -> str:
        """The column that the bars stand for, "" where none is named; raises `NotDrawn` for one that is not there."""
        noun = stems(self._top["noun"] or "") if self._top else []
        if named := next((label for label in self._labels if noun and stems(label) == noun), ""):
            return named
        found = ""
        for phrase, strict in grouping_phrases(self._said):
            label = self._label_in(phrase)
            if strict and not label:
                raise NotDrawn(self._no_column(" ".join(phrase)))
            if strict and found and label not in ("", found):
                raise NotDrawn(f"I draw by one column only, not by {found} and {label} at once")
            found = found or (label if strict or not self._is_number(label) else "")
        return found

    def _label_in(self, phrase: Sequence[str]) -> str:
        placed = [(at, -len(label), label) for label in self._labels if (at := place(phrase, label)) >= 0]
        return min(placed)[2] if placed else ""

    def _usual_group(self, of: str | None) -> str:
        usual = (label for label in self._labels if label != of and not self._is_number(label))
        return next(usual, self._labels[0])

    def _measure(self, by: str) -> str | None:
        """The column of numbers; None where rows are to be counted. Raises `NotDrawn` where none fits."""
        if self._operations == ["count"]:
            return None
        spoken = stems(self._said)
        labels = [label for label in self._labels if label and label != by]
        numeric = [label for label in labels if self._is_number(label, some=True)]
        if named := [(-len(stems(one)), place(spoken, one), one) for one in numeric if place(spoken, one) >= 0]:
            return min(named)[2]
        if texts := [one for one in labels if one not in numeric and self._is_object(one)]:
            if not self._operations:
                return None
            raise NotDrawn(
                f"the column {self._table.title(texts[0])} of {self._path} has no numbers{self._numeric(numeric)}"
            )
        if not numeric:
            beside = f" beside {self._table.title(by)}" if by and self._is_number(by, some=True) else ""
            raise NotDrawn(f"{self._path} has no column of numbers{beside}")
        firm = [label for label in numeric if self._is_number(label)] or numeric
        if by and self._is_object(by) and self._is_number(by):
            raise NotDrawn(f"{self._table.title(by)} cannot be both the numbers and what the bars stand for")
        usual = number_label(question(self._said), self._table.records)
        return usual if usual in firm else firm[0]

    def _is_object(self, label: str) -> bool:
        return any(stems(word) == stems(label) for word in objects(self._said))

    def _numeric(self, labels: Sequence[str]) -> str:
        return f"; those of numbers are {joined([self._table.title(one) for one in labels])}" if labels else ""

    def _is_number(self, label: str, *, some: bool = False) -> bool:
        """Whether most of the column's values are numbers, or with `some`, at least one of them is."""
        values = [value for record in self._table.records[:_SAMPLE] if (value := record.get(label))]
        count = sum(chart_program.number(value) is not None for value in values)
        return count > 0 and (some or count * 2 > len(values))

    def _kept(self, by: str, of: str | None) -> tuple[Kept, ...]:
        """The values that are named, column by column, those of the bars first."""
        spoken = stems(self._said)
        found: dict[tuple[int, bool], list[str]] = {}
        used: set[str] = set()
        for label in dict.fromkeys([by, *(one for one in self._labels if one and one != of)]):
            for value in dict.fromkeys(record.get(label) for record in self._table.records[:_SAMPLE]):
                if value.casefold() not in used and place(spoken, value) >= 0 and self._is_telling(value):
                    used.add(value.casefold())
                    key = (self._labels.index(label), self._is_excluded(value))
                    found.setdefault(key, []).append(value)
        return tuple(Kept(column, tuple(values), negated) for (column, negated), values in found.items())

    def _is_telling(self, value: str) -> bool:
        """Whether a value can hardly be in the request for another reason."""
        if re.fullmatch(r"[\d.,]+", value):
            return bool(re.fullmatch(r"\d{4,}", value))
        return bool(loose_words(value, self._known()))

    def _is_excluded(self, value: str) -> bool:
        at = re.search(rf"(?<!\w){re.escape(value)}", self._said, re.IGNORECASE)
        return bool(at and _EXCEPT.search(self._said[: at.start()]))

    def _known(self) -> set[str]:
        return {one for text in (*self._labels, _stem(self._path)) for one in stems(text)}

    def _loose(self, keep: Sequence[Kept]) -> list[str]:
        values = {one for kept in keep for value in kept.values for one in stems(value)}
        return loose_words(self._said, self._known() | values)

    def _refuse_rest(self, keep: Sequence[Kept], *, named: bool) -> None:
        """Raise `NotDrawn` for what would make the numbers others than those asked for."""
        loose = self._loose(keep)
        asked = question(self._said)
        if asked.comparisons or (asked.periods and not keep):
            raise NotDrawn("I cannot limit a chart to a range of numbers or days")
        if (limit := NARROWING.search(self._said)) and (left := [w for w in words(limit["rest"]) if w in loose]):
            raise NotDrawn(f"no column of {self._path} has the value “{self._written(' '.join(left))}”")
        if unknown := [word for word in objects(self._said) if word in loose]:
            raise NotDrawn(self._no_column(unknown[0]))
        if not named and loose and re.search(r"\bcolumn\b", self._said, re.IGNORECASE):
            raise NotDrawn(self._no_column(loose[0]))

    def _no_column(self, name: str) -> str:
        columns = joined([self._table.title(label) for label in self._labels if label], 20)
        return f"{self._path} has no column “{self._written(name)}”; its columns are {columns}"

    def _written(self, name: str) -> str:
        """The words as the request has them, capitals and all."""
        pattern = r"\W+".join(map(re.escape, words(name)))
        found = re.search(rf"\b{pattern}\w*", self._whole, re.IGNORECASE)
        return found[0] if found else name

    def _currency(self, of: str | None) -> str:
        found = [one for record in self._table.records if of and (one := measure(record, of))]
        currencies = list(dict.fromkeys(one.currency for one in found if one.currency))
        if len(currencies) > 1:
            raise NotDrawn(f"the column {self._table.title(of or '')} mixes the currencies {joined(currencies)}")
        return next(iter(currencies), "")

    def _most(self) -> int:
        written = (self._top["count"] or self._top["count2"]).casefold() if self._top else "0"
        return int(written) if written.isdigit() else NUMBER_WORDS[written]

    def _title(self, operation: str, of: str | None, by: str, keep: Sequence[Kept]) -> str:
        head = "Number of rows" if of is None else f"{operation.capitalize()} of {self._table.title(of)}"
        limits = [f"{'without' if k.negated else 'only'} {joined(list(k.values))}" for k in keep]
        top = f"the {self._top[0].strip()}" if self._top else ""
        return ", ".join(
            filter(None, [f"{head} per {self._table.title(by)}", *limits, top and _top_title(self._most(), top)])
        )

    def _notes(self, by: str, of: str | None, operation: str, keep: Sequence[Kept], images: Sequence[str]) -> list[str]:
        """What of the request is not in the chart."""
        spoken, kept = stems(self._said), [one.column for one in keep]
        others = [
            self._table.title(label) for i, label in enumerate(self._labels)
            if label not in ("", by, of) and i not in kept and self._is_number(label) and place(spoken, label) >= 0
        ]  # fmt: skip
        more = [name for name in self._operations if name != operation]
        again = second_group(self._said, [label for label in self._labels if label and label != by])
        form = shape(self._said)
        loose = self._loose(keep)
        said = {
            f"I draw bars only, so it is no {form} chart.": form and form not in self._known(),
            f"It shows the {operation} only, not the {joined(more)}.": more and of is not None,
            f"It shows {self._table.title(of or '')} only, not {joined(others)}.": others and of is not None,
            f"It goes by {self._table.title(by)} only, not by {self._table.title(again)} as well.": again,
            f"I drew one chart only, none into {joined(list(images[1:]))}.": images[1:],
            f"(I could not take “{'”, “'.join(loose)}” into account.)": loose,
        }
        return [sentence for sentence, applies in said.items() if applies]


def _top_title(count: int, top: str) -> str:
    side = "lowest" if re.search(r"bottom|lowest|smallest|worst", top, re.IGNORECASE) else "highest"
    return f"the {count} {side}"


def _stem(path: str) -> str:
    return path.rpartition(".")[0].rpartition("/")[2]
