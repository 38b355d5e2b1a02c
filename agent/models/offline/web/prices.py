"""Prices as pages write them: $9/month, 9,99 € pro Monat, EUR 90 a year, free, contact us."""

import re
from dataclasses import dataclass
from decimal import Decimal

from agent.models.offline.numbers import amount

_CURRENCY = (
    r"(?:US|CA|AU|NZ|HK|[RCA])?\$|[€£¥￥₹₽₩₺₴₪฿₫]|zł|Kč|Ft\b|kr\.?(?![a-z])|"
    r"\b(?:USD|EUR|GBP|CHF|SEK|NOK|DKK|PLN|CZK|HUF|RON|JPY|CNY|INR|BRL|AUD|CAD|NZD|SGD|ZAR|MXN|euros?|dollars?|pounds?)\b|"
    r"\bFr\.(?=\s?\d)"
)
_DIGITS = r"\d{1,3}(?:['’\u2009\u202f\u00a0 ]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d+)*"
_MONEY = re.compile(
    rf"(?<![\w.,])(?:(?P<before>{_CURRENCY})\s?(?P<one>{_DIGITS})(?:[.,][-–—]+)?|"
    rf"(?P<two>{_DIGITS})(?:[.,][-–—]+)?\s?(?P<after>{_CURRENCY}))(?![\d])",
    re.IGNORECASE,
)
_WHO = (
    r"user|seat|member|person|editor|agent|employee|license|licence|device|site|nutzer|benutzer|utilisateur|usuario|utente|"
    r"gebruiker"
)
_MONTH = r"month-to-month|months?|mth|mo|monat|mois|mes|mese|maand|mês|månad|mån|måned|miesiąc|monthly|monatlich|月"
_YEAR = (
    r"years?|yr|annum|jahr|année|an|año|anno|jaar|ano|år|rok|yearly|annually|annual|jährlich|"
    r"annuel(?:lement)?|anual(?:mente)?|年"
)
_OTHER = r"weeks?|wk|woche|semaine|days?|tag|jour|hours?|hr|stunde|heure"
_PERIOD = re.compile(
    rf"(?:\s*(?:/|per|a|each|pro|par|por|x)\s*(?P<each>{_WHO})\b)?\s*,?\s*(?:\(?\s*"
    rf"(?:/|per|a|an|every|each|pro|im|par|por|al|all['’]|per|på|na)?\s*"
    rf"(?:(?P<month>{_MONTH})|(?P<year>{_YEAR})|(?P<other>{_OTHER}))(?![^\W\d_])\.?\)?)?"
    rf"(?:\s*(?:/|per|a|each|pro|par|por)\s*(?P<after>{_WHO})\b)?",
    re.IGNORECASE,
)
_LEADING = re.compile(rf"\b(?:(?P<month>{_MONTH})|(?P<year>{_YEAR}))\b\W*$", re.IGNORECASE)
_SPEAKS = re.compile(rf"\b(?:(?P<month>{_MONTH})|(?P<year>{_YEAR}))\b", re.IGNORECASE)
_FREE = re.compile(
    r"^\W*(?:(?:it['’]?s |always )?free(?: forever| of charge| plan)?|forever free|gratis|kostenlos|gratuit|gratuito|"
    r"no charge|free for (?:ever|life|everyone|individuals|personal use)|0)\W*$",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"^\W*(?:please\s+)?(?:contact (?:us|sales|our sales(?: team)?)(?: for (?:a )?(?:pricing|price|quote|details))?|"
    r"talk to (?:us|sales)|let['’]s talk|custom(?: pricing| price)?|(?:price |pricing )?(?:on|upon|by) request|get a quote|"
    r"request a quote|call us|(?:preis )?auf anfrage|individuell|sur devis|nous contacter|a consultar|a medida|su richiesta|"
    r"op aanvraag|quote)\W*$",
    re.IGNORECASE,
)
_TOLD = re.compile(r"\b(?:is|are|was|were|get|save|raised|up to|over|worth|ist|sind)\b", re.IGNORECASE)
_LARGE = re.compile(r"\s*(?:thousand|million|billion|mio|mrd|[kmb]n?)\b(?!\s*/)", re.IGNORECASE)
"""Money that is no price: of whom a sentence tells, or so much that nobody pays it for a plan."""
_STRUCK = re.compile(r"~~.+?~~")
_MARKS = re.compile(r"(?:\s*(?:\\?\*|[¹²³⁴†‡]|\[\d+\]))+(?=\W*(?:$|[/(\s]))")
_UNIFORM = {"eur": "€", "euro": "€", "euros": "€", "usd": "$", "us$": "$", "dollar": "$", "dollars": "$", "gbp": "£",
            "pound": "£", "pounds": "£", "fr.": "chf", "￥": "¥", "kr.": "kr"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Price:
    """A price: `written` as the page has it; `value` None where the page wants to be asked; `period` as month or year."""

    written: str
    value: Decimal | None
    currency: str = ""
    period: str = ""
    each: str = ""

    def is_like(self, other: "Price") -> bool:
        """Whether the two may be reckoned with each other; nothing is nothing in any currency and at any time."""
        if self.value is None or other.value is None:
            return False
        if not self.value or not other.value:
            return True
        return (self.currency, self.period, self.each) == (other.currency, other.period, other.each)

    def less(self, other: "Price") -> str:
        """What this one is cheaper by, written as the other is."""
        difference = (other.value or Decimal(0)) - (self.value or Decimal(0))
        match = _MONEY.search(other.written)
        if match is None:
            return f"{difference}"
        digits = match["one"] or match["two"]
        shown = match[0].replace(digits, _shown(difference, digits, self.written), 1)
        tail = other.written[match.end() :].rstrip()
        period = f" per {other.period}" if other.period and not tail else ""
        return f"{other.written[: match.start()]}{shown}{tail}{period}".strip()


def prices(text: str, period: str = "") -> list[Price]:
    """The prices in a line; `period` is that of what has none of its own. Those struck out are gone."""
    plain = _MARKS.sub("", _STRUCK.sub(" ", text)).strip()
    if _FREE.match(plain):
        return [Price(plain.strip(" .!"), Decimal(0))]
    if _ASKED.match(plain):
        return [Price(plain.strip(" .!"), None)]
    return [_price(plain, match, period) for match in _MONEY.finditer(plain)]


def is_bare(text: str) -> bool:
    """Whether a line says next to nothing but prices."""
    plain = _MARKS.sub("", _STRUCK.sub(" ", text)).strip()
    if _FREE.match(plain) or _ASKED.match(plain):
        return True
    found = _MONEY.search(plain)
    if found is None or found.start() > 24 or _TOLD.search(plain[: found.start()]) or _LARGE.match(plain, found.end()):
        return False
    return len(plain.split()) <= 10


def leads(text: str) -> int | None:
    """Where the first price of a line begins; None without one."""
    match = _MONEY.search(text)
    return match.start() if match else None


def period_of(text: str) -> str:
    """Month or year, where a heading or a column speaks of one."""
    match = _SPEAKS.search(text)
    return "" if match is None else "month" if match["month"] else "year"


def _price(text: str, match: re.Match[str], period: str) -> Price:
    after = _PERIOD.match(text, match.end())
    groups = after.groupdict() if after else {}
    own = "month" if groups.get("month") else "year" if groups.get("year") else (groups.get("other") or "").casefold()
    if not own and (before := _LEADING.search(text[: match.start()])):
        own = "month" if before["month"] else "year"
    symbol = (match["before"] or match["after"]).casefold()
    found = amount("€" + re.sub(r"[’\u2009\u202f\u00a0 ]", "'", match["one"] or match["two"]))
    end = max(match.end(), after.end() if after else 0)
    return Price(
        _closed(text[match.start() : end].strip(" ,.")),
        found.value if found else None,
        _UNIFORM.get(symbol, symbol),
        own or period,
        (groups.get("each") or groups.get("after") or "").casefold(),
    )


def _closed(written: str) -> str:
    return written if "(" in written else written.rstrip(") ")


def _shown(value: Decimal, *like: str) -> str:
    """The number with the marks that others have."""
    comma = any(re.search(r",\d{1,2}(?!\d)|\.\d{3}(?!\d)", one) for one in like)
    text = f"{value:,.2f}" if value != value.to_integral_value() else f"{value:,.0f}"
    return text.translate(str.maketrans(",.", ".,")) if comma else text
