"""Traces: every attempt in the table is a span with the same ids, in the trace that the message came with."""

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from agent.models.interface import ModelRequest, ModelUnavailable
from agent.models.offline import OfflineModel
from agent.models.scripted import Step
from empla import telemetry
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import Parts
from tests.integration.agent.test_pipeline import answered

TEXT = "count the deals, greet Bo"
COUNT, GREET = "count the deals", "greet Bo"


def _ids(span: ReadableSpan) -> tuple[str, str]:
    assert span.context is not None
    return format_trace_id(span.context.trace_id), format_span_id(span.context.span_id)


def _parent(span: ReadableSpan) -> str:
    return format_span_id(span.parent.span_id) if span.parent else ""


async def test_each_attempt_is_a_span_of_the_trace_that_is_stored_with_the_message(
    office: Office, spans: InMemorySpanExporter
):
    def once_overloaded(request: ModelRequest) -> Step:
        asked.append(request)
        if len(asked) == 1:
            raise ModelUnavailable("overloaded")
        return "three"

    asked: list[ModelRequest] = []
    async with office.employee(Parts(TEXT, {COUNT: once_overloaded, GREET: lambda _: "hi Bo"})) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
    context = (await office.row(message_id))["trace_context"]
    trace_id, received = telemetry.trace_id(context), context.split("-")[2]
    found = {_ids(span): span for span in spans.get_finished_spans()}
    assert found[trace_id, received].name == "receive"
    rows = await office.pool.fetch("SELECT * FROM step_attempts WHERE message_id = $1", message_id)
    assert len(rows) == 4 + 2 * 3 + 1
    steps = {span for span in found.values() if span.name.startswith("step ")}
    for row in rows:
        span = found[trace_id, row["span_id"]]
        steps.remove(span)
        assert span.name == f"step {row['step']}"
        assert _parent(span) == received
        said = {"message_id": str(message_id), "unit_id": str(row["unit_id"])}
        said |= {name: row[name] for name in ("step", "stage", "attempt", "outcome")}
        paid = {name: row[name] for name in ("model", "tokens_in", "tokens_out", "cost_micros") if row[name]}
        assert span.attributes == said | paid
        failed = row["outcome"] == "failed"
        assert span.status.status_code == (StatusCode.ERROR if failed else StatusCode.UNSET)
        assert span.status.description == ("ModelUnavailable" if failed else None)  # what it says may quote the sender
        assert not span.events
    assert not steps
    assert {row["model"] for row in rows} > {""}
    stored = found[trace_id, received].attributes or {}
    assert (stored["message_id"], stored["duplicate"]) == (str(message_id), False)


async def test_what_a_step_does_is_below_it(office: Office, spans: InMemorySpanExporter):
    (office.workspace / "notes.md").write_text("- Acme - open\n")
    async with office.employee(OfflineModel()) as gateway:
        message_id, _ = await answered(office, gateway, "How many open deals does notes.md list?")
    done = [span for span in spans.get_finished_spans() if span.name.startswith("capability ")]
    planned = await office.pool.fetchval(
        "SELECT span_id FROM step_attempts WHERE message_id = $1 AND step = 'action_planning'", message_id
    )
    assert done
    assert {_parent(span) for span in done} == {planned}
    assert {(span.attributes or {})["message_id"] for span in done} == {str(message_id)}
