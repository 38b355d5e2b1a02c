"""Sums in words and signs, worked out by a small parser: nothing is ever evaluated as code.

Bounds: 400 characters, 40 nested brackets, results of at most 60 digits; a larger power is refused, not worked out.
"""

import re
from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext

from agent.models.offline.numbers import Amount, is_date, take

_LONGEST = 400
_DEEPEST = 40
_LARGEST_EXPONENT = 200
_MOST_DIGITS = 60


class ArithmeticRefused(Exception):
    """A sum that has no answer or is too large; the message says so to a person."""


class NotArithmetic(Exception):
    """The text is not a sum."""


@dataclass(frozen=True, slots=True)
class Calculation:
    """A sum and its result; `shown` is the sum as it was asked."""

    shown: str
    result: Amount


def calculate(text: str) -> Calculation | None:
    """The sum that `text` asks for, worked out; None when it asks for none. Raises `ArithmeticRefused`."""
    asked = _asked(text)
    if len(asked) > _LONGEST or not re.search(r"\d", asked) or is_date(asked):
        return None
    share = _percentage(asked)
    try:
        with localcontext(Context(prec=_MOST_DIGITS + 10, traps=[DivisionByZero, InvalidOperation, Overflow])):
            parser = _Parser(share or _rewritten(asked))
            value = parser.whole()
            result = _result(value * 100 if share else value, parser, percent=bool(share))
    except NotArithmetic:
        return None
    except DivisionByZero:
        raise ArithmeticRefused("a division by zero has no result") from None
    except (InvalidOperation, Overflow):
        raise ArithmeticRefused("the result is undefined or too large to work out") from None
    return Calculation(re.sub(r"^percent(?:age)? (?:is|of) ", "", asked, flags=re.IGNORECASE), result)


_LEAD = re.compile(
    r"""^(?:(?:and|so|then|also|ok|please|hey|hi|quickly|just|can|could|would|will|you|tell|give|me|us|the|help|with|
    what(?:'s|’s|\ is|\ are|\ do\ you\ get\ (?:for|if\ you))?|how\ much\ (?:is|are|does|do)|how\ many\ is|calculate|
    compute|evaluate|solve|work\ out|figure\ out|result\ of|results?|value\ of|answer\ to|i\ need|need|is)\b[\s,:]*)+""",
    re.VERBOSE | re.IGNORECASE,
)
_TAIL = re.compile(r"(?:\s*(?:=+\s*\??|equals?|make|makes|please|thanks|for me|in total|[?!.,;:]))+\s*$", re.IGNORECASE)
_N = r"([^,]+?)"
_REWRITES = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"\bper\s?cent\b", "%"),
        (r"^(?:increase|raise) " + _N + r" by " + _N + r"$", r"(\1) + \2"),
        (r"^(?:decrease|reduce|lower|cut) " + _N + r" by " + _N + r"$", r"(\1) - \2"),
        (r"^" + _N + r" (?:increased|raised) by " + _N + r"$", r"(\1) + \2"),
        (r"^" + _N + r" (?:decreased|reduced|lowered) by " + _N + r"$", r"(\1) - \2"),
        (r"^" + _N + r" (?:off|discount on|less than the price of) " + _N + r"$", r"(\2) - \1"),
        (r"^" + _N + r" (?:plus|with|including|minus|less)? ?(?:a )?(\S+ ?%) (?:discount|off|rebate)$", r"(\1) - \2"),
        (r"^add " + _N + r" (?:vat |tax |tip )?to " + _N + r"$", r"(\2) + \1"),
        (r"^(?:subtract|take|deduct) " + _N + r" from " + _N + r"$", r"(\2) - (\1)"),
        (r"^add " + _N + r" and " + _N + r"$", r"(\1) + (\2)"),
        (r"^(?:multiply|times) " + _N + r" (?:by|with|and) " + _N + r"$", r"(\1) * (\2)"),
        (r"^divide " + _N + r" by " + _N + r"$", r"(\1) / (\2)"),
        (r"^difference (?:between|of) " + _N + r" and " + _N + r"$", r"(\1) - (\2)"),
        (r"^(?:the )?ratio (?:between|of) " + _N + r" (?:and|to) " + _N + r"$", r"(\1) / (\2)"),
        (r"\bto the power (?:of )?", " ^ "),
        (r"\braised to (?:the )?", " ^ "),
        (r"(\S+) squared\b", r"\1 ^ 2"),
        (r"(\S+) cubed\b", r"\1 ^ 3"),
        (r"\b(?:the )?square root of\b|√", " sqrt "),
        (r"\b(?:a |one )?half (?:of )?|\bhalve\b", " 0.5 * "),
        (r"\b(?:a |one )?quarter of\b", " 0.25 * "),
        (r"\b(?:a |one )third of\b", " (1/3) * "),
        (r"\b(?:twice|double)\b", " 2 * "),
        (r"\btriple\b", " 3 * "),
        (r"\b(?:multiplied by|times)\b|(?<=[\d)\s])[x×·](?=[\s\d(])", " * "),
        (r"\bdivided by\b|\bover\b|÷", " / "),
        (r"\b(?:plus|added to)\b", " + "),
        (r"\bminus\b|−|–", " - "),
        (r"\b(?:modulo|mod)\b", " mod "),
        (r"\*\*", " ^ "),
        (r"(?<=\d)\s*%\s+of\s+(?:the\s+)?", "% of "),
    )
]
_SERIES = re.compile(r"^(sum|total|average|mean|product|maximum|minimum) of (.+)$", re.IGNORECASE)
_SHARES = [
    re.compile(r"^(?:percent(?:age)?|%) of (?P<whole>.+?) is (?P<part>.+)$", re.IGNORECASE),
    re.compile(r"^(?:percent(?:age)?|%) is (?P<part>.+?) of (?P<whole>.+)$", re.IGNORECASE),
    re.compile(r"^(?P<part>.+?) (?:is|as) (?:what|a|which) (?:percent(?:age)?|%) of (?P<whole>.+)$", re.IGNORECASE),
    re.compile(r"^(?P<part>.+?) (?:in percent|as percent) of (?P<whole>.+)$", re.IGNORECASE),
]


def _asked(text: str) -> str:
    return _TAIL.sub("", _LEAD.sub("", " ".join(text.split())))


def _percentage(asked: str) -> str | None:
    for pattern in _SHARES:
        if match := pattern.match(asked):
            return f"({_rewritten(match['part'])}) / ({_rewritten(match['whole'])})"
    return None


def _rewritten(asked: str) -> str:
    if series := _SERIES.match(asked):
        return _series(series[1].lower(), [_rewritten(item) for item in re.split(r",\s+(?:and )?| and ", series[2])])
    for pattern, replacement in _REWRITES:
        asked = pattern.sub(replacement, asked)
    return asked


def _series(kind: str, items: list[str]) -> str:
    if kind in ("maximum", "minimum"):
        raise NotArithmetic
    joined = ("*" if kind == "product" else "+").join(f"({item})" for item in items)
    return f"({joined}) / {len(items)}" if kind in ("average", "mean") else joined


def _result(value: Decimal, parser: "_Parser", *, percent: bool) -> Amount:
    if parser.operations == 0:
        raise NotArithmetic
    if value and value.adjusted() > _MOST_DIGITS:
        raise ArithmeticRefused(f"the result has more than {_MOST_DIGITS} digits")
    return Amount(value, "" if percent else parser.currency, percent)


class _Parser:
    """Recursive descent over `text`: sums of products of powers of numbers and brackets."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self.operations = 0
        self.currency = ""

    def whole(self) -> Decimal:
        value, _ = self._sum()
        if self._peek():
            raise NotArithmetic
        return value

    def _peek(self) -> str:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._text[self._at : self._at + 1]

    def _accept(self, *tokens: str) -> str:
        self._peek()
        for token in tokens:
            if self._text.startswith(token, self._at):
                self._at += len(token)
                return token
        return ""

    def _sum(self) -> tuple[Decimal, bool]:
        value, percent = self._product()
        while sign := self._accept("+", "-"):
            self.operations += 1
            other, is_share = self._product()
            # As on a calculator, 200 + 15% is 230.
            step = value * other if is_share and not percent else other
            value = value + step if sign == "+" else value - step
        return value, percent

    def _product(self) -> tuple[Decimal, bool]:
        value, percent = self._power()
        while sign := self._accept("*", "/", "of ", "mod "):
            self.operations += 1
            other, other_percent = self._power()
            value = {"*": self._times, "of ": self._times, "/": self._over, "mod ": self._rest}[sign](value, other)
            percent = percent and other_percent and sign == "/"
        return value, percent

    def _power(self) -> tuple[Decimal, bool]:
        if self._accept("-"):
            value, percent = self._power()
            return -value, percent
        value, percent = self._atom()
        if self._accept("^"):
            self.operations += 1
            exponent, _ = self._power()
            return _raised(value, exponent), False
        return value, percent

    def _atom(self) -> tuple[Decimal, bool]:
        if self._accept("sqrt "):
            self.operations += 1
            return self._atom()[0].sqrt(), False
        return self._bracket() if self._accept("(") else self._number()

    def _bracket(self) -> tuple[Decimal, bool]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ArithmeticRefused("the brackets are nested too deeply")
        value, percent = self._sum()
        if not self._accept(")"):
            raise NotArithmetic
        self._depth -= 1
        if self._accept("%"):
            return value / 100, True
        return value, percent

    def _number(self) -> tuple[Decimal, bool]:
        self._peek()
        found = take(self._text[self._at :])
        if found is None:
            raise NotArithmetic
        amount, length = found
        self._at += length
        self.currency = self.currency or amount.currency
        return (amount.value / 100, True) if amount.percent else (amount.value, False)

    @staticmethod
    def _times(one: Decimal, other: Decimal) -> Decimal:
        return one * other

    @staticmethod
    def _over(one: Decimal, other: Decimal) -> Decimal:
        return one / other

    @staticmethod
    def _rest(one: Decimal, other: Decimal) -> Decimal:
        return one - other * (one / other).to_integral_value("ROUND_FLOOR")


def _raised(value: Decimal, exponent: Decimal) -> Decimal:
    if abs(exponent) > _LARGEST_EXPONENT or abs(value.adjusted() * exponent) > 2 * _MOST_DIGITS:
        raise ArithmeticRefused(f"the result has more than {_MOST_DIGITS} digits")
    return value**exponent
