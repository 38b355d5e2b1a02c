"""Numbers as people write them: 12k, €1,200.50, 3.5M, 15 %, 1.200,50 €."""

import re
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Context, Decimal

_CURRENCY = r"[$€£¥₹]|\b(?:USD|EUR|GBP|CHF|JPY|INR|AUD|CAD|euros?|dollars?|pounds?)\b"
_AMOUNT = re.compile(
    rf"""(?<![\w.,/-])(?P<sign>[-+−](?=\s?[\d$€£¥₹]))?\s?(?P<before>(?:US|A|C)?(?:{_CURRENCY}))?\s?
    (?P<inner>[-−](?=\d))?(?P<digits>\d{{1,3}}(?:['\u2009\u202f\u00a0 ]\d{{3}})+(?:[.,]\d+)?(?![\d])|\d+(?:[.,]\d+)*|\.\d+)
    (?:\s?(?P<scale>thousand|million|billion|trillion|mio|mrd|[kKmMbB]n?|tn)\b)?
    \s?(?P<after>{_CURRENCY})?\s?(?P<percent>%|\bper\s?cent\b|\bpct\b)?(?![\w])""",
    re.VERBOSE | re.IGNORECASE,
)
_SCALES = {"thousand": 3, "k": 3, "million": 6, "mio": 6, "m": 6, "mn": 6, "billion": 9, "b": 9, "bn": 9, "mrd": 9}
_SCALES |= {"trillion": 12, "tn": 12, "kn": 3}
_SIGNS = {"euro": "€", "eur": "€", "dollar": "$", "usd": "$", "us$": "$", "pound": "£", "gbp": "£", "jpy": "¥"}
_WIDE = Context(prec=120)
_MOST_DIGITS = 40
"""A longer run of digits is a key or a dump, no amount."""

_DATE = re.compile(r"\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b\d{1,2}:\d{2}\b")


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with what stood around it: `currency` is a sign or a code, `percent` says it is one."""

    value: Decimal
    currency: str = ""
    percent: bool = False

    def __str__(self) -> str:
        return self.shown()

    def shown(self, places: int = 6) -> str:
        """The number for people: thousands apart, at most `places` decimals, money with two or none."""
        digits = _digits(self.value, 2 if self.currency else places, fixed=bool(self.currency))
        if len(self.currency) == 1:
            return f"-{self.currency}{digits[1:]}" if digits.startswith("-") else self.currency + digits
        return digits + (f" {self.currency}" if self.currency else "") + ("%" if self.percent else "")

    def of(self, value: Decimal) -> "Amount":
        """Another number of the same kind."""
        return replace(self, value=value)


def amounts(text: str) -> list[Amount]:
    """All amounts in `text`, in order; dates, times and numbers inside words do not count."""
    return [_amount(match) for match in _AMOUNT.finditer(_DATE.sub(" ", text)) if _is_readable(match)]


def amount(text: str) -> Amount | None:
    """The amount that `text` is, or None when it is more than that or none; an approximation sign is allowed."""
    stripped = text.strip().strip("*_`~≈").strip()
    negative = re.fullmatch(r"\((.+)\)", stripped)
    match = _AMOUNT.fullmatch(negative[1].strip() if negative else stripped)
    if match is None or not _is_readable(match) or _DATE.fullmatch(stripped):
        return None
    found = _amount(match)
    return found.of(-found.value) if negative else found


def is_date(text: str) -> bool:
    """Whether `text` is a date or a time written in digits, which no sum may be made of."""
    return _DATE.fullmatch(text.strip()) is not None


def take(text: str) -> tuple[Amount, int] | None:
    """The amount at the very start of `text` and its length, sign excluded."""
    match = _AMOUNT.match(text)
    if match is None or not _is_readable(match) or match["sign"]:
        return None
    return _amount(match), match.end()


def _is_readable(match: re.Match[str]) -> bool:
    return len(match["digits"]) <= _MOST_DIGITS


def _amount(match: re.Match[str]) -> Amount:
    written = (match["before"] or match["after"] or "").lower()
    singular = written if len(written) == 1 else written.rstrip("s")
    currency = _SIGNS.get(singular, singular.upper())
    value = _decimal(match["digits"], bool(currency)).scaleb(_SCALES.get((match["scale"] or "").lower(), 0))
    negative = (match["sign"] or match["inner"] or "") in ("-", "−")
    return Amount(-value if negative else value, currency, bool(match["percent"]))


def _decimal(digits: str, money: bool) -> Decimal:
    plain = re.sub(r"['\s]", "", digits)
    last = max(plain.rfind(","), plain.rfind("."))
    if last < 0:
        return Decimal(plain)
    mark, other = plain[last], ".,"[plain[last] == "."]
    grouped = re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", plain) and other not in plain
    # 1,200 is a thousand and more; 1.200 only where it is money, which never has three decimals.
    if grouped and (mark == "," or money or plain.count(".") > 1):
        return Decimal(plain.replace(mark, ""))
    whole = re.sub("[.,]", "", plain[:last])
    return Decimal(f"{whole or '0'}.{plain[last + 1 :]}")


def _digits(value: Decimal, places: int, *, fixed: bool) -> str:
    # The context that others may have set is too narrow for the largest sums.
    rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _WIDE)
    if rounded == rounded.to_integral_value(context=_WIDE):
        return f"{rounded.to_integral_value(context=_WIDE):,f}"
    return f"{rounded:,f}" if fixed else f"{rounded:,f}".rstrip("0")
