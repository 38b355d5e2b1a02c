"""Plans side by side in words: which costs less and by how much, and what else sets them apart, as the page has it."""

import re
from collections.abc import Sequence
from itertools import combinations

from agent.models.offline.facts import is_instruction
from agent.models.offline.numbers import amounts
from agent.models.offline.web.plan_parts import Plan, same_name, told
from agent.models.offline.web.plans import Offer
from agent.models.offline.web.prices import Price
from agent.models.offline.words import STOP, joined, stem, words

_MOST_LISTED = 25
_QUANTITY = frozenset(
    ("unlimited", "up", "unbegrenzt", "unlimitiert", "illimité", "bis", "jusqu", "gb", "tb", "mb", "kb")
)


def named(offer: Offer, text: str) -> list[Plan]:
    """The plans that `text` names, by whole words."""
    said = f" {' '.join(words(text))} "
    return [plan for plan in offer.plans if f" {' '.join(words(plan.name))} " in said]


def compared(plans: Sequence[Plan], notes: Sequence[str] = ()) -> str:
    """The differences between two or more plans, and what they share."""
    lines = [_verdict(plans), *(f"- {plan.name}: {priced(plan)}" for plan in plans)]
    lines += [f"- {line}" for line in [*_field_lines(plans), *_feature_lines(plans)]]
    if kept := [note for note in notes if not is_instruction(note)]:
        lines.append(f"The page adds: {' / '.join(kept)}")
    return "\n".join(lines)


def cheaper(plans: Sequence[Plan]) -> str:
    """Which of the plans costs least."""
    return "\n".join([_verdict(plans), *(f"- {plan.name}: {priced(plan)}" for plan in plans)])


def described(plan: Plan) -> str:
    """All that the page says of one plan."""
    lines = [f"- {label}: {_value(value)}" for label, value in plan.fields if label and not is_instruction(value)]
    lines += [f"- {feature}" for feature in plan.features]
    return "\n".join([f"{plan.name}: {priced(plan)}", *lines[:_MOST_LISTED]])


def priced(plan: Plan) -> str:
    """A plan's prices, as the page has them."""
    if not plan.prices:
        return "no price on the page"
    known = [price for price in plan.prices if price.value is not None]
    return " or ".join(dict.fromkeys(_written(price) for price in known or plan.prices[:1]))


def _written(price: Price) -> str:
    if price.value is None:
        return f"no price, the page says “{price.written}”"
    said = re.search(r"[/a-zäé]", price.written[1:], re.IGNORECASE) and price.period
    return price.written if said or not price.period or not price.value else f"{price.written} per {price.period}"


def _verdict(plans: Sequence[Plan]) -> str:
    """Which plan is cheaper, and by how much, where the page allows to say so."""
    known = [plan for plan in plans if any(price.value is not None for price in plan.prices)]
    if len(known) < 2:
        return f"The page gives {'one price' if known else 'no prices'} to compare:"
    pairs = _common(known)
    if pairs is None:
        return "The prices are of different kinds (currency, period, per whom), so I do not reckon them against each other:"
    if len(known) == 2:
        return _of_two(known, pairs)
    least = min(pairs, key=lambda price: price.value or 0)
    most = max(pairs, key=lambda price: price.value or 0)
    cheapest = [plan.name for plan, price in zip(known, pairs, strict=True) if price.value == least.value]
    dearest = [plan.name for plan, price in zip(known, pairs, strict=True) if price.value == most.value]
    if least.value == most.value:
        return f"All {len(known)} cost the same: {_written(least)}."
    return (
        f"{joined(cheapest)} {_costs(cheapest)} least ({_written(least)}), {joined(dearest)} most ({_written(most)})."
    )


def _costs(names: Sequence[str]) -> str:
    return "costs" if len(names) == 1 else "cost"


def _of_two(plans: Sequence[Plan], costs: Sequence[Price]) -> str:
    (low, cheap), (high, dear) = sorted(zip(plans, costs, strict=True), key=lambda pair: pair[1].value or 0)
    if cheap.value == dear.value:
        return f"{plans[0].name} and {plans[1].name} cost the same: {_written(costs[0])}."
    less = f", {cheap.less(dear)} less" if cheap.value else ""
    return f"{low.name} is cheaper: {_written(cheap)} against {_written(dear)} for {high.name}{less}."


def _common(plans: Sequence[Plan]) -> list[Price] | None:
    """One price of each plan, all of one kind; None when there is no such kind."""
    for first in plans[0].prices:
        if first.value is None:
            continue
        chosen = [next((price for price in plan.prices if price.is_like(first)), None) for plan in plans]
        found = [price for price in chosen if price is not None]
        if len(found) == len(plans) and all(one.is_like(other) for one, other in combinations(found, 2)):
            return found
    # The first may cost nothing, which is like any other price.
    rest = [plan for plan in plans if not all(price.value == 0 for price in plan.prices)]
    if not rest or len(rest) == len(plans):
        return None
    others = _common(rest) if len(rest) > 1 else [next(p for p in rest[0].prices if p.value is not None)]
    if others is None:
        return None
    by_name = dict(zip([plan.name for plan in rest], others, strict=True))
    return [by_name.get(plan.name, plan.prices[0]) for plan in plans]


def _field_lines(plans: Sequence[Plan]) -> list[str]:
    """A line for each labelled part: what each plan has there, those that differ first."""
    labels = dict.fromkeys(label for plan in plans for label, _ in plan.fields if label)
    differing, same = [], []
    for label in [one for one in labels if not is_instruction(one)][:_MOST_LISTED]:
        values = [plan.get(label) for plan in plans]
        if len(set(map(_plain, values))) > 1:
            differing.append(_differing(label, plans, values))
        elif told(values[0]) is not False:
            same.append(label if told(values[0]) else f"{label} ({values[0]})")
    return differing + ([f"{_all(plans)}: {', '.join(same)}"] if same else [])


def _differing(label: str, plans: Sequence[Plan], values: Sequence[str]) -> str:
    if all(told(value) is not None for value in values):
        having = [plan.name for plan, value in zip(plans, values, strict=True) if told(value)]
        return f"Only in {joined(having)}: {label}"
    return f"{label}: " + ", ".join(f"{plan.name} {_value(value)}" for plan, value in zip(plans, values, strict=True))


def _feature_lines(plans: Sequence[Plan]) -> list[str]:
    """What lists say: limits that differ, what all have, and what only some have."""
    listed = [[one for one in plan.features if not is_instruction(one)] for plan in plans]
    keys = {_key(feature) for features in listed for feature in features}
    lines, shared, used = [], list[str](), set[str]()
    for key in sorted(keys, key=lambda key: next(i for i, f in enumerate(_flat(listed)) if _key(f) == key)):
        having = [next((f for f in features if _key(f) == key), "") for features in listed]
        if not key or not all(having):
            continue
        used.add(key)
        if len(set(map(_plain, having))) == 1:
            shared.append(having[0])
        else:
            lines.append(
                "Limits: " + ", ".join(f"{plan.name} “{text}”" for plan, text in zip(plans, having, strict=True))
            )
    for plan, features in zip(plans, listed, strict=True):
        if own := [feature for feature in features if _key(feature) not in used or not _key(feature)]:
            lines.append(
                f"{plan.name} lists: {'; '.join(own)}"
                if len(plans) > 2
                else f"Only {plan.name} lists: {'; '.join(own)}"
            )
    return lines + ([f"{_all(plans)}: {'; '.join(shared)}"] if shared else [])


def _key(feature: str) -> str:
    """What a feature is of, whatever its number: projects of both 3 projects and unlimited projects."""
    counted = bool(amounts(feature)) or "unlimited" in feature.casefold() or "unbegrenzt" in feature.casefold()
    said = [stem(word) for word in words(feature)]
    if not counted:
        return " ".join(said)
    kept = [word for word in said if not any(map(str.isdigit, word)) and word not in _QUANTITY | STOP]
    return " ".join(kept)


def _flat(listed: Sequence[Sequence[str]]) -> list[str]:
    return [feature for features in listed for feature in features]


def _plain(value: str) -> str:
    answer = told(value)
    return str(answer) if answer is not None else " ".join(value.casefold().split())


def _value(value: str) -> str:
    answer = told(value)
    return value if answer is None else "yes" if answer else "no"


def _all(plans: Sequence[Plan]) -> str:
    return "Both have" if len(plans) == 2 else "All have"


def one_of(plans: Sequence[Plan], name: str) -> Plan | None:
    """The plan called `name`."""
    return next((plan for plan in plans if same_name(plan.name, name)), None)
