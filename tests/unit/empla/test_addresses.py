from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from empla.addresses import Reach, canonical_host, reach

PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.167.0.1", "2606:4700::1111", "2001:4860::1", "2a00:1450:4001::1"]
PRIVATE = ["10.1.2.3", "127.0.0.1", "127.255.255.254", "172.16.0.1", "172.31.255.255", "192.168.0.1"]
PRIVATE += ["::1", "fc00::1", "fd12::1"]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::8.8.8.8",
    "::127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:1::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "2606:4700::5efe:127.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
    "2606:4700::1111%eth0",
    "fd12::5efe:10.0.0.1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:42::42",
    "fe80::1",
    "fe80::1%lo",
    "::1%lo",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert reach(ip_address(address)) is Reach.PUBLIC


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_this_machine_and_of_private_networks_are_private(address: str) -> None:
    assert reach(ip_address(address)) is Reach.PRIVATE


@pytest.mark.parametrize("address", NEVER)
def test_other_addresses_are_for_nobody(address: str) -> None:
    assert reach(ip_address(address)) is Reach.NEVER


@given(st.ip_addresses(v=4))
def test_an_address_within_an_address_is_for_nobody(address: IPv4Address) -> None:
    number = int(address)
    for carrier in (
        IPv6Address(number),  # compatible
        IPv6Address(0xFFFF << 32 | number),  # mapped
        IPv6Address(0x64FF9B << 96 | number),  # NAT64
        IPv6Address(0x2002 << 112 | number << 80 | 1),  # 6to4
        IPv6Address(0x20010000 << 96 | number << 64 | 1),  # Teredo
        IPv6Address(0x2606_4700 << 96 | 0x5EFE << 32 | number),  # ISATAP
    ):
        assert reach(carrier) is not Reach.PUBLIC
        assert reach(carrier) is Reach.NEVER or carrier == IPv6Address("::1")


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("example.com", "example.com"),
        ("Example.COM.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("a_b.example", "a_b.example"),
        ("localhost", "localhost"),
        ("1.2.3.4", "1.2.3.4"),
        ("[::1]", "::1"),
        ("0:0::1", "::1"),
        ("2606:4700:0:0:0:0:0:1111", "2606:4700::1111"),
    ],
)
def test_a_host_has_one_spelling(written: str, canonical: str) -> None:
    assert canonical_host(written) == canonical


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            " ",
            ".",
            "..",
            "a..b",
            ".a",
            "a b",
            "a/b",
            "a@b",
            "a:80",
            "a%2eb",
            "a\x00b",
            "a\nb",
            "*",
            "*.a",
            "a" * 64,
        ),
        *(".".join(["a" * 60] * 5), "­" * 990 + "example.com.evil.example", "[127.0.0.1]", "[::1", "::1]", "[]", "[a]"),
        *("2130706433", "0x7f000001", "0X7F.0.0.1", "0x7f.1", "017700000001", "0177.0.0.1", "127.1", "127.0.0.1."),
        *("127.000.000.001", "1.2.3.4.5", "example.0x7f", "999.1.1.1", "0", "0x", "1."),
        *("１２７.0.0.1", "127。0。0。1", "①②⑦.1"),
        *("٣.1.1.1", "fe80::1%lo", "fe80::1%25lo", "::1%", "::ffff:0x7f.1", "::127.1", "1::2::3", "exam ple.com"),
    ],
)
def test_what_is_no_host_or_is_written_to_mislead_has_none(host: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each way to be wrong has its own words
        canonical_host(host)


@given(st.text(max_size=40))
def test_the_spelling_is_stable_and_safe_to_show(text: str) -> None:
    try:
        host = canonical_host(text)
    except ValueError:
        return
    assert canonical_host(host) == host
    assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_:")
