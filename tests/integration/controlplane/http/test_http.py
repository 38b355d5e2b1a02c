"""What holds on the whole port: routes, probes, outages, names, binding, draining."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from controlplane.attempts import PER_MINUTE, Attempts
from controlplane.auth import Tokens
from controlplane.channels import Channels
from controlplane.employees import Employees
from controlplane.http import routes
from controlplane.receiver import Receiver
from controlplane.statuspage import StatusPage
from controlplane.webhook import Webhook
from empla.rpc import CannotListen
from empla.store.connect import connect
from empla.store.embedded import EmbeddedPostgres
from empla.store.migrate import migrate
from empla.v1 import control_pb2
from tests.conftest import Database
from tests.integration.controlplane.deeds import everything, issued
from tests.integration.controlplane.http.site import (
    MAX_BODY,
    TOKEN,
    Site,
    a_message,
    metrics_of,
    problem_of,
    serving,
    serving_elsewhere,
    signed,
)


async def test_a_database_that_goes_away_is_503_until_it_is_back(
    short_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedPostgres(short_directory / "home") as server:
        await migrate(server.dsn)
        async with connect(server.dsn, application_name="tests") as pool, serving(pool) as site:
            message = a_message()
            assert (await site.deliver(message)).status == 202
            await asyncio.to_thread(server.stop)
            for response in [await site.deliver(a_message()), await site.get("/readyz")]:
                assert (response.status, response.headers["Retry-After"]) == (503, "1")
                assert (await problem_of(response))["reason"] == "STORE_UNAVAILABLE"
            assert (await site.get("/healthz")).status == 200
            assert (await site.get("/", headers={"Authorization": f"Bearer {TOKEN}"})).status == 503
            said = [r.getMessage() for r in caplog.records if r.name == "controlplane.problems"]
            assert len(said) == 1
            assert "database" in said[0]
            await asyncio.to_thread(server.start)
            assert (await site.get("/readyz")).status == 200
            assert (await (await site.deliver(message)).json())["duplicate"] is True
            assert (await site.deliver(a_message())).status == 202
            assert len(await site.messages()) == 2


async def test_an_unforeseen_error_is_logged_and_says_nothing_of_itself(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(Receiver, "store", broken)
    response = await site.deliver(a_message())
    assert (response.status, (await problem_of(response))["reason"]) == (500, "INTERNAL")
    assert b"secret" not in await response.read()
    assert "a secret detail" in caplog.text


async def test_every_route_is_protected_as_it_says(site: Site) -> None:
    served = routes(
        Webhook(
            channels=Channels(site.pool),
            employees=Employees(site.pool),
            receiver=Receiver(site.pool, lambda *_: None),
            attempts=Attempts(),
            max_body_bytes=MAX_BODY,
        ),
        StatusPage(
            tokens=Tokens(site.pool),
            overview=lambda _: asyncio.sleep(0, control_pb2.Overview()),
            metrics=metrics_of(site.pool, site.lifecycle, site.streams),
        ),
        site.readiness,
        site.clock,
    )
    assert len({(route.method, route.path) for route in served}) == len(served)
    _, expired = await issued(site.pool, "old", "admin", valid_seconds=-1)
    _, revoked = await issued(site.pool, "gone", "admin", revoked=True)
    before = await everything(site.pool)
    for route in served:
        path = "/v1/channels/default/inbox" if route.protection == "signature" else route.path
        for token in ("", "wrong", expired, revoked):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with site.client.request(route.method, site.url + path, data=b"", headers=headers) as response:
                assert response.status == (200 if route.protection == "open" else 401), (route, token)
    assert await everything(site.pool) == before


async def test_wrong_tokens_are_told_to_wait_and_right_ones_get_in_from_there(site: Site) -> None:
    for _ in range(PER_MINUTE):
        assert (await site.get("/v1/overview", headers={"Authorization": "Bearer wrong"})).status == 401
    for path in ("/v1/overview", "/", "/metrics"):
        response = await site.get(path, headers={"Authorization": "Bearer wrong"})
        assert (response.status, (await problem_of(response))["reason"]) == (429, "TOO_MANY_WRONG_TOKENS")
        assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert (await site.get("/v1/overview", headers={"Authorization": f"Bearer {TOKEN}"})).status == 200
    assert (await site.get("/")).status == 401  # with no token nothing is wrong yet


async def test_probes_answer(site: Site) -> None:
    assert (await (await site.get("/healthz")).json()) == {"status": "up"}
    assert (await (await site.get("/readyz")).json()) == {"status": "ready"}
    async with site.client.head(f"{site.url}/healthz") as response:
        assert response.status == 200


async def test_a_database_that_does_not_answer_in_time_is_not_ready(site: Site, database: Database) -> None:
    async with (
        database.connect(max_size=1) as narrow,
        narrow.acquire(),
        serving_elsewhere(narrow) as url,
        site.client.get(f"{url}/readyz") as response,
    ):
        assert response.status == 503


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/channels", "/healthz/", "//", "/../etc/passwd"])
async def test_an_unknown_path_is_a_problem(site: Site, path: str) -> None:
    response = await site.get(path)
    assert response.status == 404
    await problem_of(response)


async def test_another_method_is_a_problem(site: Site) -> None:
    async with site.client.delete(f"{site.url}/healthz") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")
        await problem_of(response)


@pytest.mark.parametrize("path", ["/", "/v1/overview", "/metrics", "/healthz", "/nowhere", "/?token=wrong"])
async def test_every_answer_carries_the_security_headers(site: Site, path: str) -> None:
    headers = (await site.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Server"] == "empla"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2", "", "localhost@evil", "[::2]"],
)
async def test_another_sites_name_reaches_nothing_on_loopback(site: Site, host: str) -> None:
    for path in ("/healthz", "/", "/v1/overview"):
        response = await site.get(path, headers={"Host": host, "Authorization": f"Bearer {TOKEN}"})
        assert (response.status, (await problem_of(response))["reason"]) == (421, "HOST_NOT_LOCAL")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:7401", "[::1]", "[::1]:7401"])
async def test_this_machines_names_are_answered(site: Site, host: str) -> None:
    assert (await site.get("/healthz", headers={"Host": host})).status == 200


async def test_off_loopback_every_name_is_answered(site: Site) -> None:
    async with serving_elsewhere(site.pool, "0.0.0.0:0") as url:
        port = url.rpartition(":")[2]
        async with site.client.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": "empla.example"}) as response:
            assert response.status == 200


async def test_an_address_that_is_taken_says_so(site: Site) -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 127\.0\.0\.1:[0-9]+: .*in use"):
        async with serving_elsewhere(site.pool, site.url.removeprefix("http://")):
            pass


@pytest.mark.parametrize("address", ["", "7401", "localhost:", ":7401", "localhost:http", "/run/empla.sock"])
async def test_an_address_that_is_none_says_so(site: Site, address: str) -> None:
    with pytest.raises(OSError, match="not host:port"):
        async with serving_elsewhere(site.pool, address):
            pass


async def test_leaving_lets_a_running_request_finish(database: Database) -> None:
    async with database.connect() as pool, asyncio.TaskGroup() as group:
        async with serving(pool) as site:
            site.overview_may_answer.clear()
            request = group.create_task(site.get("/v1/overview", headers={"Authorization": f"Bearer {TOKEN}"}))
            await asyncio.sleep(0.2)
            asyncio.get_running_loop().call_later(0.3, site.overview_may_answer.set)
            leaving = time.monotonic()
        assert (await request).status == 200
        assert time.monotonic() - leaving < 3


async def test_a_machine_whose_clock_is_off_goes_by_the_databases_and_says_so(site: Site) -> None:
    site.clock.heard(time.time() - 900, time.monotonic())
    message = a_message()
    body = json.dumps(message).encode()
    assert (await site.deliver(body, headers=signed(body))).status == 401
    assert (await site.deliver(body, headers=signed(body, age=900))).status == 202
    ready = await site.get("/readyz")
    assert ready.status == 200
    assert (await ready.json())["degraded"] == "its clock is 900 s ahead of the database's"
