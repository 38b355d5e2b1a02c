"""Addresses of web pages in what people write."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_URL = re.compile(r"\bhttps?://[^\s<>\"“”`]+", re.IGNORECASE)
_TOPS = "com|org|net|io|de|fr|es|co|uk|eu|ai|app|dev|gov|edu|info|biz|us|ch|at|it|nl|test|example|shop|cloud|tech"
_BARE = re.compile(
    rf"(?<![\w@/.:-])(?:(?:www\.)(?:[\w-]+\.)+[a-z]{{2,10}}(?::\d{{1,5}})?(?:/[^\s<>\"“”`]*)?|"
    rf"(?:[\w-]+\.)+(?:{_TOPS})(?::\d{{1,5}})?/[^\s<>\"“”`]*|"
    rf"(?:localhost|\d{{1,3}}(?:\.\d{{1,3}}){{3}}):\d{{1,5}}(?:/[^\s<>\"“”`]*)?)",
    re.IGNORECASE,
)
_NAMED = re.compile(
    rf"(?:\b(?:open|visit|browse|go to|look at|check(?: out)?|load|screenshot of|website|site|page|summari[sz]e)\s+)"
    rf"(?P<host>(?:[\w-]+\.)+(?:{_TOPS}))(?![\w/@-]|\.\w)",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"(?<![\w@/.:-])(?:[a-z][a-z0-9+.-]+:/|(?:about|javascript|view-source):(?=\S)|data:\w+/)[^\s<>\"“”`]*",
    re.IGNORECASE,
)
_LOCAL = re.compile(r"^(?:localhost|\d{1,3}(?:\.\d{1,3}){3})(?::|/|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """An address, and how the text has it."""

    url: str
    written: str

    @property
    def host(self) -> str:
        """Its host."""
        return host_of(self.url)


def addresses(text: str) -> list[Address]:
    """The addresses in `text`, in order, each once."""
    found = [(match.start(), _trimmed(match[0])) for match in _URL.finditer(text)]
    rest = _URL.sub(lambda match: " " * len(match[0]), text)
    found += [(match.start(), _trimmed(match[0])) for match in _BARE.finditer(rest)]
    found += [(match.start("host"), match["host"]) for match in _NAMED.finditer(_BARE.sub(_blank, rest))]
    unique = {whole(written): written for _, written in sorted(found)}
    return [Address(url, written) for url, written in unique.items() if host_of(url)]


def unopenable(text: str) -> list[str]:
    """What is written like an address in `text` and is none of a page: of another scheme than http, or without a host."""
    for place in addresses(text):
        text = text.replace(place.written, " ")
    return list(dict.fromkeys(_trimmed(match[0]) for match in _OTHER.finditer(text)))


def whole(written: str) -> str:
    """An address with its scheme: what nobody said is https, but for addresses in digits and this machine."""
    if re.match(r"https?://", written, re.IGNORECASE):
        return written
    return f"{'http' if _LOCAL.match(written) else 'https'}://{written}"


def host_of(url: str) -> str:
    """The host of an address; '' where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _trimmed(written: str) -> str:
    """Without the full stop or bracket that belongs to the sentence."""
    written = re.sub(r"(?:['’]s)?[.,;:!?'’\"*]+$", "", written)
    while written.endswith((")", "]")) and written.count("(") + written.count("[") < (
        written.count(")") + written.count("]")
    ):
        written = written[:-1].rstrip(".,;:!?'’\"")
    return re.sub(r"['’]s$", "", written)
