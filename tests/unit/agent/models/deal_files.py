"""Files that list deals, made up anew for each test: random names, values and layouts, and the true answers."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

_NAMES = """Acme Globex Initech Hooli Umbrella Stark Wayne Wonka Tyrell Cyberdyne Soylent Vandelay Dunder Massive Gringotts
Oscorp Nakatomi Zorin Virtucon Aperture Monarch Bluth Sirius Krusty Duff Oceanic Weyland Rekall Prestige Lumon"""
_FIRST = _NAMES.split()
_LAST = ("", "", " Corp", " Ltd", " GmbH", " Systems", " Labs", " Foods")
_OWNERS = ["Alice", "Bob", "Carla", "Dmitri", "Eve", "Farid", "Greta", "Hiro", "Ines", "Jonas"]
_CLOSED = (("closed",), ("won", "lost"), ("closed won", "closed lost"), ("done",))


@dataclass(frozen=True)
class Deal:
    name: str
    state: str
    value: int
    owner: str

    @property
    def is_open(self) -> bool:
        return self.state == "open"


@dataclass(frozen=True)
class DealFile:
    """A file and what it lists; `layout` names how."""

    path: str
    text: str
    deals: tuple[Deal, ...]
    layout: str

    def open(self) -> list[Deal]:
        return [deal for deal in self.deals if deal.is_open]

    def closed(self) -> list[Deal]:
        return [deal for deal in self.deals if not deal.is_open]


MONEY = (
    str,
    "{:,}".format,
    "€{:,}".format,
    "${:,}.00".format,
    "{:,} EUR".format,
    lambda v: f"{v // 1000}k" if v % 1000 == 0 else str(v),
)
LAYOUTS = (
    "csv", "semicolons", "table", "dashes", "brackets", "colons", "labels", "blocks", "heading_blocks", "heading_bullets",
    "sections", "nested", "prose", "plain", "boxes", "json",
)  # fmt: skip
WITH_LABELS = ("csv", "semicolons", "table", "labels", "blocks", "heading_blocks", "heading_bullets", "nested", "json")
WITH_OWNERS = (*WITH_LABELS, "dashes", "brackets", "colons", "plain")


@st.composite
def deals(draw: st.DrawFn) -> tuple[Deal, ...]:
    firsts = draw(st.lists(st.sampled_from(_FIRST), min_size=3, max_size=9, unique=True))
    closed = draw(st.sampled_from(_CLOSED))
    states = st.one_of(st.just("open"), st.sampled_from(closed))
    values = st.builds(lambda n, step: n * step, st.integers(1, 90), st.sampled_from((250, 500, 1000)))
    return tuple(
        Deal(first + draw(st.sampled_from(_LAST)), draw(states), draw(values), draw(st.sampled_from(_OWNERS)))
        for first in firsts
    )


@st.composite
def deal_files(draw: st.DrawFn, layouts: tuple[str, ...] = LAYOUTS) -> DealFile:
    listed, layout = draw(deals()), draw(st.sampled_from(layouts))
    extension = {"csv": "csv", "semicolons": "csv", "json": "json"}.get(layout) or draw(st.sampled_from(("md", "txt")))
    stem = draw(st.sampled_from(("notes", "deals", "pipeline", "q3-review", "sales_log", "weekly", "crm")))
    folder = draw(st.sampled_from(("", "", "work/")))
    return DealFile(f"{folder}{stem}.{extension}", _Writer(draw).write(layout, listed), listed, layout)


class _Writer:
    """Writes deals down in one of the layouts, with the words for columns and the shape of numbers drawn at random."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.money = draw(st.sampled_from(MONEY))
        cases: tuple[Callable[[str], str], ...] = (str, str.capitalize, str.upper)
        self.case = draw(st.sampled_from(cases))
        self.noun = draw(st.sampled_from(("Deal", "Name", "Customer", "Company", "Opportunity", "Account")))
        self.status = draw(st.sampled_from(("Status", "Stage", "State")))
        self.value = draw(st.sampled_from(("Value", "Amount", "Size", "Deal value")))

    def write(self, layout: str, listed: tuple[Deal, ...]) -> str:
        body: str = getattr(self, layout)(listed)
        if layout in ("csv", "semicolons", "json"):
            return body
        return self.draw(st.sampled_from(_HEADS)) + body + self.draw(st.sampled_from(_TAILS))

    def row(self, deal: Deal) -> tuple[str, str, str, str]:
        return deal.name, self.case(deal.state), self.money(deal.value), deal.owner

    def head(self) -> tuple[str, str, str, str]:
        return self.noun, self.status, self.value, "Owner"

    def csv(self, listed: tuple[Deal, ...]) -> str:
        rows = [self.head(), *map(self.row, listed)]
        return "\n".join(",".join(f'"{cell}"' if "," in cell else cell for cell in row) for row in rows) + "\n"

    def semicolons(self, listed: tuple[Deal, ...]) -> str:
        return "\n".join(";".join(row) for row in [self.head(), *map(self.row, listed)]) + "\n"

    def table(self, listed: tuple[Deal, ...]) -> str:
        rows = [self.head(), ("---", ":--:", "--:", "---"), *map(self.row, listed)]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def dashes(self, listed: tuple[Deal, ...]) -> str:
        bullet = self.draw(st.sampled_from(("- ", "* ", "• ", "1. ")))
        mark = self.draw(st.sampled_from((" — ", " – ", " - ", " | ", "; ", " · ")))
        return "\n".join(bullet + mark.join(self.row(deal)) for deal in listed)

    def brackets(self, listed: tuple[Deal, ...]) -> str:
        return "\n".join(f"- **{name}** ({', '.join(rest)})" for name, *rest in map(self.row, listed))

    def colons(self, listed: tuple[Deal, ...]) -> str:
        return "\n".join(f"- {d.name}: {d.state}, {self.money(d.value)}, owner {d.owner}" for d in listed)

    def labels(self, listed: tuple[Deal, ...]) -> str:
        lines = (zip(self.head()[1:], self.row(deal)[1:], strict=True) for deal in listed)
        return "\n".join(
            f"- {deal.name}, {', '.join(f'{label.lower()}: {cell}' for label, cell in line)}"
            for deal, line in zip(listed, lines, strict=True)
        )

    def pairs(self, deal: Deal, bullet: str = "") -> str:
        return "\n".join(
            f"{bullet}{label}: {cell}" for label, cell in zip(self.head()[1:], self.row(deal)[1:], strict=True)
        )

    def blocks(self, listed: tuple[Deal, ...]) -> str:
        return "\n\n".join(f"{self.noun}: {deal.name}\n{self.pairs(deal)}" for deal in listed)

    def heading_blocks(self, listed: tuple[Deal, ...]) -> str:
        return "\n\n".join(f"### {deal.name}\n\n{self.pairs(deal)}" for deal in listed)

    def heading_bullets(self, listed: tuple[Deal, ...]) -> str:
        return "\n\n".join(f"### {deal.name}\n{self.pairs(deal, '- ')}" for deal in listed)

    def nested(self, listed: tuple[Deal, ...]) -> str:
        return "\n".join(f"- {deal.name}\n{self.pairs(deal, '  - ')}" for deal in listed)

    def sections(self, listed: tuple[Deal, ...]) -> str:
        heading = self.draw(
            st.sampled_from(("## {} deals\n", "### {} deals\n\n", "{} deals:\n", "**{} deals**\n\n", "## {}\n"))
        )
        parts = (("Open", True), ("Closed", False))
        return "\n\n".join(
            heading.format(name)
            + "\n".join(f"- {d.name} ({self.money(d.value)}, {d.owner})" for d in listed if d.is_open is wanted)
            for name, wanted in parts
        )

    def prose(self, listed: tuple[Deal, ...]) -> str:
        still = self.draw(st.sampled_from(("", "still ")))
        return "\n".join(
            f"The {d.name} deal is {still if d.is_open else ''}{d.state}. It is worth {self.money(d.value)}."
            for d in listed
        )

    def plain(self, listed: tuple[Deal, ...]) -> str:
        return "\n".join(" - ".join((d.name, d.state, self.money(d.value), d.owner)) for d in listed)

    def boxes(self, listed: tuple[Deal, ...]) -> str:
        return "\n".join(f"- [{' ' if d.is_open else 'x'}] {d.name} ({self.money(d.value)})" for d in listed)

    def json(self, listed: tuple[Deal, ...]) -> str:
        keys = [label.lower() for label in self.head()]
        return json.dumps(
            {"deals": [dict(zip(keys, (d.name, d.state, d.value, d.owner), strict=True)) for d in listed]}, indent=1
        )


_HEADS = (
    "",
    "# Notes\n\nWe met on Monday. All good so far.\n\n",
    "# Sales notes\n\n## Deals\n\n",
    "# Pipeline review\nA short intro about the quarter, nothing special.\n\n## Current deals\n\n",
)
_TAILS = (
    "",
    "\n\nNext meeting is on Friday.\n",
    "\n\n## Contacts\n- Jane Doe: jane@example.com\n- John Roe: john@example.com\n",
    "\n\n## Other notes\n- The office is open on Monday\n- Coffee machine broken\n",
)
