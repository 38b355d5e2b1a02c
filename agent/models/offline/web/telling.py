"""What is told of a page: its plans and their prices, or what it says about a question."""

import re
from collections.abc import Sequence
from urllib.parse import urljoin

from agent.models.offline.facts import is_instruction
from agent.models.offline.replies import closed
from agent.models.offline.sentences import sentences
from agent.models.offline.web import comparing
from agent.models.offline.web.asked import EMPTY, PRICE, Asked, wanted_words
from agent.models.offline.web.outline import links, outline
from agent.models.offline.web.pages import WebPage
from agent.models.offline.web.plan_parts import Plan, told
from agent.models.offline.web.plans import Offer
from agent.models.offline.web.prices import is_bare
from agent.models.offline.words import alike, content, joined, stems

_MOST_QUOTED = 4


def priced(asked: Asked, offered: Offer, page: WebPage) -> str:
    """What is asked about plans and their prices; '' where nothing is."""
    named = comparing.named(offered, asked.masked)
    if not asked.questions:
        return ""
    if found := having(asked, offered):
        return found
    if named and PRICE.search(asked.masked):
        return "\n".join(f"{plan.name}: {comparing.priced(plan)} (from {page.url})" for plan in named)
    if named and re.search(r"\b(?:includ|offer|feature|contain|come with|get|have|plan)", asked.masked, re.IGNORECASE):
        return "\n".join(map(comparing.described, named))
    about_all = asked.offered or re.search(
        r"\bprices\b|\bpricing\b|\bhow much\b|\bcosts?\b", asked.masked, re.IGNORECASE
    )
    if about_all and (PRICE.search(asked.masked) or asked.offered) and not _wanted_else(asked, offered):
        return "\n".join(
            [f"{page.shown} has:", *(f"- {plan.name}: {comparing.priced(plan)}" for plan in offered.plans)]
        )
    return ""


def having(asked: Asked, offered: Offer) -> str:
    """Which plans have what is asked for; '' unless the page lists it for one."""
    wanted = content(asked.having)
    found = [(plan.name, line) for plan in offered.plans for line in _held(plan) if _covers(line, wanted, 1.0)]
    names = joined(list(dict.fromkeys(name for name, _ in found)))
    return f"{names}: {joined(list(dict.fromkeys(line for _, line in found)))}." if found else ""


def _held(plan: Plan) -> list[str]:
    """What a plan has, line by line."""
    cells = [(label, value, told(value)) for label, value in plan.fields]
    return [*plan.features, *(label if yes else f"{label} {value}" for label, value, yes in cells if yes is not False)]


def _wanted_else(asked: Asked, offered: Offer) -> bool:
    """Whether the question is about something that the page says, only not as a plan."""
    known = {one for plan in offered.plans for one in stems(plan.name)} | {
        "price", "pricing", "cost", "plan", "package", "tier", "edition", "option", "fee", "available", "offer", "there"
    }  # fmt: skip
    return bool({one for text in asked.questions for one in wanted_words(text)} - known)


def too_few(plans: Sequence[Plan], pages: Sequence[WebPage], texts: Sequence[str]) -> str:
    """That there are no two plans to compare, and what there is instead."""
    where = joined([page.shown for page in pages])
    if plans:
        return f"I found only one plan on {where}, so there is nothing to compare:\n{comparing.described(plans[0])}"
    headings = [
        block.text
        for text in texts
        for block in outline(text)
        if block.kind == "heading" and not is_instruction(block.text)
    ]
    costs = [
        b.text
        for text in texts
        for b in outline(text)
        if b.kind != "table" and is_bare(b.text) and re.search(r"\d", b.text)
    ]
    instead = f" Its headings are {joined(headings[:8])}." if headings else ""
    instead += f" It has these prices, but I could not tell what they are for: {joined(costs[:6])}." if costs else ""
    return f"I found no plans to compare on {where}.{instead}"


def about(question: str, text: str) -> str:
    """What stands below the heading that the question is about, or the sentences that have all its words."""
    wanted = wanted_words(question)
    return _quoted(text, wanted, 1.0) or _quoted(text, wanted, 0.5)


def _quoted(text: str, wanted: Sequence[str], share: float) -> str:
    quoted: list[str] = []
    below = False
    for block in outline(text):
        if block.kind == "heading":
            below = _covers(block.text, wanted, share)
            continue
        for sentence in sentences(block.text):
            if (below or _covers(sentence, wanted, 1.0)) and not is_instruction(sentence) and sentence not in quoted:
                quoted.append(sentence)
    return "\n".join(closed(one) for one in quoted[:_MOST_QUOTED])


def _covers(text: str, wanted: Sequence[str], share: float) -> bool:
    """Whether a text has so large a share of the words."""
    said = stems(text)
    return bool(wanted) and sum(any(alike(word, one) for one in said) for word in wanted) >= share * len(wanted)


def link_to(asked: str, text: str, base: str) -> str:
    """The address of the link whose text has most of what is asked for; '' when none has any."""
    wanted = [word for word in content(asked) if word not in EMPTY | {"download"}]
    best, most = "", 0.0
    for link in links(text):
        said = stems(f"{link.text} {re.sub(r'[/_.-]', ' ', link.target)}")
        share = sum(any(alike(word, one) for one in said) for word in wanted) / (len(wanted) or 1)
        target = urljoin(base, link.target)
        if share > most and target.startswith(("http://", "https://")):
            best, most = target, share
    return best if most >= 0.5 else ""
