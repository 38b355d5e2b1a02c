import json
import logging

from empla.telemetry import JsonFormatter, span
from tests.integration.workstation.egress.conftest import get
from workstation.egress import EgressRule, Outcome

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


async def test_each_request_is_a_line_that_its_trace_links_to(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule)
    opened.door.trace = TRACE
    with span("of somebody else"):
        await opened.ask(get(site.port, "/path?token=secret", "Cookie: secret", "Authorization: Bearer secret"))
        line = JsonFormatter().format(await opened.record())
    fields = json.loads(line)
    assert (fields["trace_id"], fields["span_id"]) == ("a" * 32, "b" * 16)
    assert (fields["level"], fields["message"]) == ("info", f"GET site.test:{site.port} allowed")
    expected = {
        "client": "tests",
        "method": "GET",
        "host": "site.test",
        "port": site.port,
        "address": "127.0.0.1",
        "rule": "site.test",
        "outcome": "allowed",
        "reason": "",
        "status": 200,
        "bytes_up": 0,
        "bytes_down": 2,
    }
    assert expected.items() <= fields.items()
    assert fields["seconds"] >= 0
    assert "secret" not in line
    assert "path" not in line


async def test_a_trace_belongs_to_the_requests_that_begin_under_it(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule)
    client = await opened.connect()
    for trace in (TRACE, "", "nonsense", TRACE.replace("a", "c")):
        opened.door.trace = trace
        await client.send(get(site.port, close=False))
        await client.answer()
    client.writer.close()
    ids = [getattr(record, "trace_id", None) for record in await opened.lines(4)]
    assert ids == ["a" * 32, None, None, "c" * 32]


async def test_what_cannot_be_read_is_in_the_log_without_its_words(gate) -> None:
    opened = await gate()
    for request in (
        b"secret\r\n\r\n",
        b"GET http://secret:secret@site.test/ HTTP/1.0\r\n\r\n",
        b"GET /secret HTTP/1.0\r\n\r\n",
    ):
        await opened.ask(request)
    assert [record.status for record in opened.records] == [400, 400, 400]
    assert "secret" not in "".join(JsonFormatter().format(record) for record in opened.records)
    assert [entry.outcome for entry in opened.door.refusals] == [Outcome.REFUSED] * 3


async def test_what_is_not_served_is_kept_with_what_can_be_done_about_it(gate) -> None:
    opened = await gate(EgressRule("nowhere.test"))
    for host in ("nowhere.test", "other.test", "169.254.169.254"):
        await opened.ask(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\nConnection: close\r\n\r\n".encode())
    (failure,), (refusal, final) = opened.door.failures, opened.door.refusals
    assert (failure.host, failure.outcome, failure.reason) == (
        "nowhere.test",
        Outcome.FAILED,
        "the name has no address",
    )
    assert "empla egress allow" in refusal.reason
    assert final.reason.endswith("and no rule can allow that")
    assert [record.reason for record in opened.records] == [failure.reason, refusal.reason, final.reason]


async def test_refusals_are_kept_in_a_bounded_number(gate) -> None:
    opened = await gate()
    logging.getLogger("workstation.egress").setLevel(logging.WARNING)
    client = await opened.connect()
    for number in range(300):
        await client.send(f"GET http://{number}.test/ HTTP/1.1\r\nHost: {number}.test\r\n\r\n".encode())
        await client.answer()
    assert opened.door.refused == 300
    assert len(opened.door.refusals) == 256
    assert opened.door.refusals[-1].host == "299.test"
