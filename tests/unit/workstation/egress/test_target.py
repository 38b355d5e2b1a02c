import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from empla.addresses import canonical_host
from workstation.egress.endings import Ending
from workstation.egress.policy import EgressRefused
from workstation.egress.target import Target, target_of

PRINTABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)


def target(line: str, host: str, method: str = "GET") -> Target | None:
    try:
        return target_of(h11.Request(method=method, target=line, headers=[("Host", host)]))
    except (Ending, EgressRefused, h11.LocalProtocolError):
        return None


@pytest.mark.parametrize(
    ("line", "host", "expected"),
    [
        ("http://a.test/", "a.test", Target("a.test", 80, b"/")),
        ("HTTP://A.Test.:80?b", "a.test", Target("a.test", 80, b"/?b")),
        ("http://a.test:8080//b/../c", "A.TEST:8080", Target("a.test", 8080, b"//b/../c")),
        ("http://[0:0::1]:8080/", "[::1]:8080", Target("::1", 8080, b"/")),
        ("http://a.test/@b", "a.test", Target("a.test", 80, b"/@b")),
    ],
)
def test_the_target_is_where_the_address_leads(line: str, host: str, expected: Target) -> None:
    assert target(line, host) == expected


@given(PRINTABLE, PRINTABLE)
def test_a_host_that_is_taken_is_one_in_every_reading(authority: str, path: str) -> None:
    found = target(f"http://{authority}/{path}", authority)
    if found is not None:
        assert canonical_host(found.host) == found.host
        assert 0 < found.port < 65_536
        assert found.path == f"/{path}".encode()
        assert target(f"http://{found.authority}/", found.authority) == Target(found.host, found.port, b"/")


@given(PRINTABLE)
def test_the_address_and_the_host_header_name_one_place(host: str) -> None:
    if target("http://a.test/", host) is not None:
        name, _, port = host.partition(":")
        assert (canonical_host(name), int(port or 80)) == ("a.test", 80)


@given(PRINTABLE)
def test_a_tunnel_leads_to_a_host_and_a_port(authority: str) -> None:
    found = target(authority, authority, "CONNECT")
    if found is not None:
        assert authority.endswith(str(found.port))
        assert canonical_host(found.host) == found.host
