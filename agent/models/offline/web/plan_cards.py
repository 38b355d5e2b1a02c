"""Plans that are no table: cards below headings, lines of a list, short texts with a price below."""

import re
from collections.abc import Sequence
from dataclasses import replace

from agent.models.offline.facts import is_instruction
from agent.models.offline.web.outline import Block
from agent.models.offline.web.plan_parts import Plan, is_name, one_name
from agent.models.offline.web.prices import Price, is_bare, leads, period_of, prices

_LINE = re.compile(r"^(?P<name>[^:–—($€£]{1,50}?)\s*(?::|\s[-–—]\s?|–|—|\(|(?=\s(?:[$€£¥₹]|\d)))\s*(?P<rest>.+)$")
_PARTS = re.compile(r"[;,](?=\s)|\)\s*[:–—-]?\s*|\s[–—-]\s|\.\s|\s\((?!billed\b)")
_VERB_LAST = re.compile(r"\b(?:is|are|costs?|starts?|at|for|from|only|just|kostet|ab|coûte|cuesta)$", re.IGNORECASE)
"""Ends what is no name but the beginning of a sentence."""
_MARK = re.compile(r"^[✓✔✅☑]\ufe0f?\s+")
_NOT_THERE = re.compile(r"^[✗✘✕✖❌×]\ufe0f?\s+")
_PRICE_LABEL = re.compile(
    r"^(?:monthly |yearly |annual )?(?:price|pricing|cost|fee|preis|prix|precio|prezzo)\W*$", re.IGNORECASE
)
_BUTTON = re.compile(
    r"^(?:(?:get|start|try|buy|choose|select|sign up|subscribe|order|contact|learn|see|book|request|jetzt|mehr)\b.{0,40}|"
    r"most popular|best value|popular|recommended)$",
    re.IGNORECASE,
)
_PERIOD = re.compile(r"^(?:/|per |a |pro |par |al |im )", re.IGNORECASE)
_MOST_FEATURES = 40
_LONGEST_FEATURE = 160


def under_headings(blocks: Sequence[Block]) -> list[Plan]:
    """A plan for each heading with a price below it, of the level that has most of them."""
    levels = sorted({block.level for block in blocks if block.kind == "heading"}, reverse=True)
    best: list[Plan] = []
    for level in levels:
        found = _sections(blocks, level)
        best = found if len(found) > len(best) else best
    return best


def above_headings(blocks: Sequence[Block]) -> list[Plan]:
    """A plan for each heading with a price right above it."""
    heads = [i for i, block in enumerate(blocks) if block.kind == "heading" and i and is_bare(blocks[i - 1].text)]
    ends = [*(head - 1 for head in heads[1:]), len(blocks)]
    cards = [
        (head, _below(blocks[:end], head, blocks[head].level))
        for head, end in zip(heads, ends[: len(heads)], strict=True)
    ]
    return [
        _card(one_name(blocks[head].text), below, "", prices(blocks[head - 1].text))
        for head, below in cards
        if is_name(blocks[head].text)
    ]


def in_lines(blocks: Sequence[Block]) -> list[Plan]:
    """Plans of one line each, such as: Pro: $29 per month, 10 users."""
    found: list[Plan] = []
    indent = -1
    for block in blocks:
        if block.kind == "item" and found and 0 <= indent < block.level:
            found[-1] = replace(found[-1], features=(*found[-1].features, block.text))
        elif block.kind in ("item", "text") and (plan := _line(block.text)):
            found.append(plan)
            indent = block.level if block.kind == "item" else -1
    return found


def in_text(blocks: Sequence[Block]) -> list[Plan]:
    """Plans of cards without headings: a short text, a price below it, then what it includes."""
    bare = [index for index, block in enumerate(blocks) if block.kind != "table" and is_bare(block.text)]
    starts = [at for n, at in enumerate(bare) if not n or not all(map(_is_more, blocks[bare[n - 1] : at]))]
    whole = [(start, run) for start in starts if (run := _run_before(blocks, start))]
    # A card has its name and perhaps a line on whom it is for: as many above each price.
    back = min((len(run) for _, run in whole), default=0)
    names = [run[-back] for _, run in whole]
    ends = [*names[1:], len(blocks)]
    return [
        _card(blocks[name].text, [block for block in blocks[start:end] if block.kind != "heading"], "")
        for (start, _), name, end in zip(whole, names, ends[: len(names)], strict=True)
        if is_name(blocks[name].text)
    ]


def _sections(blocks: Sequence[Block], level: int) -> list[Plan]:
    found = []
    above = ""
    for index, block in enumerate(blocks):
        if block.kind == "heading" and block.level < level:
            above = block.text
        if block.kind == "heading" and block.level == level:
            plan = _section(block.text, _below(blocks, index, level), period_of(above))
            found += [plan] if plan else []
    return found


def _section(heading: str, below: Sequence[Block], period: str) -> Plan | None:
    at = leads(heading)
    name = one_name((heading[:at] if at else heading).rstrip(" (:–—-"))
    if at == 0 or not is_name(name):
        return None
    plan = _card(name, below, period, prices(heading[at:], period) if at and is_bare(heading[at:]) else [])
    return plan if plan.prices else None


def _below(blocks: Sequence[Block], index: int, level: int) -> list[Block]:
    found: list[Block] = []
    for block in blocks[index + 1 :]:
        if block.kind == "heading" and block.level <= level and not is_bare(block.text):
            break
        found.append(block)
    return found


def _card(name: str, blocks: Sequence[Block], period: str, costs: Sequence[Price] = ()) -> Plan:
    """What stands in one card: its prices, which come before the list, and the list."""
    if pairs := _pairs(blocks):
        own = [price for label, value in pairs if _PRICE_LABEL.match(label) for price in prices(value, period)]
        return Plan(name, (*costs, *own), (), tuple(pair for pair in pairs if not _PRICE_LABEL.match(pair[0])))
    found, features, started = list(costs), list[str](), False
    for position, block in enumerate(blocks):
        said = block.text
        if block.kind == "table" or is_instruction(said):
            continue
        if block.kind == "item" and (found or not is_bare(said)):
            started = True
            features.append(said)
        elif is_bare(said) and not started:
            near = " ".join(
                [said, *(each.text for each in blocks[position + 1 : position + 2] if _is_period(each.text))]
            )
            found += [price for price in prices(near, period) if price not in found]
            features += [part.strip() for part in re.split(r"[;,](?=\s)", said)[1:] if _is_added(part)]
        elif not started and _is_feature(block, name):
            features.append(said)
    missing = tuple((_NOT_THERE.sub("", text)[:_LONGEST_FEATURE], "✗") for text in features if _NOT_THERE.match(text))
    there = dict.fromkeys(_MARK.sub("", text)[:_LONGEST_FEATURE] for text in features if not _NOT_THERE.match(text))
    return Plan(name, tuple(found), tuple(there)[:_MOST_FEATURES], missing[:_MOST_FEATURES])


def _pairs(blocks: Sequence[Block]) -> list[tuple[str, str]]:
    """Labels and values that follow each other line by line, one of them the price; else nothing."""
    said = [block.text for block in blocks if not is_instruction(block.text)]
    if len(said) % 2 or any(block.kind != "text" for block in blocks):
        return []
    pairs = list(zip(said[::2], said[1::2], strict=True))
    return pairs if any(_PRICE_LABEL.match(label) and is_bare(value) for label, value in pairs) else []


def _is_added(part: str) -> bool:
    """Whether what follows a price on its line is something that the plan has."""
    return is_name(part.strip()) and not is_bare(part) and not part.strip().casefold().startswith("billed")


def _is_feature(block: Block, name: str) -> bool:
    """Whether a text before a list, or instead of one, tells something of the plan."""
    said = block.text
    told = block.kind == "text" and not block.link and not _BUTTON.match(said) and not _is_period(said)
    told = told and not re.fullmatch(r"(?:~~.*?~~\W*)+", said)
    return told and not said.casefold().startswith("billed") and said != name


def _is_period(text: str) -> bool:
    return len(text.split()) <= 5 and bool(_PERIOD.match(text)) and period_of(text) != ""


def _is_more(block: Block) -> bool:
    """Whether a block between two prices leaves them those of one plan."""
    told = is_bare(block.text) or _is_period(block.text) or block.text.casefold() in ("or", "oder", "ou")
    return block.kind == "text" and told


def _run_before(blocks: Sequence[Block], start: int) -> list[int]:
    """The short texts right above a price, of which one is the plan's name."""
    run: list[int] = []
    for index in range(start - 1, -1, -1):
        block = blocks[index]
        if block.kind != "text" or is_bare(block.text) or block.link or len(block.text.split()) > 12:
            break
        if not _BUTTON.match(block.text):
            run.insert(0, index)
    return run


def _line(text: str) -> Plan | None:
    match = _LINE.match(text)
    if match is None or is_instruction(text):
        return None
    rest = match["rest"].rstrip(")") if "(" not in match["rest"] else match["rest"]
    parts = [part.strip(" .") for part in _PARTS.split(rest) if part.strip(" .)")]
    costs = prices(parts[0]) if parts and is_bare(parts[0]) else []
    name = one_name(match["name"])
    if not costs or not is_name(name) or _VERB_LAST.search(name):
        return None
    more = [price for part in parts[1:] if is_bare(part) and leads(part) is not None for price in prices(part)]
    return Plan(name, (*costs, *more), tuple(part for part in parts[1:] if not is_bare(part)))
