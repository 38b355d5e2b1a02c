"""The plans that a page offers: their names, prices and what they include, from tables, cards, lists or sentences."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.models.offline.sentences import sentences
from agent.models.offline.web import plan_cards, plan_tables
from agent.models.offline.web.outline import Block, outline
from agent.models.offline.web.plan_parts import Plan, bare_name, merged, one_name
from agent.models.offline.web.prices import prices

_SENTENCE = re.compile(
    r"(?:^|[,;(]\s*|\b(?:and|while|whereas|the|our|a|an|und|der|le)\s+)(?:plan\s+)?"
    r"[\"“'«]?(?P<name>[A-Z][\w+&-]*(?: [A-Z][\w+&-]*){0,2})"
    r"[\"”'»]?(?:\s+(?:plan|tier|package|edition|subscription|version|tarif))?\s+"
    r"(?:costs?|is priced at|is available (?:for|at)|starts at|comes (?:in )?at|"
    r"goes for|sells for|is|kostet|coûte|cuesta|at|for)\s+"
    r"(?:just |only |nur )?(?P<rest>.+?)(?=(?:,?\s+(?:and|while|whereas|und|et|y)\s+(?:the\s+|der\s+|our\s+)?[A-Z])|[;!]|$)"
)
_NOTE = re.compile(r"^(?:\*+|[¹²³⁴†‡]|\[\d+\])\s*\S")
_MOST_NOTES = 4
_MOST_PLANS = 12


@dataclass(frozen=True, slots=True)
class Offer:
    """What a page offers: its plans, and its footnotes on them."""

    plans: tuple[Plan, ...] = ()
    notes: tuple[str, ...] = field(default=())


def offer(markdown: str) -> Offer:
    """The plans of a page, as many as it has: none, one or more."""
    blocks = outline(markdown)
    ways: tuple[Callable[[Sequence[Block]], list[Plan]], ...] = (
        plan_tables.plans,
        plan_cards.under_headings,
        plan_cards.above_headings,
        plan_cards.in_lines,
        plan_cards.in_text,
        _in_sentences,
    )
    found = [_united(way(blocks)) for way in ways]
    alone = [one for one in found[:3] if one]
    plans = next((several for several in found if len(several) > 1), alone[0] if alone else [])
    plans = plan_tables.enriched(plans, blocks)[:_MOST_PLANS]
    notes = [block.text for block in blocks if block.kind in ("text", "item") and _NOTE.match(block.text)]
    return Offer(tuple(plans), tuple(notes[:_MOST_NOTES]))


def _united(found: Sequence[Plan]) -> list[Plan]:
    """Plans of one name made one: pages show them by the month and once more by the year."""
    by_name: dict[str, list[Plan]] = {}
    for plan in found:
        by_name.setdefault(bare_name(plan.name), []).append(plan)
    return [merged(plans) for plans in by_name.values()]


def _in_sentences(blocks: Sequence[Block]) -> list[Plan]:
    """Plans in running text, such as: The Basic plan costs $9 per month and the Pro plan $29."""
    said = (sentence for block in blocks if block.kind != "table" for sentence in sentences(block.text))
    found = (match for sentence in said for match in _SENTENCE.finditer(sentence))
    return [Plan(one_name(match["name"]), tuple(costs[:1])) for match in found if (costs := prices(match["rest"]))]
