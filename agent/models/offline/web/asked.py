"""What a message wants of the pages whose addresses it has."""

import re
from collections.abc import Sequence

from agent.models.offline.asks import ask
from agent.models.offline.clauses import Clause, clauses
from agent.models.offline.files import file_names
from agent.models.offline.web.addresses import Address, addresses, unopenable
from agent.models.offline.words import content

_KEEPING = re.compile(
    r"^(?:please\s+|also\s+|and\s+|can you\s+)*(?:remember|note|keep in mind|don['’]t forget|append|add|replace|change|"
    r"rename|fyi)\b",
    re.IGNORECASE,
)
_WRITING = re.compile(r"^(?:please\s+|also\s+|can you\s+)*(?:write|create|put|make|draft)\b", re.IGNORECASE)
_STORING = re.compile(
    r"^(?:please\s+|also\s+|and\s+|then\s+)*(?:save|store|put|keep)\s+(?:it|that|this|the file)\b", re.IGNORECASE
)
_FROM = re.compile(r"\b(?:from|on|at|of|in|to)\s+(?:the\s+)?(?:page\s+|site\s+|website\s+)?\x00", re.IGNORECASE)
SAVE = re.compile(r"\b(?:save|store|write|put|export|keep|print|into|as)\b", re.IGNORECASE)
_PDF = re.compile(r"\bpdfs?\b", re.IGNORECASE)
_PICTURE = re.compile(
    r"\bscreen\s?-?(?:shots?|captures?)\b|\bcapture\b|\b(?:picture|image|snapshot|photo) of\b", re.IGNORECASE
)
_DOWNLOAD = re.compile(r"\bdownload\b|\bfetch (?:the|a|all)\b.{0,40}\b(?:file|list|sheet|document)\b", re.IGNORECASE)
_COMPARE = re.compile(
    r"\bcompar\w*|\bdifferen\w*|\bdiffer\b|\bversus\b|\bvs\b\.?|\bvergleich\w*|\bcheap(?:er|est)\b|"
    r"\bbetter value\b|\bleast expensive\b|"
    r"\bmore expensive\b|\bmost expensive\b|\bcosts? (?:more|less|most|least)\b|\bside by side\b|\bwhich (?:\w+ )?plans?\b",
    re.IGNORECASE,
)
_CHEAPER = re.compile(r"\bcheap|\bexpensive\b|\bcosts? (?:more|less|most|least)\b|\bbetter value\b", re.IGNORECASE)
PRICE = re.compile(r"\bpric(?:e|es|ing|ed)\b|\bcosts?\b|\bhow much\b|\bfees?\b|\bpreis\w*|\bkostet\b", re.IGNORECASE)
_OFFERED = re.compile(r"\bplans?\b|\bpackages?\b|\btiers?\b|\beditions?\b|\boptions?\b", re.IGNORECASE)
_HAVING = re.compile(
    r"\bwhich (?:of the )?(?:plans?|ones?|tiers?|packages?)\s+(?:has|have|includes?|offers?|comes? with)\s+(.+?)[?.]*$",
    re.IGNORECASE,
)
SUMMARY = re.compile(
    r"\bsummar|\boverview\b|\brecap\b|\bgist\b|\bwhat(?:['’]s| is) (?:on|at)\b|\bzusammen", re.IGNORECASE
)
_ASKING = re.compile(
    r"\?|\b(?:what|which|who|when|where|how|why|whether|does|do|is|are|can)\b|\b(?:tell|give|show) me\b|"
    r"\bfind(?: out)?\b|\bget\b|\blook up\b|\bsays?\b|\blist\b",
    re.IGNORECASE,
)
_ORDERED = r"(?:^|[.,;:!]\s*|\b(?:and|then|please|also|you|you to|now)\s+|\x00[\s,]*(?:to\s+)?)"
_FORM = re.compile(
    rf"{_ORDERED}(?:fill\s+(?:in|out|the|this|that|its|my|our)\b|submit\b|complete\s+(?:\w+\s+){{0,3}}form\b|"
    r"(?:send|use)\s+(?:the|this|that)\s+(?:\w+\s+){0,3}form\b|click\s+(?:on|the|[\"“'])|press\s+(?!and\b)\w|upload\b|"
    r"sign\s*(?:me\s+|us\s+)?(?:up|in|on)\b|log\s*(?:me\s+|us\s+)?in(?:to)?\b|subscribe\b|"
    r"register\s*(?:\b(?:me|us|for|at|on|with|there|an?)\b|[\x00.,!]|$)|(?:type|enter)\s+(?!and\b|or\b)[\w\"“']|"
    r"(?:buy|purchase|book)\s+(?:me|us|the|an?|it|one|two|\d+)\b)",
    re.IGNORECASE,
)
"""An order to give something to a page, or to press something on it."""
_WONDERING = re.compile(
    r"^(?:please\s+)?(?:what|which|how|when|where|who|why|do|does|did|is|are|was|were|tell|explain|summari[sz]e|find)\b",
    re.IGNORECASE,
)
EMPTY = frozenset(
    (
        "page",
        "site",
        "website",
        "web",
        "say",
        "tell",
        "open",
        "visit",
        "url",
        "link",
        "address",
        "http",
        "https",
        "save",
        "pdf",
    )
)
PICTURES = (".png", ".jpg", ".jpeg")
TEXTS = (".md", ".txt")


def web_clauses(found: Sequence[Clause]) -> list[int]:
    """The positions of the clauses that are about the pages whose addresses the message has; none without one."""
    to_web = [clause.text for clause in found if _goes_to_web(clause.text)]
    downloads = any(_DOWNLOAD.search(text) for text in to_web)
    return [
        position
        for position, clause in enumerate(found)
        if clause.text in to_web or (to_web and _goes_with(clause.text)) or (downloads and _STORING.match(clause.text))
    ]


def _goes_to_web(text: str) -> bool:
    """Whether a clause has an address that is to be opened, not only written down."""
    masked = _masked(text)
    if "\x00" not in masked or _KEEPING.match(masked):
        return False
    return (
        not _WRITING.match(masked) or bool(_FROM.search(masked)) or bool(_PDF.search(masked) or _PICTURE.search(masked))
    )


def _goes_with(text: str) -> bool:
    """Whether a clause beside one with an address belongs to it."""
    if _KEEPING.match(text):
        return False
    names = file_names(text)
    if any(not name.lower().endswith((".pdf", *PICTURES, *TEXTS)) for name in names):
        return False
    kept = ask(text).kind not in ("remember", "recall", "list_files", "move", "delete", "replace", "append")
    return kept and (not any(name.lower().endswith(TEXTS) for name in names) or bool(SAVE.search(text)))


def _masked(text: str) -> str:
    r"""The text with \x00 for each address, and for each that cannot be opened unless files are named besides it."""
    masked = text
    for each in addresses(text):
        masked = masked.replace(each.written, "\x00")
    for written in unopenable(text):
        without = masked.replace(written, "\x00")
        if all(name.lower().endswith((".pdf", *PICTURES)) for name in file_names(without)):
            masked = without
    return masked


def _fills(clause: str) -> bool:
    """Whether a clause wants something given to a page."""
    masked = _masked(clause)
    return not _WONDERING.match(masked) and bool(_FORM.search(masked))


class Asked:
    """What a message wants of the pages that it names."""

    def __init__(self, text: str) -> None:
        self.places, self.unopenable = addresses(text), unopenable(text)
        self.masked = text
        for written in (*(place.written for place in self.places), *self.unopenable):
            self.masked = self.masked.replace(written, " ")
        self.names = file_names(self.masked)
        bare = self.masked
        for name in self.names:
            bare = bare.replace(name, " ")
        self.downloads = bool(_DOWNLOAD.search(bare)) and not _PDF.search(bare)
        self.pictures = bool(_PICTURE.search(bare)) or any(name.lower().endswith(PICTURES) for name in self.names)
        self.prints = bool(_PDF.search(bare)) or any(name.lower().endswith(".pdf") for name in self.names)
        self.fills = any(_fills(clause.text) for clause in clauses(text))
        self.compares = bool(_COMPARE.search(bare))
        self.offered = bool(_OFFERED.search(bare))
        self.only_cheaper = bool(_CHEAPER.search(bare)) and not re.search(r"\bcompar|\bdifferen", bare, re.IGNORECASE)
        self.questions = _questions(text, self.places)
        self.having = next((match[1] for one in self.questions if (match := _HAVING.search(one))), "")

    @property
    def wants_words(self) -> bool:
        """Whether something is to be told, not only kept."""
        if self.compares or self.questions:
            return True
        return not (self.fills or self.pictures or self.prints or self.downloads)

    @property
    def only_fills(self) -> bool:
        """Whether all that is wanted is to give something to a page."""
        return self.fills and not (self.wants_words or self.pictures or self.prints or self.downloads)


def _questions(text: str, places: Sequence[Address]) -> list[str]:
    """The clauses that ask for something the page says, without the address and what only opens it or keeps it."""
    found = []
    for clause in clauses(text):
        if _fills(clause.text):
            continue
        bare = clause.text
        for place in places:
            written = re.escape(place.written)
            bare = re.sub(
                rf"(?:\b(?:on|at|from|in|of|to|open|visit|see|page|site|the)\s+)*[<(\"“]?{written}[>)\"”]?", " ", bare
            )
        bare = re.sub(r"\s+([?.!,])", r"\1", " ".join(bare.split())).strip(" ,:;")
        keeps = _PICTURE.search(bare) or _DOWNLOAD.search(bare) or _PDF.search(bare)
        if bare and not keeps and (_ASKING.search(bare) or SUMMARY.search(bare) or PRICE.search(bare)):
            found.append(bare)
    return found


def wanted_words(question: str) -> list[str]:
    """The words of a question that tell what it is about."""
    return [word for word in content(question) if word not in EMPTY]
