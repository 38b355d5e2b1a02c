"""Budgets and costs in words."""

from empla.v1 import control_pb2


def dollars(micros: float) -> str:
    """Millionths of a US dollar for people: `$12.50`, `$0.0031`."""
    amount = micros / 1_000_000
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


def budget_text(budget: control_pb2.Budget) -> str:
    """`$5.00 a day, 200,000 tokens a message`; '' for no limit."""
    limits = {
        "day": [(budget.day_dollars, True), (budget.day_tokens, False)],
        "message": [(budget.message_dollars, True), (budget.message_tokens, False)],
    }
    return ", ".join(
        f"{_limit(limit, money=money)} a {period}" for period, each in limits.items() for limit, money in each if limit
    )


def _limit(limit: float, *, money: bool) -> str:
    return dollars(limit * 1_000_000) if money else f"{limit:,.0f} tokens"
