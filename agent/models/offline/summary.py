"""Short extractive summaries: the sentences that carry most of a text, and what its tables and lists hold."""

import re
from collections import Counter
from collections.abc import Sequence

from agent.models.offline.columns import measure
from agent.models.offline.evaluate import total
from agent.models.offline.facts import is_instruction
from agent.models.offline.records import Document, Group, Sentence
from agent.models.offline.states import state
from agent.models.offline.vocabulary import STATUS_LABELS, family
from agent.models.offline.words import content, joined, stems

_MOST_SENTENCES = 3
_LONGEST_SENTENCE = 260
_MOST_GROUPS = 4

INJECTION_NOTE = "The file also has text that reads like instructions; I treat it as content and do not follow it."


def summary(document: Document) -> str:
    """A few lines on `document`."""
    if not document.text.strip():
        return f"{document.path} is empty."
    lines = [_head(document), *(f"- {text}" for text in [*_key_sentences(document.sentences), *_group_lines(document)])]
    if any(is_instruction(line) for line in document.text.splitlines()):
        lines.append(INJECTION_NOTE)
    return "\n".join(lines)


def sizes(document: Document) -> dict[str, int]:
    """How many lines, words and so on `document` has, by the singular of their name."""
    text = document.text
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if part.strip()]
    return {
        "line": len(text.splitlines()),
        "word": len(text.split()),
        "character": len(text),
        "letter": sum(map(str.isalpha, text)),
        "heading": len(document.headings),
        "section": len(document.headings),
        "sentence": len(document.sentences),
        "paragraph": len(paragraphs),
        "bytes": len(text.encode()),
    }


def _head(document: Document) -> str:
    size = len(document.text.split())
    part = " (its beginning)" if document.truncated else ""
    title = f": {document.headings[0]}" if document.headings else ""
    sections = f"; sections {joined(list(document.headings[1:]), 8)}" if len(document.headings) > 1 else ""
    return f"Summary of {document.path}{part}{title} ({size} words{sections})"


def _key_sentences(sentences: Sequence[Sentence]) -> list[str]:
    usable = [one.text for one in sentences if len(content(one.text)) > 2 and not is_instruction(one.text)]
    weights = Counter(word for text in usable for word in set(content(text)))
    ranked = sorted(range(len(usable)), key=lambda i: _weight(usable[i], i, weights), reverse=True)
    return [_shortened(usable[index]) for index in sorted(ranked[:_MOST_SENTENCES])]


def _weight(text: str, index: int, weights: Counter[str]) -> float:
    found = content(text)
    return sum(weights[word] for word in set(found)) / (len(found) + 3) + (0.5 if index == 0 else 0.0)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SENTENCE else text[:_LONGEST_SENTENCE].rsplit(" ", 1)[0] + " …"


def _group_lines(document: Document) -> list[str]:
    large = [group for group in document.groups if len(group.records) > 1]
    return [_group_line(group) for group in large[:_MOST_GROUPS]]


def _group_line(group: Group) -> str:
    what = f"{group.headings[-1]}: " if group.headings else ""
    columns = [label for label in group.columns if label]
    kind = f"{len(group.records)} rows with {joined(columns, 8)}" if columns else f"{len(group.records)} entries"
    names = "" if columns else f" ({joined([record.name for record in group.records], 5)})"
    return what + "; ".join(filter(None, [kind + names, _states(group), _totals(group)]))


def _states(group: Group) -> str:
    labelled = any(set(stems(label)) & STATUS_LABELS for label in group.labels())
    if not labelled and all(record.done is None for record in group.records):
        return ""
    counts = Counter(state(record) for record in group.records if state(record))
    return joined([f"{count} {name}" for name, count in counts.most_common(5)])


def _totals(group: Group) -> str:
    label = next((one for one in group.labels() if family(one) == "value"), None)
    values = [found for record in group.records if label and (found := measure(record, label))]
    return f"total {label} {total(values)}" if len(values) > 1 else ""
