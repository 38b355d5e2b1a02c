import asyncio

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.egress import Egress, EgressRefused

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::8.8.8.8",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.167.0.1", "2606:4700::1111", "2a00:1450:4001::1"]
ODD_HOSTS = [
    "2130706433",
    "0x7f000001",
    "0X7F.0.0.1",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "127.0.0.1.",
    "127.000.000.001",
    "1.2.3.4.5",
    "example.0x7f",
    "999.1.1.1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    with pytest.raises(EgressRefused):
        Egress().check_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_reached(address: str) -> None:
    Egress().check_address(address)


def test_an_allowed_network_opens_itself_and_nothing_else() -> None:
    egress = Egress(["10.1.0.0/16", "::1/128"])
    egress.check_address("10.1.2.3")
    egress.check_address("::1")
    for address in ("10.2.0.1", "127.0.0.1", "::2", "::ffff:10.1.2.3"):
        with pytest.raises(EgressRefused):
            egress.check_address(address)


@pytest.mark.parametrize("address", REFUSED)
def test_a_url_with_an_address_that_is_never_reached_is_refused(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(EgressRefused):
        Egress().check_literal(f"https://{host}:8443/replies")


@pytest.mark.parametrize("host", ["example.com", "internal", "localhost", "8.8.8.8", "[2606:4700::1111]", "10.1.2.3"])
def test_a_url_with_a_name_or_an_address_in_reach_is_taken(host: str) -> None:
    Egress(["10.1.0.0/16"]).check_literal(f"http://{host}/replies")


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_never_reached(address: object) -> None:
    for prefix in ("::", "::ffff:", "64:ff9b::"):
        with pytest.raises(EgressRefused):
            Egress(["0.0.0.0/0"]).check_address(f"{prefix}{address}")


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_odd_notations_are_refused_even_where_the_address_is_allowed(host: str) -> None:
    with pytest.raises(EgressRefused):
        Egress(["0.0.0.0/0"]).check_url(f"http://{host}/reply")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/reply",
        "//example.com/reply",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http:///reply",
        "http://me@example.com/",
        "http://me:secret@example.com/",
        "http://:secret@example.com/",
        "http://example.com:99999/",
        "http://[::1/",
        "http://a b/",
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(EgressRefused):
        Egress().check_url(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/a?b=c", "http://example.com:8080", "http://8.8.8.8/", "https://[::1]/"]
)
def test_plain_web_addresses_pass(url: str) -> None:
    assert str(Egress().check_url(url)).startswith(url)


def test_a_network_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="host bits"):
        Egress(["10.0.0.1/8"])


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "127。0。0。1", "[::ffff:127.0.0.1]"])
async def test_the_connector_opens_no_connection_to_a_refused_address(host: str) -> None:
    arrived = asyncio.Event()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession(connector=Egress().connector()) as session:
            with pytest.raises((EgressRefused, aiohttp.InvalidURL)):
                await session.get(f"http://{host}:{port}/")
        await asyncio.sleep(0)
        assert not arrived.is_set()
