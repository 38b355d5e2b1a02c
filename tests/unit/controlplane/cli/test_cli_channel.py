"""`empla channel` against a control plane on loopback; its example is run by a shell."""

import hashlib
import hmac
import json
import shutil
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]
SECRET = "-it's a secret"


@pytest.fixture
def created(peer: Any) -> Any:
    channel = control_pb2.Channel(channel_id="c-1", name="hook", kind="webhook", receive_path="/webhooks/c-1")
    peer.answers["CreateChannel"] = control_pb2.CreateChannelResponse(channel=channel, secret=SECRET)
    return peer


def test_create_prints_what_the_sender_needs(created: Any, empla: Fixture) -> None:
    result = empla("channel", "create", "hook", "--employee", "sales-ae", "--callback", "http://127.0.0.1:9/replies")
    assert result.exit_code == 0
    for part in (SECRET, "POST /webhooks/c-1", "curl"):
        assert part in result.stdout
    sent = created.last.request
    assert (sent.name, sent.kind, sent.employee) == ("hook", "webhook", "sales-ae")
    assert sent.callback_url == "http://127.0.0.1:9/replies"


def test_create_json(created: Any, empla: Fixture) -> None:
    document = json.loads(empla("channel", "create", "hook", "--json").stdout)
    assert (document["secret"], document["receive_path"], document["kind"]) == (SECRET, "/webhooks/c-1", "webhook")


@pytest.mark.skipif(
    not shutil.which("curl") or not shutil.which("openssl"), reason="the example calls curl and openssl"
)
def test_the_example_signs(created: Any, empla: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.handle_request).start()
        monkeypatch.setenv("EMPLA_HTTP_ADDRESS", f"0.0.0.0:{server.server_port}")
        example = json.loads(empla("channel", "create", "hook", "--json").stdout)["example"]
        subprocess.run(["bash", "-euc", example], check=True, timeout=20)
    ((path, headers, body),) = received
    signed = f"{headers['X-Empla-Timestamp']}.".encode() + body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert (path, headers["X-Empla-Signature"]) == ("/webhooks/c-1", f"v1={expected}")
    assert json.loads(body)["text"] == "Hello"


def test_list(peer: Any, empla: Fixture) -> None:
    channel = control_pb2.Channel(name="hook", kind="webhook", receive_path="/webhooks/c-1")
    peer.answers["ListChannels"] = control_pb2.ListChannelsResponse(channels=[channel])
    assert "/webhooks/c-1" in empla("channel", "list").stdout
    assert json.loads(empla("channel", "list", "--json").stdout)[0]["name"] == "hook"


def test_list_says_that_rules_are_tried_first(peer: Any, empla: Fixture) -> None:
    rule = control_pb2.RoutingRule(rule_id="r-1", position=1)
    channels = [
        control_pb2.Channel(name="a", employee="ada", rules=[rule, rule]),
        control_pb2.Channel(name="b", rules=[rule]),
        control_pb2.Channel(name="c"),
    ]
    peer.answers["ListChannels"] = control_pb2.ListChannelsResponse(channels=channels)
    _, *lines = empla("channel", "list").stdout.splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "a 2 rules, then ada",
        "b 1 rule, then (as they say)",
        "c (as they say)",
    ]


def test_delete_asks_first_and_names_the_channel_by_its_id(peer: Any, empla: Fixture) -> None:
    channel = control_pb2.Channel(channel_id="c-1", tenant="default", name="hook")
    peer.answers["ListChannels"] = control_pb2.ListChannelsResponse(channels=[channel])
    peer.answers["DeleteChannel"] = control_pb2.DeleteChannelResponse()
    asked = empla("channel", "delete", "hook", stdin="n\n")
    assert (asked.exit_code, "default/hook" in asked.stderr, peer.last.method) == (130, True, "ListChannels")
    assert empla("channel", "delete", "hook", "--yes", "--force").stdout == "hook: deleted\n"
    assert (peer.last.request.channel_id, peer.last.request.force) == ("c-1", True)
    missing = empla("channel", "delete", "other", "--yes")
    assert (missing.exit_code, "there is no channel other" in missing.stderr) == (4, True)
