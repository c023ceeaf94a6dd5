from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_tasks.rules.internal_hosts import is_internal_host

INTERNAL = [
    "",
    ".",
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "0",
    "0.0.0.0",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "0xc0a80101",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:a9fe:a9fe]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::169.254.169.254]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "api.localhost",
    "printer.local",
    "metadata.google.internal",
    "metadata.google.internal.",
    "instance-data.ec2.internal",
    "router.home.arpa",
    "redis",
    "metadata",
    "１２７.0.0.1",  # full-width digits  # noqa: RUF001
    "127。0。0。1",
    "127｡0｡0｡1",
    "127．0．0．1",  # noqa: RUF001
    "①②⑦.⓪.⓪.①",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "loca%6chost",
    "%31%32%37.0.0.1",
    "metadata%2egoogle%2einternal",
]


@pytest.mark.parametrize("host", INTERNAL)
def test_what_not_everybody_can_reach_is_internal_in_every_spelling(host: str) -> None:
    assert is_internal_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "media.example.com",
        "Media.Example.Com.",
        "local.example.com",
        "localhost.example.com",
        "8.8.8.8",
        "[2606:4700:4700::1111]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::808:808]",
        "bücher.example",
        "xn--bcher-kva.example",
    ],
)
def test_what_everybody_can_reach_is_not(host: str) -> None:
    assert not is_internal_host(host)


NETWORKS = [IPv4Network(text) for text in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16")]


def spell(address: IPv4Address) -> list[str]:
    """Return what clients read as one address."""
    a, b, c, d = address.packed
    number, rest = int(address), f"{(c << 8) | d}"
    return [
        str(address),
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{b}.{rest}",
        f"{a}.{number & 0xFFFFFF}",
        f"{address}.",
        f"[::ffff:{address}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[64:ff9b::{address}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
    ]


@given(st.sampled_from(NETWORKS).flatmap(lambda network: st.ip_addresses(network=network)))
def test_every_internal_address_is_internal_however_it_is_written(address: IPv4Address) -> None:
    assert [host for host in spell(address) if not is_internal_host(host)] == []


@given(st.ip_addresses(network="8.0.0.0/8"))
def test_no_public_address_is_internal_however_it_is_written(address: IPv4Address) -> None:
    assert [host for host in spell(address) if is_internal_host(host)] == []
