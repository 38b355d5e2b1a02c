"""Plans in tables: a column or a row for each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.models.offline.web.outline import Block
from agent.models.offline.web.plan_parts import Plan, bare_name, one_name
from agent.models.offline.web.prices import Price, is_bare, leads, period_of, prices

_PRICE_WORD = re.compile(
    r"\b(?:prices?|pricing|costs?|fees?|rates?|monthly|yearly|annual(?:ly)?|(?:per|/) ?(?:month|year|mo|yr)|preise?|kosten|"
    r"gebühr|monatlich|jährlich|prix|tarifs?|precio|prezzo|prijs|preço|cena|pris)\b",
    re.IGNORECASE,
)
_PLAN_WORD = re.compile(
    r"^(?:plans?|tiers?|packages?|editions?|names?|products?|subscriptions?|tarife?|pakete?|formules?)?$", re.IGNORECASE
)
_BY_TIME = re.compile(r"month|year|monat|jahr|/mo|/yr", re.IGNORECASE)

type Rows = tuple[tuple[str, ...], ...]


def plans(blocks: Sequence[Block]) -> list[Plan]:
    """The plans of all tables that have any with prices."""
    found: list[Plan] = []
    for index, block in enumerate(blocks):
        rows = _squared(block.rows)
        if len(rows) > 1 and len(rows[0]) > 1:
            found += _of_table(rows, _period_above(blocks, index))
    return found


def enriched(found: Sequence[Plan], blocks: Sequence[Block]) -> list[Plan]:
    """The plans with what tables that name them in their header say of them."""
    known, places = list(found), {bare_name(plan.name): position for position, plan in enumerate(found)}
    for block in blocks:
        for column, position in _named(block, places).items():
            plan = known[position]
            labels = {label.casefold() for label, _ in plan.fields}
            cells = [(row[0], row[column]) for row in _squared(block.rows)[1:] if row[0] and not is_bare(row[column])]
            known[position] = replace(
                plan, fields=(*plan.fields, *(cell for cell in cells if cell[0].casefold() not in labels))
            )
    return known


def _named(block: Block, places: Mapping[str, int]) -> dict[int, int]:
    """Which column of a table is about which of the plans, where it has two or more; `places` are theirs by bare name."""
    header = _squared(block.rows)[0] if block.rows else ()
    found = {c: places[bare] for c, name in enumerate(header) if (bare := bare_name(name)) in places}
    return found if len(found) > 1 else {}


def _of_table(rows: Rows, period: str) -> list[Plan]:
    by_row = [_share(row[1:]) for row in rows[1:]]
    by_column = [_share([row[c] for row in rows[1:]]) for c in range(1, len(rows[0]))]
    if _share(rows[0][1:]) == 1:
        return _columns(rows, period)
    if max(by_row) < 0.5 and max(by_column) < 0.5:
        return []
    labelled = _is_labelled([row[0] for row in rows[1:]], by_row), _is_labelled(rows[0][1:], by_column)
    if labelled[0] != labelled[1]:
        return _columns(rows, period) if labelled[0] else _rows(rows, period)
    if max(by_row) == max(by_column) and rows[0][0] and _PLAN_WORD.match(rows[0][0]):
        return _rows(rows, period)
    return _columns(rows, period) if max(by_row) >= max(by_column) else _rows(rows, period)


def _is_labelled(labels: Sequence[str], shares: Sequence[float]) -> bool:
    return any(_PRICE_WORD.search(label) and share >= 0.5 for label, share in zip(labels, shares, strict=True))


def _columns(rows: Rows, period: str) -> list[Plan]:
    found = (_plan(rows[0][c], [(row[0], row[c]) for row in rows[1:]], period) for c in range(1, len(rows[0])))
    return [plan for plan in found if plan]


def _rows(rows: Rows, period: str) -> list[Plan]:
    found = (_plan(row[0], list(zip(rows[0][1:], row[1:], strict=True)), period) for row in rows[1:])
    return [plan for plan in found if plan]


def _plan(heading: str, cells: Sequence[tuple[str, str]], period: str) -> Plan | None:
    at = leads(heading)
    costs: list[Price] = prices(heading[at:], period) if at is not None else []
    fields = []
    for label, value in cells:
        found = prices(value, period_of(label) or period) if _is_price(label, value) else []
        costs += found
        if not found:
            fields.append((label, value))
    name = one_name(heading[:at].rstrip(" (") if at else heading)
    return Plan(name, tuple(costs), fields=tuple(fields)) if name and at != 0 else None


def _is_price(label: str, value: str) -> bool:
    """Whether a cell is a price of the plan itself, not of something that it has for more."""
    if not is_bare(value):
        return False
    timed = bool(period_of(label)) or (leads(value) is not None and bool(_BY_TIME.search(value)))
    return not label or timed or bool(_PRICE_WORD.search(label))


def _share(cells: Sequence[str]) -> float:
    return sum(map(is_bare, cells)) / len(cells) if cells else 0.0


def _squared(rows: Rows) -> Rows:
    width = max(map(len, rows), default=0)
    return tuple((*row, *[""] * (width - len(row))) for row in rows)


def _period_above(blocks: Sequence[Block], index: int) -> str:
    return period_of(next((block.text for block in reversed(blocks[:index]) if block.kind == "heading"), ""))
