"""Traces of a whole system at a collector: each message is one tree, through every process that worked on it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.collector import Collector, Received, collecting
from tests.e2e.callback_server import CallbackServer
from tests.e2e.conftest import connected, own_system
from tests.e2e.model_server import ModelServer
from tests.e2e.system import System, until
from tests.e2e.test_sidecars import Clerk

PATIENCE = 300.0
"""Seconds after which something, or a span that is sent within two, counts as lost: machines may be very busy."""
KEY, TEXT = "key-of-the-collector", "what-only-the-sender-knows"
RPCS = tuple(
    f"/empla.v1.{rpc}" for rpc in ("EmployeeGateway/AcquireSidecar", "SidecarControl/Configure", "Compute/RunInSession")
)
"""What the action of the message asks of other processes, among more."""

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def system(collector: Collector, model: ModelServer) -> Iterator[System]:
    """A system that exports its traces."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint.removesuffix("/v1/traces"),
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{KEY}",
    }
    with own_system(model, patience=PATIENCE, **variables) as system:
        system.start()
        yield system


def trace_of(message: Any, collector: Collector, *names: str) -> list[Received]:
    """The spans of a message, as soon as each attempt of a step has one, each of `names` is there, and no parent lacks."""
    attempts = Counter((one.step, one.attempt, one.outcome) for one in message.attempts)

    def whole() -> list[Received] | None:
        spans = [span for span in collector.spans if span.trace_id == message.trace_id]
        found = Counter(map(_attempt, spans))
        there = {span.name for span in spans}
        return spans if attempts <= found and there >= {*names} and not orphans(spans) else None

    return until(whole, f"trace {message.trace_id} is whole", seconds=PATIENCE)


def orphans(spans: list[Received]) -> list[Received]:
    """Those whose parent is not there."""
    ids = {span.span_id for span in spans} | {""}
    return [span for span in spans if span.parent not in ids]


def _attempt(span: Received) -> tuple[str, int, str]:
    said = span.attributes
    if span.name == "send":
        return "send", said["attempt"], "succeeded" if said["outcome"] == "sent" else "failed"
    return said.get("step", ""), said.get("attempt", 0), said.get("outcome", "")


def above(span: Received, spans: list[Received]) -> list[str]:
    """The names of the spans that `span` is in, from the root down."""
    parents = [one for one in spans if one.span_id == span.parent]
    return [*above(parents[0], spans), parents[0].name] if parents else []


def test_a_message_is_one_tree_from_the_webhook_through_a_sidecar_to_the_reply(
    system: System, collector: Collector, callbacks: CallbackServer, tmp_path: Path
):
    clerk = Clerk(system, tmp_path, compute="sidecar")
    inbox = connected(system, callbacks, clerk.name)
    message = system.ended(inbox.accept(f"run `print('{TEXT}')`"))
    assert message.state == "answered"
    assert TEXT in message.replies[0].text
    spans = trace_of(message, collector, *RPCS)
    named = {span.name: span for span in spans}

    assert [span.name for span in spans if not span.parent] == ["webhook"]
    assert above(named["receive"], spans) == ["webhook"]
    steps = {span.name for span in spans if span.name.startswith("step ")}
    assert steps == {f"step {one.step}" for one in message.attempts if one.step != "send"}
    for name in (*steps, "send"):
        assert above(named[name], spans) == ["webhook", "receive"]
    assert above(named["capability run_python"], spans) == ["webhook", "receive", "step action_planning"]
    acting = [*above(named["capability run_python"], spans), "capability run_python"]
    for name in RPCS:
        assert above(named[name], spans) == acting

    [sidecar_id] = clerk.sidecars()
    whose = {"employee": message.employee_id}
    for names, process in (
        (("webhook", "receive", "send"), {"service.name": "empla-controlplane"}),
        ((*steps, "capability run_python"), {"service.name": "empla-agent", **whose}),
        (("/empla.v1.Compute/RunInSession",), {"service.name": "empla-sidecar", "sidecar": sidecar_id, **whose}),
    ):
        assert [named[name].process for name in names] == [process] * len(names)
    for name in (*steps, "receive", "send", "capability run_python"):
        assert named[name].attributes["message_id"] == message.message_id
    [planned] = [one for one in message.attempts if one.step == "action_planning"]
    said = named["step action_planning"].attributes
    assert [said[name] for name in ("model", "tokens_in", "tokens_out", "cost_micros")] == [
        planned.model, planned.tokens_in, planned.tokens_out, planned.cost_micros
    ]  # fmt: skip
    assert planned.tokens_in > 0

    assert {headers["authorization"] for headers in collector.headers} == {f"Bearer {KEY}"}
    for secret in (TEXT, KEY, inbox.secret, system.token, "ada@example.com"):
        assert not any(secret.encode() in body for body in collector.bodies)


def test_a_collector_that_hangs_holds_up_nobody_and_gets_it_all_afterwards(system: System, collector: Collector):
    system.attached()
    collector.free.clear()
    sent = system.send("good day", wait=False)
    message = system.ended(sent.message_id)
    assert message.state == "answered"
    assert not [span for span in collector.spans if span.trace_id == message.trace_id]
    collector.free.set()
    spans = trace_of(message, collector)
    assert [span.name for span in spans if not span.parent] == ["/empla.v1.ControlPlane/SendMessage"]
    assert not any(span.failed for span in spans)
    until(lambda: not orphans(collector.spans), "no span of any trace lacks its parent", seconds=PATIENCE)
