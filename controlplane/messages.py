"""Messages as operators read them: where each stands, what was answered, and its way through the steps."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message as ProtoMessage
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.decisions import decisions
from controlplane.errors import Invalid, Unknown
from empla import telemetry
from empla.excerpt import json_excerpt
from empla.store.connect import AnyConnection, Pool, load_queries, translated
from empla.v1 import control_pb2

SQL = load_queries("controlplane", "messages.sql")
ENDED = ("answered", "collected", "withheld", "failed")
STAGES = ("receive", "analyze", "work", "merge", "send")
MAX_RESULT = 4_000
MAX_ARGUMENTS = 2_000
MAX_PLACES = 8
MAX_ERROR = 2_000
LISTED_CHARACTERS = 2_000
"""How much of a text a list carries."""
MAX_TEXT = 256 * 1024
MAX_OUTPUT_BYTES = 64 * 1024
MAX_PARTS_BYTES = 3 * 1024 * 1024
"""What the parts of an answer may take together, so that it stays under the frame of 4 MiB."""
_NEWEST = 2**63 - 1


class Room:
    """The bytes that are left for an answer's parts."""

    def __init__(self) -> None:
        self._left = MAX_PARTS_BYTES

    def takes(self, size: int) -> bool:
        """Whether `size` bytes fit; then they are taken."""
        if size > self._left:
            return False
        self._left -= size
        return True


def fitting[M: ProtoMessage](items: Iterable[M], room: Room | None = None) -> list[M]:
    """The first of `items` that one answer has room for, at least one; the rest is for the next page."""
    room = room or Room()
    carried: list[M] = []
    for item in items:
        if not room.takes(item.ByteSize()) and carried:
            break
        carried.append(item)
    return carried


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a message stands; of a collected one: the message that it is answered with or about, and whether more comes."""

    state: str
    collected_into: UUID | None
    comes: bool
    paused: bool
    """Its employee is, and nobody works on it before that is resumed."""

    @property
    def settled(self) -> bool:
        """Whether it has ended or waits for a person, and nothing comes of it by itself."""
        return self.state in (*ENDED, "waiting") and not self.comes


class Messages:
    """The pipeline's tables, for operators to read."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def standing(self, message_id: UUID) -> Standing:
        """Where a message stands; raises `Unknown`."""
        with translated():
            row = await self._pool.fetchrow(SQL.standing, message_id)
        if row is None:
            raise Unknown("there is no such message")
        comes = row["collected_into"] is not None and row["comes"]
        return Standing(row["state"], row["collected_into"], comes=comes, paused=row["paused"])

    async def get(self, message_id: UUID, tenant_id: UUID | None) -> control_pb2.Message:
        """A message with its trace, whatever of that is too large left out with a mark; raises `Unknown`."""
        with translated():
            async with self._pool.acquire() as connection:
                row = await connection.fetchrow(SQL.message, message_id, tenant_id)
                if row is None:
                    raise Unknown(f"there is no message {message_id}")
                into, why, replies = await _answering(connection, message_id, row)
                attempts = await connection.fetch(SQL.attempts, message_id)
                effects = await connection.fetch(SQL.effects, message_id)
                sub_agents = await connection.fetch(SQL.sub_agents, message_id)
                reviews = await connection.fetch(SQL.reviews, message_id)
        message = _message(row, replies, into)
        message.reason = why
        if row["pause"] is not None:
            ParseDict(row["pause"], message.pause)
        return _traced(message, attempts, _Acted(effects, sub_agents), reviews)

    async def page(
        self, tenant_id: UUID | None, employee_id: UUID | None, *, state: str = "", size: int = 50, token: str = ""
    ) -> tuple[list[control_pb2.Message], str]:
        """A page of messages, newest first, without traces; and the token of the next page."""
        before = _before(token)
        with translated():
            rows = await self._pool.fetch(SQL.page, tenant_id, employee_id, state, before, size, LISTED_CHARACTERS)
            replies = await self._pool.fetch(SQL.replies, [row["message_id"] for row in rows], LISTED_CHARACTERS)
        page = fitting(_message(row, [r for r in replies if r["message_id"] == row["message_id"]]) for row in rows)
        return page, str(rows[len(page) - 1]["sequence"]) if len(page) < len(rows) or len(rows) == size else ""

    async def reviews(
        self, tenant_id: UUID | None, employee_id: UUID | None, *, ended: bool, size: int, token: str
    ) -> tuple[list[control_pb2.Review], str]:
        """A page of reviews, oldest first; and the token of the next page."""
        after = _review_id(token)
        with translated():
            rows = await self._pool.fetch(SQL.open_reviews, tenant_id, employee_id, ended, after, size)
        page = fitting(_in_room(review(row), Room()) for row in rows)
        return page, page[-1].review_id if len(page) < len(rows) or len(rows) == size else ""

    async def review(self, review_id: UUID, tenant_id: UUID | None) -> control_pb2.Review:
        """One review; raises `Unknown`."""
        with translated():
            row = await self._pool.fetchrow(SQL.review, review_id, tenant_id)
        if row is None:
            raise Unknown(f"there is no review {review_id}")
        return _in_room(review(row), Room())

    async def latency(self, tenant_id: UUID | None) -> control_pb2.Latency:
        """Of the messages answered in the last hour (at most the last 10,000)."""
        with translated():
            row = await self._pool.fetchrow(SQL.latency, tenant_id)
        assert row is not None
        p50, p95, p99 = row["ms"] or (0, 0, 0)
        return control_pb2.Latency(count=row["count"], p50_ms=p50, p95_ms=p95, p99_ms=p99)

    async def counts(self, tenant_id: UUID | None) -> Any:
        """How many reviews are open, messages live and rows of the outbox waiting."""
        with translated():
            return await self._pool.fetchrow(SQL.counts, tenant_id)


def _before(token: str) -> int:
    if not token:
        return _NEWEST
    if not (token.isascii() and token.isdigit() and len(token) < 20 and int(token) <= _NEWEST):
        raise Invalid("the page token is none of ours", fields={"page_token": "unknown"})
    return int(token)


def _review_id(token: str) -> UUID:
    try:  # ids begin with their time, so their order is the order of creation
        return UUID(token) if token else UUID(int=0)
    except ValueError as error:
        raise Invalid("the page token is none of ours", fields={"page_token": "unknown"}) from error


async def _answering(connection: AnyConnection, message_id: UUID, row: Any) -> tuple[UUID | None, str, list[Any]]:
    """The message that a collected one is answered with or was about, why it ended, and what it or that was answered."""
    why = row["reason"]
    if row["processing_state"] == "collected":
        standing = await connection.fetchrow(SQL.standing, message_id)
        if standing is not None and (into := standing["collected_into"]) is not None:
            if standing["asked"]:
                return into, why, await connection.fetch(SQL.brought_about, into, standing["ended_at"], MAX_TEXT)
            if standing["led_state"] in ("withheld", "failed"):
                why = f"{why}, which is {standing['led_state']}: {standing['led_reason']}"
            return into, why, await connection.fetch(SQL.replies, [into], MAX_TEXT)
    return None, why, await connection.fetch(SQL.replies, [message_id], MAX_TEXT)


def _message(row: Any, replies: Iterable[Any], collected_into: UUID | None = None) -> control_pb2.Message:
    message = control_pb2.Message(
        message_id=str(row["message_id"]),
        employee=row["employee"],
        employee_id=str(row["employee_id"]),
        channel=row["channel"],
        conversation=row["conversation"],
        sender=row["sender"],
        text=row["body"],
        state=row["processing_state"],
        step=row["step"],
        reason=row["reason"],
        retry_count=row["retry_count"],
        received_at=_time(row["received_at"]),
        ended_at=_time(row["ended_at"]),
        elapsed_ms=row["elapsed_ms"],
        waited_ms=row["waited_ms"],
        step_timings_ms=row["step_timings"],
        trace_id=telemetry.trace_id(row["trace_context"]),
        cancelled_by=row["cancelled_by"] or "",
        cancel_reason=row["cancel_reason"],
        cancelled_at=_time(row["cancelled_at"]),
        cancelled_with=str(row["cancelled_with"] or ""),
        collected_into=str(collected_into or ""),
    )
    message.replies.extend(
        control_pb2.Reply(
            outbox_id=str(r["outbox_id"]),
            kind=r["kind"],
            text=r["body"],
            state=r["state"],
            reason=r["reason"],
            sent_at=_time(r["ended_at"]) if r["state"] == "sent" else None,
        )
        for r in replies
    )
    return message


def _traced(
    message: control_pb2.Message, attempts: list[Any], acted: "_Acted", reviews: list[Any]
) -> control_pb2.Message:
    room = Room()
    for reply in message.replies:
        if not room.takes(reply.ByteSize()):
            reply.text = reply.text[:LISTED_CHARACTERS]
    message.reviews.extend(_in_room(review(r), room) for r in reviews)
    message.attempts.extend(_attempt(a, room) for a in attempts)
    message.effects.extend(acted.shown(room))
    message.stages.extend(_stages(attempts))
    for attempt in attempts:
        if attempt["outcome"] == "succeeded":
            message.step_timings_ms[attempt["step"]] = attempt["duration_ms"]
    found = next((a for a in reversed(message.attempts) if a.step == "classification" and a.HasField("output")), None)
    if found is not None and room.takes(found.output.ByteSize()):
        message.classification.CopyFrom(found.output.struct_value)
        message.classification.fields.pop("memories", None)  # what was remembered meanwhile is no part of it
    return message


def _in_room(shown: control_pb2.Review, room: Room) -> control_pb2.Review:
    if not room.takes(shown.ByteSize()):
        shown.payload.Clear()
        shown.payload["omitted"] = "too large for this answer"
    return shown


def _output(output: Any, room: Room) -> Value | None:
    if output is None:
        return None
    size = len(json.dumps(output))
    if size <= MAX_OUTPUT_BYTES:
        with suppress(ParseError):  # nested too deep
            shown = ParseDict(output, Value())
            if room.takes(shown.ByteSize()):
                return shown
    return Value(string_value=f"(omitted: {size} bytes)")


def _shortened(value: Any, limit: int, room: Room) -> str:
    text = json_excerpt(value, limit)
    return text if room.takes(len(text.encode())) else "(omitted)"


def _attempt(row: Any, room: Room) -> control_pb2.Attempt:
    return control_pb2.Attempt(
        stage=row["stage"],
        step=row["step"],
        attempt=row["attempt"],
        outcome=row["outcome"],
        started_at=_time(row["started_at"]),
        queued_ms=row["queued_ms"],
        duration_ms=row["duration_ms"],
        error_class=row["error_class"],
        error=row["error"][:MAX_ERROR],
        model=row["model"],
        tokens_in=row["tokens_in"],
        tokens_out=row["tokens_out"],
        cost_micros=row["cost_micros"],
        output=_output(row["output"], room),
        intent_index=-1 if row["intent_index"] is None else row["intent_index"],
    )


@dataclass(frozen=True, slots=True)
class _Acted:
    """The actions of a message, and who of its sub-agents did them."""

    effects: list[Any]
    sub_agents: list[Any]

    def shown(self, room: Room) -> Iterator[control_pb2.Effect]:
        """The actions of its workers, each with the sub-agents that it began and theirs."""
        ids = {row["sub_agent_id"] for row in self.sub_agents}
        for row in self.effects:
            if row["unit_id"] not in ids:
                effect = _effect(row, room)
                place = (row["unit_id"], row["response_index"], row["call_index"])
                effect.sub_agents.extend(self._began(place, room))
                yield effect

    def _began(self, place: tuple[UUID, int, int], room: Room) -> Iterator[control_pb2.SubAgent]:
        for row in self.sub_agents:
            if (row["worker_id"], row["response_index"], row["call_index"]) == place:
                shown = _sub_agent(row, room)
                shown.effects.extend(_effect(e, room) for e in self.effects if e["unit_id"] == row["sub_agent_id"])
                yield shown


def _sub_agent(row: Any, room: Room) -> control_pb2.SubAgent:
    answer = row["answer"][:MAX_RESULT]
    return control_pb2.SubAgent(
        instruction=row["instruction"][:LISTED_CHARACTERS],
        outcome=row["outcome"] or "",
        reason=row["reason"],
        answer=answer if room.takes(len(answer.encode())) else "(omitted)",
        model=row["model"],
        model_calls=row["responses"],
        tokens_in=row["tokens_in"],
        tokens_out=row["tokens_out"],
        cost_micros=row["cost_micros"],
        started_at=_time(row["started_at"]),
        duration_ms=row["duration_ms"],
        worked_ms=row["worked_ms"],
    )


def _effect(row: Any, room: Room) -> control_pb2.Effect:
    return control_pb2.Effect(
        capability=row["capability"],
        action=row["action"],
        arguments_json=_shortened(row["arguments"], MAX_ARGUMENTS, room),
        state=row["state"],
        result_json="" if row["result"] is None else _shortened(row["result"], MAX_RESULT, room),
        error=row["error"][:MAX_ERROR],
        started_at=_time(row["started_at"]),
        duration_ms=row["duration_ms"],
        places=_places(row["places"]),
    )


def _places(written: Any) -> list[control_pb2.Place]:
    """Where an action worked, as the employee says: what is none, or more than there can be, is left out."""
    try:
        effect = ParseDict({"places": written[:MAX_PLACES]}, control_pb2.Effect(), ignore_unknown_fields=True)
    except (ParseError, TypeError, KeyError):
        return []
    return list(effect.places)


def _stages(attempts: Iterable[Any]) -> list[control_pb2.Stage]:
    """The stages that were reached, each from the start of its first step to the end of its last."""
    by_stage: dict[str, list[Any]] = {}
    for attempt in attempts:
        by_stage.setdefault(attempt["stage"], []).append(attempt)
    return [
        control_pb2.Stage(
            stage=stage,
            duration_ms=_span_ms(by_stage[stage]),
            steps=dict.fromkeys(a["step"] for a in by_stage[stage]),
        )
        for stage in STAGES
        if stage in by_stage
    ]


def _span_ms(attempts: list[Any]) -> float:
    first, last = min(a["started_at"] for a in attempts), max(a["finished_at"] for a in attempts)
    return max(0.0, float((last - first).total_seconds()) * 1000)


def review(row: Any) -> control_pb2.Review:
    """A row of `reviews` with its employee's name and whether what it is about still waits."""
    return control_pb2.Review(
        review_id=str(row["review_id"]),
        employee=row["employee"],
        message_id=str(row["message_id"] or ""),
        kind=row["kind"],
        state=row["state"],
        reason=row["reason"],
        payload=ParseDict(row["payload"], Struct()),
        decision=ParseDict(row["decision"], Struct()) if row["decision"] else None,
        resolved_by=row["resolved_by"] or "",
        created_at=_time(row["created_at"]),
        expires_at=_time(row["expires_at"]),
        resolved_at=_time(row["resolved_at"]),
        decisions=decisions(row["kind"], resumes=row["resumes"]) if row["state"] == "open" else (),
    )


def _time(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
