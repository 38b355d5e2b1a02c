import asyncio
import socket
from collections.abc import Sequence

import pytest

from tests.integration.workstation.egress.conftest import get, tunnel
from workstation.egress import EgressPolicy, EgressProxy, EgressRule
from workstation.egress.resolver import SystemResolver

ANY = EgressRule("*", (80, 443))
METADATA = [
    *(
        "169.254.169.254",
        "169.254.169.254.",
        "169.254.43518",
        "169.16689662",
        "2852039166",
        "02852039166",
        "025177524776",
    ),
    *(
        "0xA9FEA9FE",
        "0xa9fea9fe.",
        "0xa9.0xfe.0xa9.0xfe",
        "0xa9.254.0251.0xfe",
        "0251.0376.0251.0376",
        "0251.254.169.254",
    ),
    *(
        "00000251.0376.0251.0376",
        "169.254.169.0xfe",
        "169.254.0xa9fe",
        "0xa9.16689662",
        "169.254.169.254.1",
        "7147006462",
    ),
    *(
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[::a9fe:a9fe]",
    ),
    *(
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[2001::a9fe:a9fe]",
    ),
    *("[2002:a9fe:a9fe::a9fe:a9fe]", "[fe80::5efe:169.254.169.254]", "[::ffff:0:169.254.169.254]", "[fd00:ec2::254]"),
    *(
        "[FD00:0EC2::0254]",
        "[fd20:ce::254]",
        "[fe80::a9fe:a9fe%25eth0]",
        "[fe80::1%eth0]",
        "[::ffff:169.254.169.254%1]",
    ),
    *("169%2e254%2e169%2e254", "%31%36%39.254.169.254", "169.254.169.254%00", "169.254.169.254%00.example.com"),
    *(
        "example.com@169.254.169.254",
        "169.254.169.254@example.com",
        "[169.254.169.254]",
        "169.254.169.254\\",
        "\\169.254.169.254",
    ),
    *(
        "169。254。169。254",
        "１６９.254.169.254",
        "①⑥⑨.254.169.254",
        "169.254.169.254\x00",
        "169.254.169.254\x09",
        "169,254,169,254",
    ),
    *(
        "::ffff:169.254.169.254",
        "169.254.169.254#",
        "169.254.169.254/x",
        "169.254.169.254?",
        "",
        "168.63.129.16",
        "100.100.100.200",
    ),
]


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("host", METADATA)
async def test_metadata_is_out_of_reach_in_every_notation(gate, host: str) -> None:
    """With every name allowed and the real resolver, which understands more notations than a reader."""
    opened = await gate(ANY, resolve=SystemResolver())
    for request in (tunnel(host, 80), f"GET http://{host}/latest HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()):
        client = await opened.connect()
        await client.send(request)
        assert (await client.head()).split()[1] in (b"400", b"403")
    assert [record.outcome for record in opened.records] == ["refused", "refused"]
    assert [record.address for record in opened.records] == ["", ""]


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "100.64.0.1",
            "::1",
            "fc00::1",
        ),
        *(
            "fe80::1%lo",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2606:4700::5efe:7f00:1",
        ),
    ],
)
@pytest.mark.parametrize("others", [[], ["8.8.8.8"]], ids=["alone", "behind a public one"])
async def test_a_name_is_refused_for_any_address_that_is_not_public(gate, address: str, others: list[str]) -> None:
    opened = await gate(EgressRule("site.test"), names={"site.test": [*others, address]})
    for request in (tunnel("site.test", 443), b"GET http://site.test/ HTTP/1.0\r\n\r\n"):
        client = await opened.connect()
        await client.send(request)
        assert (await client.answer())[0] == 403
    assert opened.door.refused == 2


async def test_nothing_goes_through_without_a_rule(gate, serve) -> None:
    site = await serve()
    opened = await gate()
    assert status(await opened.ask(get(site.port))) == 403
    assert site.connections == 0


async def test_a_refusal_says_what_why_and_who_can_allow_it(gate) -> None:
    opened = await gate()
    answer = await opened.ask(
        b"GET http://Site.test:81/secret?key=1 HTTP/1.1\r\nHost: site.test:81\r\nConnection: close\r\n\r\n"
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(
        b"HTTP/1.1 403 GET to site.test:81 was refused: no rule names site.test, and an operator can"
    )
    assert b"X-Empla-Egress: refused" in head
    assert b"Content-Type: text/plain" in head
    assert body.decode() == (
        "GET to site.test:81 was refused: no rule names site.test, "
        "and an operator can allow it in the employee's profile (empla egress allow EMPLOYEE site.test --port 81).\n"
    )
    (refusal,) = opened.door.refusals
    assert (refusal.method, refusal.host, refusal.port, refusal.status) == ("GET", "site.test", 81, 403)


@pytest.mark.parametrize(
    ("rules", "url", "advised"),
    [
        ([], "site.test", "site.test"),
        ([], "localhost:8080", "localhost --port 8080 --private"),
        ([], "[fd12::1]", "fd12::1 --private"),
        ([EgressRule("site.test", methods=("HEAD",))], "site.test", "site.test --method GET"),
        (
            [EgressRule("site.test", (81,), ("HEAD",), private=True)],
            "site.test:81",
            "site.test --port 81 --method GET --private",
        ),
        ([EgressRule("site.test", methods=("HEAD",))], "site.test:81", "site.test --port 81 --method GET"),
        (
            [EgressRule("site.test"), EgressRule("site.test", (81,), ("HEAD",))],
            "site.test:81",
            "site.test --port 81 --method GET",
        ),
        ([EgressRule("site.test", methods=("GET",))], "site.test", "site.test --method GET --private"),
        ([EgressRule("*")], "site.test", "site.test --private"),
    ],
)
async def test_what_a_refusal_advises_allows_it_and_no_other_methods(
    gate, rules: list[EgressRule], url: str, advised: str
) -> None:
    opened = await gate(*rules, names={"site.test": ["127.0.0.1"]})
    answer = await opened.ask(f"GET http://{url}/ HTTP/1.1\r\nHost: {url}\r\nConnection: close\r\n\r\n".encode())
    assert f"(empla egress allow EMPLOYEE {advised})" in answer.decode()


async def test_a_method_of_a_clients_own_making_comes_into_no_command(gate) -> None:
    opened = await gate(EgressRule("site.test", (81,), ("GET",)))
    answer = await opened.ask(get(81, method="`reboot`"))
    assert b"(empla egress allow EMPLOYEE site.test --port 81)" in answer


async def test_a_refused_tunnel_is_advised_by_its_own_method(gate) -> None:
    opened = await gate(EgressRule("site.test", methods=("GET",)))
    client = await opened.connect()
    await client.send(tunnel("site.test", 443))
    assert b"(empla egress allow EMPLOYEE site.test --method CONNECT)" in (await client.answer())[1]


async def test_a_name_is_looked_up_once_and_its_answer_is_what_counts(gate, serve) -> None:
    """A resolver whose second answer would lead elsewhere is not asked a second time."""
    site, trap = await serve(), await serve()
    asked: list[str] = []

    async def rebinding(name: str) -> Sequence[str]:
        asked.append(name)
        return ["127.0.0.1"] if len(asked) % 2 else ["169.254.169.254"]

    opened = await gate(site.rule, resolve=rebinding)
    assert status(await opened.ask(get(site.port))) == 200
    assert asked == ["site.test"]
    assert status(await opened.ask(get(site.port))) == 403
    assert len(asked) == 2
    assert (site.connections, trap.connections) == (1, 0)


async def test_a_redirect_is_a_request_like_any_other(gate, serve) -> None:
    inside = await serve()

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = f"http://127.0.0.1:{inside.port}/"
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())

    site = await serve(handler)
    opened = await gate(site.rule)
    answer = await opened.ask(get(site.port))
    assert status(answer) == 302
    place = answer.partition(b"Location: ")[2].split(b"\r\n")[0]
    host = place.split(b"/")[2]
    answer = await opened.ask(b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (place, host))
    assert status(answer) == 403
    assert inside.connections == 0


async def test_a_rule_with_methods_allows_those_and_no_tunnel(gate, serve) -> None:
    site = await serve()
    opened = await gate(EgressRule("site.test", (site.port,), ("GET",), private=True))
    assert status(await opened.ask(get(site.port))) == 200
    assert status(await opened.ask(get(site.port, method="DELETE"))) == 403
    client = await opened.connect()
    await client.send(tunnel("site.test", site.port))
    assert (await client.answer())[0] == 403


async def test_names_without_an_address_and_servers_that_are_not_there_are_502(gate) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    opened = await gate(EgressRule("site.test", (port,), private=True), ANY, names={"empty.test": []})
    assert status(await opened.ask(get(port))) == 502
    for name in ("unknown.test", "empty.test"):
        answer = await opened.ask(f"GET http://{name}/ HTTP/1.0\r\n\r\n".encode())
        assert status(answer) == 502
        assert b"X-Empla-Egress: failed" in answer
        assert b"the name has no address" in answer


async def test_a_host_whose_rule_went_is_refused_at_once(gate, serve) -> None:
    site = await serve()
    opened = await gate(site.rule)
    client = await opened.connect()
    await client.send(get(site.port, close=False))
    assert (await client.answer())[0] == 200
    opened.proxy.policy = EgressPolicy()
    await client.send(get(site.port, close=False))
    assert (await client.answer())[0] == 403
    opened.proxy.policy = EgressPolicy((site.rule,))
    await client.send(get(site.port))
    assert (await client.answer())[0] == 200


async def test_a_policy_that_changes_while_a_name_is_looked_up_is_the_one_that_counts(gate, serve) -> None:
    site = await serve()
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(_name: str) -> Sequence[str]:
        asked.set()
        await answer.wait()
        return ["127.0.0.1"]

    opened = await gate(site.rule, resolve=slow)
    client = await opened.connect()
    await client.send(get(site.port))
    await asked.wait()
    opened.proxy.policy = EgressPolicy((EgressRule("site.test", (site.port,)),))  # still there, no longer private
    answer.set()
    assert (await client.answer())[0] == 403
    assert not site.heads


async def test_a_policy_that_goes_while_its_refusal_is_sent_disturbs_nothing(gate) -> None:
    opened = await gate()
    client = await opened.connect()
    await client.send(b"GET http://site.test/ HTTP/1.1\r\nHost: site.test\r\n\r\n")
    while not opened.door.refusals:
        await asyncio.sleep(0)
    opened.proxy.policy = EgressPolicy((EgressRule("else.test"),))
    assert (await client.answer())[0] == 403


async def test_without_a_policy_nothing_is_allowed() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    async with EgressProxy() as proxy:
        proxy.open_door(listener, client="tests")
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET http://localhost/ HTTP/1.0\r\n\r\n")
        assert status(await reader.read()) == 403
        writer.close()
        await writer.wait_closed()
