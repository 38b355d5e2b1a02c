"""How people word what a chart shall show, whatever the table."""

import re
from collections.abc import Collection, Iterator, Sequence

from agent.models.offline.words import NUMBER_WORDS, STOP, stem, stems, word_set, words

OPERATIONS = (
    ("average", r"\b(?:averages?|means?|avg)\b"),
    ("median", r"\bmedians?\b"),
    ("count", r"\b(?:count(?:s|ing)?|number of|how many)\b"),
    ("maximum", r"\b(?:max(?:imum)?|highest|largest|biggest)\b"),
    ("minimum", r"\b(?:min(?:imum)?|lowest|smallest)\b"),
    ("total", r"\b(?:totals?|sums?)\b"),
)
_NUMBER = rf"\d{{1,3}}|{'|'.join(NUMBER_WORDS)}"
_SIDES = r"(?:highest|largest|biggest|best|lowest|smallest|worst)"
TOP = re.compile(
    rf"\b(?:(?:top|bottom|{_SIDES})\s+(?P<count>{_NUMBER})|(?P<count2>{_NUMBER})\s+{_SIDES})\b"
    rf"(?:\s+(?P<noun>(?!per\b|by\b|of\b|in\b)[\w-]+)(?=\s+(?:by|in|with|of)\b))?",
    re.IGNORECASE,
)
"""So many bars only; the noun is what they stand for, as in "top 2 regions by amount"."""

NARROWING = re.compile(
    r"\b(?:only(?!\s+(?:draw|plot|chart|show))|except|excluding|without|other than|where|limited to)\b(?P<rest>[^.;:]*)",
    re.IGNORECASE,
)
"""Words that limit a chart to some rows, and those rows."""

_GROUPED = re.compile(
    r"(?P<strict>\bper\b|(?<!sorted )(?<!ordered )(?<!ranked )(?<!sort )(?<!order )\bby\b|"
    r"\b(?:for|of|in) (?:each|every)\b)|\b(?:for all|across|against|vs)\b",
    re.IGNORECASE,
)
_ARTICLES = re.compile(r"^[\s\"'`“]*(?:(?:the|a|an|their|its|different|single|column|each|every)\b[\s\"'`“]*)*", re.I)
_PHRASE_END = re.compile(
    r"[,.;:!?]|\b(?:in|from|of|for|with|into|to|on|as|using|then|where|only|and|but|except|excluding|without|that|which|is|"
    r"are|per|by|the|a|an|it)\b",
    re.IGNORECASE,
)
_NO_COLUMN = word_set(
    """today tomorrow monday tuesday wednesday thursday friday saturday sunday noon tonight default hand itself yourself
    using drawing making adding row rows line lines value values"""
)
_DRAWING = r"(?:plot|draw|sketch|visuali[sz]e|chart|graph|histogram|bars)"
_REDUCING = (
    r"(?:total|sum(?:\s+up)?|average|mean|median|highest|lowest|maximum|minimum|max|min|largest|smallest|add(?:\s+up)?)"
)
_OBJECTS = (
    re.compile(rf"(?P<word>[\w-]+)[\"'`”]?\s+(?:column\s+|values?\s+)?(?={_GROUPED.pattern})", re.IGNORECASE),
    re.compile(
        rf"\b(?:{_DRAWING}|{_REDUCING})\s+(?:(?:of|the|all|up|total|average|median|column|values|for|a|an)\s+)*[\"'`“]?"
        r"(?P<word>[\w-]+)",
        re.IGNORECASE,
    ),
)
_SHAPES = r"pie|donut|doughnut|line|scatter|area|stacked|radar|bubble|box|heat ?map|treemap|histogram|column"
_SHAPE = re.compile(
    rf"\b(?P<a>{_SHAPES})(?=\s+(?:charts?|graphs?|plots?|diagrams?)\b)|\bas an? (?P<b>{_SHAPES})\b|"
    r"\b(?P<c>pie|histogram|heat ?map|treemap|scatter)\b",
    re.IGNORECASE,
)
_PLAIN = word_set(
    """chart graph plot diagram histogram bar draw drawn drawing create make made produce generate render build prepare
    visualise visualize visualisation visualization sketch save store put write written call called named export keep
    result picture image figure compute calculate work out each every column row group grouped grouping up take load open
    answer reply report value number numeric data table sheet showing shown show shows display send total sum average mean
    median count counting maximum minimum max min highest lowest largest smallest biggest avg add added new nice simple
    small quick quickly workspace bars break broken down compare comparison comparing aggregate combined overall
    altogether together well back use python program script svg png format kind across against vs for other
    different do have go please pie donut doughnut line scatter area stacked radar bubble box heatmap treemap after
    except excluding without where limited be of these totals amounted sold sell made spent"""
)


def place(spoken: Sequence[str], text: str) -> int:
    """Where the words of `text` begin among the stems `spoken`, -1 when they are not there."""
    parts = stems(text)
    places = range(len(spoken) - len(parts) + 1) if parts else range(0)
    return next((at for at in places if list(spoken[at : at + len(parts)]) == parts), -1)


def grouping_phrases(said: str) -> Iterator[tuple[list[str], bool]]:
    """What stands behind such words as "per", as stems, and whether it can only be a column."""
    for match in _GROUPED.finditer(said):
        behind = _ARTICLES.sub("", said[match.end() :])
        phrase = words(_PHRASE_END.split(behind, maxsplit=1)[0])[:3]
        telling = [stem(word) for word in phrase if word not in STOP | _NO_COLUMN and not word.isdigit()]
        if telling:
            yield telling, match["strict"] is not None


def second_group(said: str, labels: Sequence[str]) -> str:
    """The other column that follows in "per region and rep", "" when none does."""
    pattern = (
        rf"(?:{_GROUPED.pattern})\s+(?:the\s+)?[\w`-]+"
        r"(?:\s+and\s+|\s*,\s*|\s*&\s*)(?:(?:per|by|the)\s+)*(?P<next>[\w-]+)"
    )
    found = [stems(match["next"]) for match in re.finditer(pattern, said, re.IGNORECASE)]
    return next((label for label in labels if stems(label) in found), "")


def objects(said: str) -> list[str]:
    """The words in the place of what is to be worked out or drawn, lower case."""
    found = [match["word"] for pattern in _OBJECTS for match in pattern.finditer(said)]
    return [word for text in dict.fromkeys(found) for word in words(text) if word not in STOP]


def shape(said: str) -> str:
    """The kind of chart that is asked for where it is not one of bars."""
    match = _SHAPE.search(said)
    return next(filter(None, match.groups()), "").casefold() if match else ""


def loose_words(said: str, known: Collection[str]) -> list[str]:
    """The words of `said` that neither belong to asking for a chart nor have their stem among the `known`."""
    return [
        word
        for word in dict.fromkeys(words(said))
        if word not in STOP | _PLAIN | set(NUMBER_WORDS)
        and not {word, stem(word)} & (_PLAIN | set(known))
        and not word.isdigit()
    ]
