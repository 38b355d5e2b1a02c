"""Messages whose work runs in sidecars, in a system of real processes: the same answers, and a trace that says where."""

import json
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.system import System, is_alive, kill, until

HUNGRY = "python3 -c 'x = bytearray(1300 * 2**20); print(len(x) >> 20)'"
"""More than a program may have beside the employee."""

PLANS = b"""<!doctype html><title>Plans</title><main><h1>Plans</h1><section><h2>Basic</h2><p>$10/month</p>
<ul><li>1 user</li></ul></section><section><h2>Pro</h2><p>$25/month</p><ul><li>SSO</li></ul></section></main>"""


class Clerk:
    """An employee whose profile says where its work runs."""

    def __init__(self, system: System, place: Path, **workstation: Any) -> None:
        self.system, self.name = system, f"temp-{uuid4().hex[:8]}"
        profile = place / f"{self.name}.json"
        profile.write_text(json.dumps({"role": "Clerk", "autonomy": "autonomous", "workstation": workstation}))
        system.json("employee", "create", self.name, "--profile", str(profile))
        system.attached(self.name)

    @property
    def workspace(self) -> Path:
        return self.system.workspace(self.name)

    def ask(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """The reply, and the places of what was done for it."""
        message = self.system.json("send", self.name, text)
        assert message["state"] == "answered", message
        return message["reply"], [place for effect in message["effects"] for place in effect["places"]]

    def allow(self, port: int) -> None:
        """Let it reach a port of loopback."""
        self.system.json("egress", "allow", self.name, "127.0.0.1", "--port", str(port), "--private")

    def sidecars(self) -> dict[str, int]:
        """The processes of its sidecars that live, by the ids of those."""
        listed = self.system.json("sidecars", "list", "--employee", self.name)
        return {one["sidecar_id"]: one["pid"] for one in listed if one["state"] == "leased" and is_alive(one["pid"])}


class Plans(BaseHTTPRequestHandler):
    """One page with two plans."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PLANS)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def shop() -> Iterator[int]:
    """The port of a site with two plans."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Plans) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def clerks(system: System, tmp_path: Path) -> Iterator[Any]:
    """Hires clerks."""
    hired: list[Clerk] = []

    def hire(**workstation: Any) -> Clerk:
        hired.append(Clerk(system, tmp_path, **workstation))
        return hired[-1]

    yield hire
    for clerk in hired:
        system.run("employee", "delete", clerk.name, "--yes", "--force")


def test_the_same_message_is_answered_the_same_and_traced_to_another_place(clerks: Any):
    number = random.randrange(10**6)
    text = f"Run `echo {number} > made && cat made && pwd` with 512 MB of memory"
    answers, places = {}, {}
    for choice in ("local", "sidecar"):
        clerk = clerks(compute=choice)
        answers[choice], [places[choice]] = clerk.ask(text)
        assert (clerk.workspace / "made").read_text() == f"{number}\n"
        assert (clerk.workspace / "made").stat().st_uid == clerk.workspace.stat().st_uid
    assert answers["local"] == answers["sidecar"]
    assert f"{number}\n/workspace" in answers["local"]
    assert places["local"]["place"] == "local"
    assert places["sidecar"]["place"].startswith("sidecar ")
    assert places["sidecar"]["waited_ms"] > 0
    assert places["sidecar"]["memory_bytes"] == 1 << 30


@pytest.mark.timeout(240)  # two browsers are started
def test_a_page_is_read_and_printed_the_same_beside_the_employee_and_in_a_sidecar(clerks: Any, shop: int):
    text = f"compare the two plans on http://127.0.0.1:{shop}/ and save a PDF as plans.pdf"
    replies, places = {}, {}
    for choice in ("local", "sidecar"):
        clerk = clerks(browser=choice)
        clerk.allow(shop)
        replies[choice], places[choice] = clerk.ask(text)
        assert (clerk.workspace / "plans.pdf").read_bytes().startswith(b"%PDF")
        assert (clerk.workspace / "plans.pdf").stat().st_uid == clerk.workspace.stat().st_uid
    assert replies["local"] == replies["sidecar"]
    assert "Basic is cheaper" in replies["local"]
    assert {place["place"].split()[0] for place in places["local"]} == {"local"}
    assert {place["place"].split()[0] for place in places["sidecar"]} == {"sidecar"}


def test_what_needs_more_than_there_is_gets_it_and_message_show_says_where(clerks: Any, system: System):
    clerk = clerks()
    message = system.json("send", clerk.name, f"Run `{HUNGRY}` with 2 GB of memory")
    assert "1300" in message["reply"]
    [sidecar_id] = clerk.sidecars()
    shown = system.run("message", "show", message["message_id"]).stdout
    assert f"at sidecar {sidecar_id}, waited " in shown
    assert "2048 MiB × " in shown
    reply, [place] = clerk.ask("Run `echo well`")
    assert ("well" in reply, place["place"]) == (True, "local")


def test_what_runs_out_of_memory_is_run_again_only_if_it_may_be(clerks: Any):
    clerk = clerks(sidecar_memory_mb=2048)
    reply, places = clerk.ask(f"Run `echo begun >> log; {HUNGRY}`")
    assert "ran out of memory" in reply
    assert reply.endswith(f"write: run `echo begun >> log; {HUNGRY}` with 2 GB of memory")
    assert [place["place"] for place in places] == ["local"]
    reply, places = clerk.ask(f"Run `echo begun >> log; {HUNGRY}`; it can be run again")
    assert "1300" in reply
    assert [place["place"].split()[0] for place in places] == ["local", "sidecar"]
    assert (clerk.workspace / "log").read_text() == "begun\n" * 3


def test_a_sidecar_that_is_killed_is_told_as_lost_and_the_employee_goes_on(clerks: Any):
    clerk = clerks(compute="sidecar")
    answered: list[Any] = []
    asking = threading.Thread(target=lambda: answered.append(clerk.ask("Run `echo begun >> log; sleep 50`")))
    asking.start()
    until((clerk.workspace / "log").exists, "it has begun")
    [sidecar_id] = clerk.sidecars()
    kill(clerk.sidecars()[sidecar_id])
    asking.join(30)
    [(reply, [place])] = answered
    assert "was lost with its sandbox" in reply
    assert place["place"] == f"sidecar {sidecar_id}"
    assert (clerk.workspace / "log").read_text() == "begun\n"
    reply, [place] = clerk.ask("Run `echo well`")
    assert "well" in reply
    assert place["place"] != f"sidecar {sidecar_id}"


def test_past_its_limits_an_employee_is_told_and_its_other_work_goes_on(clerks: Any):
    clerk = clerks(sidecar_memory_mb=1500)
    reply, places = clerk.ask("Run `touch made` with 2 GB of memory")
    assert "at most 1500 MB ([workstation] sidecar_memory_mb in its profile)" in reply
    assert places == []
    assert not (clerk.workspace / "made").exists()
    assert "well" in clerk.ask("Run `echo well`")[0]


def test_what_runs_in_a_sidecar_outlives_the_control_plane(clerks: Any, system: System):
    clerk = clerks(compute="sidecar")
    command = "Run `echo begun >> log; while ! test -e go; do sleep 0.1; done; echo done`"
    sent = system.send(command, wait=False, employee=clerk.name)
    until((clerk.workspace / "log").exists, "it has begun")
    sidecars, workspace = clerk.sidecars(), clerk.workspace
    system.kill_control_plane()
    system.start()
    system.attached(clerk.name)
    assert clerk.sidecars() == sidecars
    (workspace / "go").write_text("")
    message = system.ended(sent.message_id)
    assert (message.state, "done" in message.replies[0].text) == ("answered", True)
    assert (workspace / "log").read_text() == "begun\n"
    assert message.effects[0].places[0].place == f"sidecar {next(iter(sidecars))}"
