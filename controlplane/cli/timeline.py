"""A message for people: when each step began, how long it took, and what came of it."""

from collections.abc import Iterator
from itertools import chain

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.cli.answer import STAGES, answered_later, took
from controlplane.cli.lanes import lanes, part
from controlplane.cli.output import dim, local_time, milliseconds, quoted
from controlplane.cli.review_text import decided
from controlplane.cli.safe_text import one_line
from empla.v1 import control_pb2


def timeline(message: control_pb2.Message) -> str:
    """The whole of `message`, with its steps over time and in the order of their stages."""
    steps = chain(lanes(message, STAGES), _steps(message))
    parts = [_head(message), steps, _effects(message), _replies(message), _reviews(message)]
    return "\n".join(chain.from_iterable(parts))


def _head(message: control_pb2.Message) -> Iterator[str]:
    reason = f": {one_line(message.reason, 200)}" if message.reason else ""
    at = f" at {message.step}" if message.step and message.state not in ("answered", "withheld") else ""
    how = f"{message.state.upper()}{at}{reason}"
    if answered_later(message):
        how = f"ANSWERED LATER, as a person decided; before that {how}"
    yield f"{message.message_id}  {how}  {took(message)}"
    yield dim(f"{local_time(message.received_at)}  {message.channel} · {one_line(message.sender)} → {message.employee}")
    yield dim(f"conversation {one_line(message.conversation)}" + _retries(message) + _total(message) + _trace(message))
    yield from quoted(message.text)
    yield from _stopped(message)


def _stopped(message: control_pb2.Message) -> Iterator[str]:
    """Who wanted it, or a part of it, stopped, and when."""
    if message.cancelled_by:
        how = f" with the message {message.cancelled_with}" if message.cancelled_with else ""
        why = f": {one_line(message.cancel_reason, 200)}" if message.cancel_reason and not how else ""
        after = f"+{milliseconds(_between(message.received_at, message.cancelled_at))}"
        yield f"stopped by {one_line(message.cancelled_by)}{how} at {local_time(message.cancelled_at)}, {after}{why}"


def _retries(message: control_pb2.Message) -> str:
    return f"  retries {message.retry_count}" if message.retry_count else ""


def _trace(message: control_pb2.Message) -> str:
    return f"  trace {message.trace_id}" if message.trace_id else ""


def _steps(message: control_pb2.Message) -> Iterator[str]:
    durations = {stage.stage: stage.duration_ms for stage in message.stages}
    attempts = sorted(message.attempts, key=lambda attempt: attempt.intent_index)
    several = len({part(attempt) for attempt in attempts} - {""}) > 1
    names = [f"{one_line(a.step)} {part(a) if several else ''}".rstrip() for a in attempts]
    width = max(map(len, names), default=0)
    for name in STAGES:
        took = milliseconds(durations[name]) if name in durations else "-"
        yield f"\n{name:<8}{took:>10}" if name == STAGES[0] else f"{name:<8}{took:>10}"
        for attempt, shown in zip(attempts, names, strict=True):
            if attempt.stage == name:
                yield _attempt(attempt, message.received_at, f"{shown:<{width}}")


def _attempt(attempt: control_pb2.Attempt, received_at: Timestamp, name: str) -> str:
    again = f"#{attempt.attempt}" if attempt.attempt > 1 else ""
    began = f"+{milliseconds(_between(received_at, attempt.started_at))}" if attempt.started_at.seconds else ""
    took = milliseconds(attempt.duration_ms)
    line = f"  {name} {again:>3}  {attempt.outcome:<9}{took:>10}  {began:>11}"
    return f"{line}  {_cost(attempt)}{_error(attempt)}".rstrip()


def _between(earlier: Timestamp, later: Timestamp) -> float:
    return max(0.0, (later.ToNanoseconds() - earlier.ToNanoseconds()) / 1e6)


def _cost(attempt: control_pb2.Attempt | control_pb2.SubAgent) -> str:
    if not attempt.model:
        return ""
    cost = _dollars(attempt.cost_micros) if attempt.HasField("cost_micros") else "of unknown cost"
    return dim(f"{attempt.model} {attempt.tokens_in}→{attempt.tokens_out} tokens {cost}") + "  "


def _total(message: control_pb2.Message) -> str:
    """What all attempts cost together; those without a price are said to be left out."""
    priced = [attempt.cost_micros for attempt in message.attempts if attempt.HasField("cost_micros")]
    unknown = len(message.attempts) - len(priced)
    if not any(attempt.model for attempt in message.attempts):
        return ""
    if not any(priced):
        return "  cost unknown" if unknown else ""
    return f"  cost {_dollars(sum(priced))}" + (f", and {unknown} of unknown cost" if unknown else "")


def _dollars(micros: int) -> str:
    return f"${micros / 1e6:.4f}".rstrip("0").rstrip(".")


def _error(attempt: control_pb2.Attempt) -> str:
    if not attempt.error_class and not attempt.error:
        return ""
    return one_line(f"{attempt.error_class}: {attempt.error}".strip(": "), 160)


def _effects(message: control_pb2.Message) -> Iterator[str]:
    if message.effects:
        yield "\neffects"
    for effect in message.effects:
        yield from _effect(effect, "  ")


def _effect(effect: control_pb2.Effect, indent: str) -> Iterator[str]:
    name, took = f"{effect.capability}.{effect.action}", milliseconds(effect.duration_ms)
    # What the tasks are stands with those who worked on them.
    arguments = "" if effect.sub_agents else dim(one_line(effect.arguments_json))
    yield f"{indent}{name}  {effect.state}  {took}  {arguments}".rstrip()
    yield from (dim(f"{indent}  {_place(place)}") for place in effect.places)
    if effect.error:
        yield f"{indent}  {one_line(effect.error, 160)}"
    for number, one in enumerate(effect.sub_agents, 1):
        yield from _sub_agent(number, one, f"{indent}  ")


def _sub_agent(number: int, one: control_pb2.SubAgent, indent: str) -> Iterator[str]:
    """How one of those that worked side by side ended, what it took, and what it did."""
    calls = f"{one.model_calls} model call{'s' if one.model_calls != 1 else ''}"
    took = milliseconds(one.duration_ms) if one.outcome else "-"
    line = f"{indent}sub-agent {number}  {one.outcome or 'not ended'}  {took}  {calls}  {_cost(one)}".rstrip()
    yield f"{line}  {dim(one_line(one.instruction, 80))}"
    if one.reason:
        yield f"{indent}  {one_line(one.reason, 160)}"
    for effect in one.effects:
        yield from _effect(effect, f"{indent}  ")


def _place(place: control_pb2.Place) -> str:
    """Where, how long that was waited for, and what it cost: memory for as long as it was used."""
    waited = f", waited {milliseconds(place.waited_ms)}" if place.waited_ms else ""
    cost = place.memory_bytes / 2**30 * place.used_ms / 1000
    memory = f"{place.memory_bytes / 2**20:.0f} MiB × {milliseconds(place.used_ms)} = {cost:.2f} GiB s"
    return f"at {one_line(place.place)}{waited}, {memory}"


def _replies(message: control_pb2.Message) -> Iterator[str]:
    for reply in message.replies:
        reason = f" ({one_line(reply.reason)})" if reply.reason else ""
        yield f"\n{reply.kind}  {reply.state}{reason}  {local_time(reply.sent_at)}".rstrip()
        yield from quoted(reply.text)


def _reviews(message: control_pb2.Message) -> Iterator[str]:
    if message.reviews:
        yield "\nreviews"
    for review in message.reviews:
        how = f" ({decided(review)})" if review.state != "open" else ""
        yield f"  {review.review_id}  {review.kind}  {review.state}{how}  {one_line(review.reason)}".rstrip()
