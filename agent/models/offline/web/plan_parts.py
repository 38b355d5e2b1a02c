"""A plan and what it is made of."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from agent.models.offline.facts import is_instruction
from agent.models.offline.web.prices import Price
from agent.models.offline.words import word_set

_YES = word_set("✓ ✔ ✔️ ✅ yes included ja oui sí si sì x ☑ ● • true")
_NO = word_set("✗ ✘ ✕ ✖ × ❌ - – — no none nein non not ☐ ○ false n/a")
_NOT_INCLUDED = frozenset(("not included", "not available", "nicht enthalten", "non inclus"))
_BADGE = re.compile(
    r"\s*[(\[–—:-]?\s*(?:most popular|best value|popular|recommended|beliebt|empfohlen|new|current plan)\s*[)\]!]?\s*$",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"^(?:(?:the |our |all |key |main )?(?:prices?|pricing|costs?|features?|limits?|includ(?:ed|es)|"
    r"what(?:['’]s| is) included|plans?|benefits?|"
    r"details|support|overview|faq.*|frequently.*|questions?.*|monthly|yearly|annual(?:ly)?|billed .*|compare.*|"
    r"choose .*|get started.*|"
    r"sign up.*|try .*|start .*|buy .*|contact.*|most popular|best value|popular|recommended|"
    r"everything in .*|per month|preise?|tarife?|leistungen|funktionen|"
    r"plans? (?:and|&) pric\w+|pric\w+ (?:and|&) plans?))\W*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a page says of one plan; `fields` are the labelled parts, such as the rows of a table, `features` the others."""

    name: str
    prices: tuple[Price, ...] = ()
    features: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    def get(self, label: str) -> str:
        """What the plan has for a label; '' when nothing is said."""
        return next((value for key, value in self.fields if key.casefold() == label.casefold()), "")


def one_name(name: str) -> str:
    """A plan's name without what is hung onto it, such as Most popular."""
    bare = re.sub(r"^(?:The|Our)\s+(?=\S)", "", name.strip().strip("*:–—-").strip())
    return _BADGE.sub("", bare).strip() or name.strip()


def same_name(one: str, other: str) -> bool:
    """Whether two names are those of one plan, as Pro is the Pro plan."""
    return bare_name(one) == bare_name(other)


def bare_name(name: str) -> str:
    """What the names of one plan have in common, to find it by."""
    plain = re.sub(r"^(?:the|our|der|le)\s+", "", one_name(name).casefold())
    return re.sub(r"[\s-]*\b(?:plan|tier|package|edition|subscription|tarif|paket)$", "", plain).strip() or plain


def is_name(text: str) -> bool:
    """Whether a short text may be what a plan is called."""
    return (
        0 < len(text.split()) <= 6
        and len(text) <= 60
        and any(map(str.isalpha, text))
        and not text.endswith((".", "?", "!", ","))
        and not _GENERIC.match(text)
        and not is_instruction(text)
    )


def merged(plans: Sequence[Plan]) -> Plan:
    """All that is said of one plan in several places, under its first name."""
    if len(plans) == 1:
        return plans[0]
    return replace(
        plans[0],
        prices=_unique(price for plan in plans for price in plan.prices),
        features=_unique(feature for plan in plans for feature in plan.features),
        fields=_unique(field for plan in plans for field in plan.fields),
    )


def told(value: str) -> bool | None:
    """Whether a cell says yes or no; None for what says more."""
    plain = value.strip().strip(".!").casefold()
    if plain in _YES:
        return True
    return False if plain in _NO or plain in _NOT_INCLUDED or not plain else None


def _unique[T](items: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))
