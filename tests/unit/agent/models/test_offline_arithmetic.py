"""Sums and numbers as people write them."""

import contextlib
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.models.offline.arithmetic import ArithmeticRefused, calculate
from agent.models.offline.numbers import amount, amounts


def result(text: str) -> str:
    found = calculate(text)
    assert found is not None, text
    return str(found.result)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what is 17% of 2,340?", "397.8"),
        ("(3+4)*12", "84"),
        ("What's 12 times 9?", "108"),
        ("calculate €1,200 + €300.50", "€1,500.50"),
        ("20% off 80", "64"),
        ("increase 200 by 15%", "230"),
        ("200 + 15%", "230"),
        ("what percentage is 30 of 120", "25%"),
        ("30 is what percent of 120?", "25%"),
        ("2^10", "1,024"),
        ("2^100", "1,267,650,600,228,229,401,496,703,205,376"),
        ("10^50 + 0.5", "100,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000,000.5"),
        ("0/(1/3)", "0"),
        ("2 to the power of 8", "256"),
        ("square root of 144", "12"),
        ("average of 3, 4 and 5", "4"),
        ("how much is 15 percent of 2.5M?", "375,000"),
        ("3 plus 4 times 2", "11"),
        ("half of 90", "45"),
        ("12x12", "144"),
        ("-2^2", "-4"),
        ("what's 45 € * 12?", "€540"),
        ("10 - 4 - 3", "3"),
        ("2^3^2", "512"),
        ("subtract 5 from 12", "7"),
        ("please calculate 12k + 3.5M for me", "3,512,000"),
    ],
)
def test_sums_in_words(text: str, expected: str) -> None:
    assert result(text) == expected


@pytest.mark.parametrize(
    "text", ["what is our discount limit?", "what is 3?", "2024-05-01", "10:30", "open the file a.csv", "1 2 3", ""]
)
def test_what_is_no_sum(text: str) -> None:
    assert calculate(text) is None


@pytest.mark.parametrize("text", ["9**9**9", "1/0", "2^5000", "5 mod 0", "(-4)^0.5", "(" * 60 + "1+1" + ")" * 60])
def test_sums_that_are_refused(text: str) -> None:
    with pytest.raises(ArithmeticRefused):
        calculate(text)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, Fraction]:
    """A random expression with its value, worked out in exact fractions."""
    if depth == 0 or draw(st.booleans()):
        number = draw(st.integers(0, 9999))
        shown = draw(st.sampled_from((str(number), f"{number:,}")))
        return shown, Fraction(number)
    left, left_value = draw(expressions(depth=depth - 1))
    right, right_value = draw(expressions(depth=depth - 1))
    sign = draw(st.sampled_from("+-*/" if right_value else "+-*"))
    value = {"+": left_value + right_value, "-": left_value - right_value, "*": left_value * right_value}.get(sign)
    space = draw(st.sampled_from(("", " ")))
    text = f"({left}){space}{sign}{space}({right})"
    return text, left_value / right_value if value is None else value


@given(expressions(), st.sampled_from(("what is {}?", "{}", "calculate {}", "How much is {} please?")))
def test_random_expressions(expression: tuple[str, Fraction], question: str) -> None:
    text, value = expression
    found = calculate(question.format(text))
    if found is not None:
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        assert abs(found.result.value - exact) <= abs(exact) * Decimal("1e-20") + Decimal("1e-20")
    else:
        assert not set("+-*/") & set(text), text


@given(st.text(alphabet="0123456789+-*/^%()., kMx€$=?abcofpercenttimes", max_size=60))
def test_nothing_breaks_it(text: str) -> None:
    with contextlib.suppress(ArithmeticRefused):
        found = calculate(text)
        assert found is None or str(found.result)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12k", "12,000"),
        ("€1,200.50", "€1,200.50"),
        ("1.200,50 €", "€1,200.50"),
        ("3.5M", "3,500,000"),
        ("(500)", "-500"),
        ("12 %", "12%"),
        ("1 200", "1,200"),
        ("EUR 12,000", "€12,000"),
        ("~12k", "12,000"),
        ("3 million", "3,000,000"),
        ("US$5k", "$5,000"),
        ("1'200.50", "1,200.5"),
        ("1,5", "1.5"),
        ("0.25", "0.25"),
        ("300 CHF", "300 CHF"),
    ],
)
def test_amounts(text: str, expected: str) -> None:
    assert str(amount(text)) == expected


@pytest.mark.parametrize("text", ["2024-05-01", "10:30", "Q3", "INV-1023", "v1.2.3", "", "10 units", "abc", "9" * 200])
def test_what_is_no_amount(text: str) -> None:
    assert amount(text) is None


def test_amounts_inside_a_sentence() -> None:
    text = "Acme INV-1023 worth 12k, due 2024-05-01 at 10:30, discount 15 % and $3.5M in Q3."
    assert [str(found) for found in amounts(text)] == ["12,000", "15%", "$3,500,000"]


@given(st.integers(0, 10**9), st.sampled_from(("{}", "{:,}", "€{:,}", "{:,} USD", "${}")))
def test_whatever_is_written_is_read(number: int, shape: str) -> None:
    found = amount(shape.format(number))
    assert found is not None
    assert found.value == number
