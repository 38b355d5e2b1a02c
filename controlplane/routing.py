"""Routing: which employee gets a message of a channel, by an operator's rules; the first that fits wins."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

from controlplane import audit
from controlplane.errors import AlreadyThere, Invalid, TooLarge, Unknown
from empla.store.connect import Pool, load_queries, translated
from empla.store.ids import new_id

SQL = load_queries("controlplane", "routing.sql")
MAX_RULES = 100
MAX_POSITION = 1_000_000
MAX_PATTERN = 500
"""Characters; no sender and no conversation has a longer name."""
CONDITIONS = ("sender", "conversation")


@dataclass(frozen=True, slots=True)
class Rule:
    """That a channel's messages go to an employee if they fit `condition`: a pattern for each thing that it looks at."""

    rule_id: UUID
    channel_id: UUID
    position: int
    condition: Mapping[str, str]
    employee_id: UUID
    employee: str

    def fits(self, sender: str, conversation: str) -> bool:
        """Whether every pattern does, in which case does not count."""
        told = {"sender": sender, "conversation": conversation}
        return all(_is_like(told[name], pattern) for name, pattern in self.condition.items())


def _is_like(text: str, pattern: str) -> bool:
    return fnmatchcase(text[:MAX_PATTERN].casefold(), pattern.casefold())


def rules_in(row: Any) -> tuple[Rule, ...]:
    """The rules that the function `routing_of` found, by position."""
    return tuple(
        Rule(
            UUID(found["rule_id"]),
            UUID(found["channel_id"]),
            found["position"],
            found["condition"],
            UUID(found["employee_id"]),
            found["employee"],
        )
        for found in row["rules"]
    )


class Routing:
    """The table `routing_rules`. A channel is looked for in one tenant, or with None in all."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        tenant_id: UUID | None,
        channel_id: UUID,
        employee_id: UUID,
        employee_tenant: UUID,
        *,
        condition: Mapping[str, Any],
        position: int,
    ) -> Rule:
        """Make a rule, at position 0 after the last; raises `Unknown`, `Invalid`, `AlreadyThere` and `TooLarge`."""
        _check(condition, position)
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                channel = await connection.fetchrow(SQL.hold_channel, channel_id, tenant_id)
                if channel is None:
                    raise _unknown(channel_id)
                if channel["kind"] == "api":
                    raise Invalid("whoever asks through the API names the employee", fields={"channel_id": "a webhook"})
                if channel["tenant_id"] != employee_tenant:
                    raise Invalid("the employee is another tenant's", fields={"employee": "of the channel's tenant"})
                before = await connection.fetchrow(SQL.rules_of, channel_id, tenant_id)
                position = _position(position, rules_in(before))
                rule_id, values = new_id(), (position, dict(condition), employee_id)
                await connection.execute(SQL.create, rule_id, channel["tenant_id"], channel_id, *values)
                detail = {"channel_id": str(channel_id), "position": position, "condition": dict(condition)}
                detail["employee_id"] = str(employee_id)
                await audit.record(connection, channel["tenant_id"], "routing.create", rule_id, detail)
        [made] = [rule for rule in await self.of(tenant_id, channel_id) if rule.rule_id == rule_id]
        return made

    async def of(self, tenant_id: UUID | None, channel_id: UUID) -> tuple[Rule, ...]:
        """A channel's rules in the order in which they are tried; raises `Unknown`."""
        with translated():
            row = await self._pool.fetchrow(SQL.rules_of, channel_id, tenant_id)
        if row is None:
            raise _unknown(channel_id)
        return rules_in(row)

    async def delete(self, tenant_id: UUID | None, rule_id: UUID) -> None:
        """Remove a rule; raises `Unknown`."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(SQL.delete, rule_id, tenant_id)
                if row is None:
                    raise Unknown(f"there is no routing rule {rule_id}")
                detail = {"channel_id": str(row["channel_id"]), "position": row["position"]}
                await audit.record(connection, row["tenant_id"], "routing.delete", rule_id, detail)


def _check(condition: Mapping[str, Any], position: int) -> None:
    wrong = {}
    for name, pattern in condition.items():
        if name not in CONDITIONS:
            wrong["condition"] = f"looks at {', '.join(CONDITIONS)}, not at {name[:80]!r}"
        elif not (isinstance(pattern, str) and 0 < len(pattern) <= MAX_PATTERN and "\0" not in pattern):
            wrong[f"condition.{name}"] = f"a pattern of 1 to {MAX_PATTERN} characters"
    if position > MAX_POSITION:
        wrong["position"] = f"at most {MAX_POSITION}"
    if wrong:
        raise Invalid("the rule does not fit", fields=wrong)


def _position(asked: int, rules: tuple[Rule, ...]) -> int:
    if len(rules) >= MAX_RULES:
        raise TooLarge(f"the channel has {MAX_RULES} rules, and may have no more", reason="TOO_MANY_RULES")
    taken = [rule.position for rule in rules]
    if asked in taken:
        raise AlreadyThere(f"the channel has a rule at position {asked}", reason="POSITION_TAKEN")
    return asked or max(taken, default=0) + 1


def _unknown(channel_id: UUID) -> Unknown:
    return Unknown(f"there is no channel {channel_id}", reason="CHANNEL_UNKNOWN")
